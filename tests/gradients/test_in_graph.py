"""Per-example gradients as tensors inside a tf.function are those of one tape per example."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import SOFTMAX, Centred, dense_net, labelled, sequential

from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients import gradient_chunks, gradient_gram, gradients_by_variable, per_example_gradients

_BOUND, _RATE = 0.5, 0.3


class Clipped(keras.Model):
    """Trains on the mean of gradients that are no longer than a bound."""

    def train_step(self, data):
        x, y = data
        gradients = per_example_gradients(self, x, y)
        assert tf.is_symbolic_tensor(gradients)
        assert gradients.dtype == tf.float32
        norms = tf.norm(gradients, axis=1, keepdims=True)
        mean = tf.reduce_mean(gradients * tf.minimum(1.0, _BOUND / norms), 0, keepdims=True)
        parts = [part[0] for part in gradients_by_variable(self, mean)]
        self.optimizer.apply_gradients(zip(parts, self.trainable_weights, strict=True))
        return {"norm": tf.reduce_mean(norms)}


def clipped_net(jit_compile=False):
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 1))
    hidden = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, activation="relu")(image))
    model = Clipped(image, keras.layers.Dense(3)(hidden))
    model.compile(keras.optimizers.SGD(_RATE), SOFTMAX, jit_compile=jit_compile)
    return model


def by_tapes(model, x, y):
    """(n, P): one tape for each example."""
    rows = []
    for i in range(len(y)):
        with tf.GradientTape() as tape:
            loss = SOFTMAX(y[i : i + 1], model(x[i : i + 1], training=False))
        parts = tape.gradient(loss, [one.value for one in model.trainable_weights])
        rows.append(np.concatenate([part.numpy().ravel() for part in parts]))
    return np.stack(rows)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_training_step_that_clips_gradients_is_that_of_tapes(jit_compile):
    model, slow = clipped_net(jit_compile), clipped_net()
    start = np.concatenate([weight.ravel() for weight in model.get_weights()])
    x, y = labelled((6, 6, 1), 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of a training step of one's own, which is meant here
        history = model.fit(x, y, batch_size=4, shuffle=False, epochs=1, verbose=0).history
    for first in (0, 4, 8):  # the last batch has two examples
        some = slice(first, first + 4)
        rows = by_tapes(slow, x[some], y[some])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        assert norms.max() > _BOUND  # or nothing is clipped
        mean = (rows * np.minimum(1, _BOUND / norms)).mean(0, keepdims=True)
        for weight, part in zip(slow.trainable_weights, gradients_by_variable(slow, mean), strict=True):
            weight.assign_sub(_RATE * part[0])
    assert history["norm"][0] > 0
    found, expected = (np.concatenate([weight.ravel() for weight in one.get_weights()]) for one in (model, slow))
    assert np.abs(expected - start).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return dense_net()


def test_a_function_follows_the_weights_and_takes_any_number_of_examples(model):
    @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([None], tf.int64)])
    def both(x, y):
        gradients = per_example_gradients(model, x, y, loss=SOFTMAX)
        return gradients, gradients_by_variable(model, gradients)

    assert both.get_concrete_function().structured_outputs[0].shape.as_list() == [None, 43]
    for count in (1, 3, 7):
        x, y = labelled((4,), count, seed=count)
        model.trainable_weights[0].assign_add(0.1 * tf.ones((4, 5)))
        found, parts = both(x, y)
        np.testing.assert_allclose(found, by_tapes(model, x, y), rtol=1e-4, atol=1e-6)
        eager = per_example_gradients(model, x, y, loss=SOFTMAX)
        assert isinstance(eager, np.ndarray)
        np.testing.assert_allclose(found, eager, rtol=1e-5, atol=1e-7)
        assert [part.shape for part in parts] == [(count, *weight.shape) for weight in model.trainable_weights]
        for part, own in zip(parts, gradients_by_variable(model, eager), strict=True):
            np.testing.assert_allclose(part, own, rtol=1e-5, atol=1e-7)


def inside(model, x, y, **options):
    traced = tf.function(lambda x, y: per_example_gradients(model, x, y, loss=SOFTMAX, **options), autograph=False)
    return traced(tf.constant(x), tf.constant(y)).numpy()


@pytest.mark.parametrize("options", [{"method": "vectorized"}, {"weights": "kernel$"}, {"precision": "policy"}])
def test_options_are_those_of_outside(model, options):
    data = labelled((4,), 5)
    expected = per_example_gradients(model, *data, loss=SOFTMAX, **options)
    np.testing.assert_allclose(inside(model, *data, **options), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", ["loop", "jacobian"])
def test_methods_that_need_values_are_refused(model, method):
    with pytest.raises(UnsupportedModel, match=rf"way {method}, which needs values[\s\S]*method=\"auto\""):
        inside(model, *labelled((4,)), method=method)


def test_examples_that_interact_are_refused():
    model = sequential((4,), keras.layers.Dense(5), Centred(), keras.layers.Dense(3))
    with pytest.raises(UnsupportedModel, match="examples of a batch interact"):
        inside(model, *labelled((4,)))


def test_a_refusal_keeps_its_words_where_autograph_puts_another_error_around_it(model):
    traced = tf.function(lambda x, y: per_example_gradients(model, x, y, loss=SOFTMAX, method="loop"))
    with pytest.raises(Exception, match=r"needs values[\s\S]*Remedy"):
        traced(*labelled((4,)))


def test_an_unknown_shape_of_examples_is_refused(model):
    traced = tf.function(
        lambda x, y: per_example_gradients(model, x, y, loss=SOFTMAX),
        input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int64)],
        autograph=False,
    )
    with pytest.raises(InvalidInput, match="shape of one example is not known"):
        traced(*labelled((4,)))


def far_from_zero(y, prediction):
    """A loss that has no gradient for the targets of examples that are made up."""
    return tf.where(tf.abs(y[:, 0]) > 10, tf.reduce_sum((y - prediction) ** 2, -1), 0.0)


def test_where_made_up_examples_prove_nothing_real_ones_do(model):
    x, _ = labelled((4,), 5)
    y = np.full((5, 3), 20, "float32")
    traced = tf.function(lambda x, y: per_example_gradients(model, x, y, loss=far_from_zero), autograph=False)
    with pytest.raises(UnsupportedModel, match=r"made up do not show[\s\S]*\(n, 4\) float32, \(n, 3\) float32"):
        traced(tf.constant(x), tf.constant(y))
    expected = per_example_gradients(model, x, y, loss=far_from_zero)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(traced(tf.constant(x), tf.constant(y)), expected, rtol=1e-5)


class AboveFive(keras.layers.Layer):
    """Fails of examples below 5."""

    def call(self, x):
        with tf.control_dependencies([tf.debugging.assert_greater(x, 5.0)]):
            return tf.identity(x)


def test_where_made_up_examples_fail_real_ones_may_do():
    model = sequential((4,), AboveFive(), keras.layers.Dense(3))
    x, y = labelled((4,), 5)
    x = np.abs(x) + 6
    with pytest.raises(UnsupportedModel, match=r"made up: InvalidArgumentError[\s\S]*real examples before"):
        inside(model, x, y)
    expected = per_example_gradients(model, x, y, loss=SOFTMAX)
    np.testing.assert_allclose(inside(model, x, y), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("function", [gradient_gram, lambda *data, **how: list(gradient_chunks(*data, **how))])
def test_what_gives_arrays_is_refused_inside(model, function):
    traced = tf.function(lambda x, y: function(model, x, y, loss=SOFTMAX), autograph=False)
    with pytest.raises(InvalidInput, match=r"outside of tf.function alone[\s\S]*per_example_gradients"):
        traced(*labelled((4,)))
