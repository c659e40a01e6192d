"""Whatever is wrong is told before any training, and what is unusual is told once, wherever a run is shown."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, StiffnessCallback, UnsupportedModel, measure
from tfstiff.errors import InvalidInput

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 4)).astype(np.float32), np.arange(24) % 3


def dense(shape=(4,), outputs=3, loss=None):
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])
    model.compile("sgd", loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class OnePerPair(keras.layers.Layer):
    def call(self, x):
        return x - tf.reduce_mean(x, 0)


@pytest.mark.parametrize(
    ("x", "y", "layer", "kind", "says"),
    [
        (X[:, :3], Y, None, InvalidInput, "another shape"),
        (X, Y.astype(np.float32) + 1, None, InvalidInput, "out of range"),
        (X, Y + 1, None, InvalidInput, "out of range"),
        (X, Y, OnePerPair, UnsupportedModel, "interact"),
    ],
)
def test_what_is_wrong_is_told_before_any_training(x, y, layer, kind, says):
    model = keras.Sequential([keras.Input((4,)), *([layer()] if layer else []), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = model.get_weights()
    probe = Probe.from_arrays(train=(x, y), validation=(-x, y))
    with pytest.raises(kind, match=says):
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[StiffnessCallback(probe, [1.0])])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_shapes_that_keras_brings_into_line_pass():
    model = dense((4,))
    measure(model, Probe.from_arrays(train=(X[..., None], Y), validation=(-X[..., None], Y)))
    open_ended = keras.Sequential(
        [keras.Input((None, 2)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)]
    )
    open_ended.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = X.reshape(24, 2, 2)
    measure(open_ended, Probe.from_arrays(train=(x, Y), validation=(-x, Y)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["jacobian", "vectorized", "auto", "loop"])
def test_an_example_that_is_no_number_spoils_no_other(method, bad):
    x = X.copy()
    x[5, 0] = bad
    found, without = (
        measure(dense_model, Probe.from_arrays(train=(a, b), validation=(-X, Y)), method=method)
        for dense_model, a, b in ((MODEL, x, Y), (MODEL, np.delete(x, 5, 0), np.delete(Y, 5)))
    )
    assert (found.train.num_nonfinite, found.validation.num_nonfinite) == (1, 0)
    for pair_set in ("train_train", "train_val"):
        assert np.isfinite(found[pair_set].mean_cosine)
        assert found[pair_set].mean_cosine == pytest.approx(without[pair_set].mean_cosine, abs=1e-6)


MODEL = dense()


def warned(function):
    with pytest.warns(UserWarning, match=".") as caught:
        found = function()
    return found, [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


def test_absent_classes_and_examples_in_both_halves():
    named = {"class_names": ("a", "b", "c"), "size": None}
    absent = Probe.from_arrays(train=(X[Y < 2], Y[Y < 2]), validation=(X[:6] + 1, Y[:6]), **named)
    found, said = warned(lambda: [measure(MODEL, absent) for _ in range(2)])
    sentence = "The training half of the probe has no example of 1 class: c."
    assert said == [sentence]
    assert [one.reservations for one in found] == [(sentence,)] * 2
    both = Probe.from_arrays(train=(X, Y), validation=(np.concatenate([X[3:5], X + 1]), [0, 1, *Y]), **named)
    (_, (sentence,)) = warned(lambda: measure(MODEL, both))
    assert sentence.startswith("2 validation examples have the inputs of a training example")
    assert "validation_00000 (as train_00003), validation_00001 (as train_00004)." in sentence


def test_gradients_most_of_which_are_zero_or_no_numbers():
    probe = Probe.from_arrays(train=(X, Y), validation=(-X, Y))
    model = dense()
    weights = model.get_weights()
    model.set_weights([weights[0] * 0, np.array([1e4, -1e4, -1e4], np.float32)])  # saturated: class 0 is sure
    zeros = Probe.from_arrays(train=(X[Y == 0], Y[Y == 0]), validation=(-X[:9], Y[:9]), class_names="abc")
    _, said = warned(lambda: [measure(model, zeros) for _ in range(2)])
    assert sum("Of the gradients of training examples 8 of 8 are exactly zero" in one for one in said) == 1
    assert not any("of validation examples" in one for one in said)
    model.set_weights([weights[0] * np.nan, weights[1]])
    _, said = warned(lambda: measure(model, probe))
    assert sum("24 of 24 are not finite" in one for one in said) == 2


def images(scale):
    return (RNG.integers(0, 256, (24, 8, 8, 1)) * scale).astype(np.float32)


@pytest.mark.parametrize(("scale", "scaling", "is_told"), [(1, False, True), (1 / 255, False, False), (1, True, False)])
def test_images_that_are_not_normalised(scale, scaling, is_told, recwarn):
    inner = keras.Sequential(
        [keras.Input((8, 8, 1)), *[keras.layers.Rescaling(1 / 255)] * scaling, keras.layers.Flatten()]
    )
    model = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = measure(model, Probe.from_arrays(train=(images(scale), Y), validation=(images(scale), Y)))
    assert ["not normalised" in one for one in found.reservations] == [True] * is_told
    assert any("not normalised" in str(one.message) for one in recwarn) == is_told


class Untracked(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.holder = (lambda variable: lambda: variable)(tf.Variable(1.5, name="mine"))

    def call(self, x):
        return x * self.holder()


def test_variables_that_keras_does_not_track():
    model = keras.Sequential([keras.Input((4,)), Untracked(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    probe = Probe.from_arrays(train=(X, Y), validation=(-X, Y))
    found, said = warned(lambda: [measure(model, probe) for _ in range(2)])
    assert sum("Keras does not track: mine" in one for one in said) == 1
    assert all("mine" in one.reservations[0] for one in found)


def test_nothing_unusual_is_nothing_said(recwarn):
    found = measure(MODEL, Probe.from_arrays(train=(X, Y), validation=(-X, Y)))
    assert found.reservations == ()
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]
