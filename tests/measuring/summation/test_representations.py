"""Distances between what layers make of the examples."""

import keras
import numpy as np
import pytest
from oracles import relative_error

from tfstiff import Probe, measure
from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.measuring.summation.representations import check_space, input_vectors, representations

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def probe_of(count=12, shape=(4,), seed=0):
    rng = np.random.default_rng(seed)
    halves = [(rng.normal(size=(n, *shape)).astype("float32"), np.arange(n) % 3) for n in (count, count - 3)]
    return Probe.from_arrays(train=halves[0], validation=halves[1], size=None)


def sequential_model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return compiled(
        keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(6, name="first"),
                layers.Activation("tanh", name="squash"),
                layers.Dropout(0.5, name="drop"),
                layers.Dense(3, name="last"),
            ]
        )
    )


def functional_model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((4, 5, 2), name="image")
    hidden = layers.Conv2D(3, 2, name="kernels")(image)
    hidden = layers.ReLU(name="relu")(hidden)
    return compiled(keras.Model(image, layers.Dense(3, name="last")(layers.Flatten(name="flat")(hidden))))


def compiled(model):
    model.compile("sgd", SOFTMAX)
    return model


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.last = keras.layers.Dense(5), keras.layers.Dense(3)

    def call(self, x):
        return self.last(self.first(x))


def distances(x, x2):
    x, x2 = (part.reshape(len(part), -1).astype(float) for part in (x, x2))
    return 1 - (x @ x2.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(x2, axis=1))


def test_outputs_of_a_layer_of_a_sequential_model():
    model, probe = sequential_model(), probe_of()
    found = representations(model, probe, "squash")
    assert list(found) == ["squash"]
    for vectors, half in zip(found["squash"], (probe.train, probe.validation), strict=True):
        expected = np.tanh(half.x @ model.layers[0].kernel.numpy() + model.layers[0].bias.numpy())
        assert relative_error(vectors, expected) < 1e-6


def test_outputs_in_inference_mode_in_batches(monkeypatch):
    from tfstiff.measuring.summation import representations as module

    model, probe = sequential_model(), probe_of()
    whole = representations(model, probe, "drop")["drop"]
    np.testing.assert_array_equal(whole[0], representations(model, probe, "squash")["squash"][0])
    monkeypatch.setattr(module, "_BATCH_SIZE", 5)
    for part, expected in zip(representations(model, probe, "drop")["drop"], whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-6)


def test_outputs_of_a_functional_model_are_flattened():
    model, probe = functional_model(), probe_of(shape=(4, 5, 2))
    train, validation = representations(model, probe, "relu")["relu"]
    assert train.shape == (12, 3 * 4 * 3)
    assert validation.shape == (9, 3 * 4 * 3)
    expected = np.maximum(model.get_layer("kernels")(probe.train.x).numpy(), 0).reshape(12, -1)
    np.testing.assert_allclose(train, expected, atol=1e-6)


def test_all_layers_with_weights_and_the_inputs():
    found = representations(sequential_model(), probe_of(), "all")
    assert list(found) == ["input", "first", "last"]
    assert found["input"] is None
    assert [found[name][0].shape for name in ("first", "last")] == [(12, 6), (12, 3)]


@pytest.mark.parametrize("name", ["first", "squash", "last"])
def test_measured_against_distance_in_the_space_of_a_layer(name):
    model, probe = sequential_model(), probe_of()
    found = measure(model, probe, space=name)
    vectors = representations(model, probe, name)[name]
    for pair_set, (rows, columns) in {"train_train": (0, 0), "train_val": (0, 1), "val_val": (1, 1)}.items():
        classes = [(probe.train, probe.validation)[half].classes for half in (rows, columns)]
        near = classes[0][:, None] == classes[1]
        near = np.triu(near, 1) if rows == columns else near
        d = distances(vectors[rows], vectors[columns])[near]
        assert list(found[pair_set].spaces) == [name]
        length = found[pair_set].spaces[name].critical_length
        assert length.num_pairs == near.sum()
        np.testing.assert_allclose([length.distance_min, length.distance_max], [d.min(), d.max()], atol=1e-6)


def test_the_space_moves_with_the_weights():
    """What is kept of a probe between measurements must not be of another space."""
    probe = probe_of()
    model = sequential_model()
    for seed in range(4):
        keras.utils.set_random_seed(seed)
        for weight in model.trainable_weights:
            weight.assign(np.random.default_rng(seed).normal(size=weight.shape))
        found = measure(model, probe, space="first")
        anew = measure(model, probe_of(), space="first")
        for name in ("train_train", "train_val", "val_val"):
            space, expected = found[name].spaces["first"], anew[name].spaces["first"]
            np.testing.assert_allclose(space.critical_length.slope, expected.critical_length.slope, rtol=1e-5)
            np.testing.assert_array_equal(space.profile.count, expected.profile.count)
            np.testing.assert_allclose(space.profile.mean, expected.profile.mean, atol=1e-6)


def test_the_inputs_need_no_layers():
    model = compiled(Subclassed())
    model(np.zeros((1, 4), "float32"))
    assert representations(model, probe_of(), "input") == {"input": None}
    assert check_space(model, "input") == []
    for space in ("all", "dense"):
        with pytest.raises(UnsupportedModel, match="functional or sequential"):
            representations(model, probe_of(), space)
        with pytest.raises(UnsupportedModel):
            measure(model, probe_of(), space=space)


@pytest.mark.parametrize("build", [sequential_model, functional_model])
def test_a_layer_that_is_not_there(build):
    with pytest.raises(InvalidInput, match="no such layer") as error:
        check_space(build(), "second")
    assert "last" in error.value.expected


def test_several_inputs():
    keras.utils.set_random_seed(0)
    one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
    hidden = keras.layers.Concatenate(name="both")([keras.layers.Dense(4, name="left")(one), two])
    model = compiled(keras.Model({"one": one, "two": two}, keras.layers.Dense(3, name="last")(hidden)))
    rng = np.random.default_rng(0)
    x = {"one": rng.normal(size=(9, 3)).astype("float32"), "two": rng.normal(size=(9, 2)).astype("float32")}
    y = np.arange(9) % 3
    probe = Probe.from_arrays(train=(x, y), validation=(x, y), size=None)
    vectors, _ = representations(model, probe, "both")["both"]
    np.testing.assert_allclose(vectors[:, 4:], x["two"])
    left = x["one"] @ model.get_layer("left").kernel.numpy()
    np.testing.assert_allclose(vectors[:, :4], left, atol=1e-6)


def token_probe(x):
    y = np.arange(6) % 2
    return Probe.from_arrays((x, y), (x, y))


def embedded(*, name="pooled", through=None, shape=(3,), shared=False):
    """A network that looks its input up, at once or after another layer."""
    ids = keras.Input(shape, dtype="int32")
    tokens = keras.layers.Embedding(9, 2)(ids if through is None else through(ids))
    pooled = keras.layers.Flatten(name=name)(tokens)
    inputs = [ids]
    if shared:
        inputs.append(keras.Input((2,)))
        pooled = keras.layers.concatenate([pooled, inputs[1]])
    return compiled(keras.Model(inputs, keras.layers.Dense(2)(pooled)))


def test_token_ids_have_no_distances():
    ids = np.arange(18).reshape(6, 3) % 9
    nested = keras.Sequential([keras.Input((3,), dtype="int32"), keras.layers.Embedding(9, 2), keras.layers.Flatten()])
    cases = {
        "looked up": (embedded(), ids, ["pooled"], (6, 0)),
        "without such a layer": (embedded(name="mine"), ids, ["input"], (6, 0)),
        "by a layer within": (compiled(keras.Sequential([nested, keras.layers.Dense(2)])), ids, ["input"], (6, 0)),
        "after another layer": (embedded(through=keras.layers.Rescaling(1)), ids, ["input"], None),
        "as fractions": (embedded(), ids.astype(np.float32), ["input"], None),
    }
    for case, (model, x, spaces, shape) in cases.items():
        probe = token_probe(x)
        vectors = input_vectors(model, probe)
        assert (None if vectors is None else vectors[0].shape) == shape, case
        assert list(representations(model, probe, "auto")) == spaces, case


def test_numbers_beside_token_ids_have_distances():
    ids, numbers = np.arange(18).reshape(6, 3) % 9, np.random.default_rng(0).normal(size=(6, 2))
    model, probe = embedded(shared=True), token_probe([ids, numbers])
    for vectors in (input_vectors(model, probe), representations(model, probe, "auto")["input"]):
        np.testing.assert_array_equal(vectors[1], numbers)
