"""Products with directions, against gradients that are formed, and updates against steps that are taken."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import directional_stiffness, per_example_gradients
from tfstiff.errors import InvalidInput
from tfstiff.gradients.directional import _of_outer
from tfstiff.measuring.alignment import WeightAlignment, weight_alignment

RNG = np.random.default_rng(0)
N = 6
Y = np.arange(N) % 3
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def dense():
    return [keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)], RNG.normal(size=(N, 4))


def convolution():
    layers = [
        keras.Input((6, 6, 2)),
        keras.layers.Conv2D(3, 3, activation="relu"),
        keras.layers.LayerNormalization(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    return layers, RNG.normal(size=(N, 6, 6, 2))


def words():
    layers = [
        keras.Input((5,), dtype="int32"),
        keras.layers.Embedding(7, 4, mask_zero=True),
        keras.layers.GRU(3),
        keras.layers.Dense(3),
    ]
    return layers, RNG.integers(0, 7, (N, 5))


def made(kind):
    keras.utils.set_random_seed(0)
    layers, x = kind()
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), SOFTMAX)
    return model, x.astype(np.int32 if kind is words else np.float32)


@pytest.fixture(scope="module")
def case():
    return made(dense)


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts]).astype(float)


def assert_products(found, gradients, directions):
    """`directions`: (D, P)."""
    products = gradients @ directions.T
    scale = np.abs(products).max()
    np.testing.assert_allclose(found.products, products, atol=1e-5 * scale)
    norms = np.linalg.norm(gradients, axis=1)
    lengths = np.linalg.norm(directions, axis=1)
    np.testing.assert_allclose(found.cosines, products / np.outer(norms, lengths), atol=1e-5)
    np.testing.assert_allclose(found.lengths, lengths, rtol=1e-6)
    np.testing.assert_allclose(found.gradient_norms, norms, rtol=1e-5)


@pytest.mark.parametrize("kind", [dense, convolution, words])
def test_equals_products_of_formed_gradients(kind):
    model, x = made(kind)
    direction = [RNG.normal(size=weight.shape) for weight in model.trainable_weights]
    found = directional_stiffness(model, x, Y, direction)
    gradients = per_example_gradients(model, x, Y).astype(float)
    assert_products(found, gradients, flat(direction)[None])
    np.testing.assert_allclose(sum(layer.products for layer in found.layers.values()), found.products, rtol=1e-6)
    start = 0
    by_layer = {}
    for weight, part in zip(model.trainable_weights, direction, strict=True):
        stop = start + part.size
        by_layer.setdefault(weight.path.rpartition("/")[0], []).append((gradients[:, start:stop], part.ravel()))
        start = stop
    assert list(by_layer) == list(found.layers)
    for layer, parts in by_layer.items():
        assert_products(found.layers[layer], np.hstack([g for g, _ in parts]), np.hstack([v for _, v in parts])[None])


def test_an_objective_is_taken(case):
    model, x = case
    direction = [RNG.normal(size=weight.shape) for weight in model.trainable_weights]

    def objective(model, x, y):
        return keras.ops.sum(model(x) ** 2, axis=1)

    found = directional_stiffness(model, x, Y, direction, objective=objective)
    assert_products(found, per_example_gradients(model, x, Y, objective=objective).astype(float), flat(direction)[None])


def test_named_directions(case):
    model, x = case
    gradients = per_example_gradients(model, x, Y).astype(float)
    weights = flat(model.get_weights())
    assert_products(directional_stiffness(model, x, Y, "weights"), gradients, weights[None])
    before = [RNG.normal(size=weight.shape) for weight in model.trainable_weights]
    for name in ("since_initialisation", "update"):
        found = directional_stiffness(model, x, Y, name, since=before)
        assert_products(found, gradients, (weights - flat(before))[None])
        assert found.names == (name,)
    means = directional_stiffness(model, x, Y, "class_means")
    assert means.names == ("0", "1", "2")
    assert_products(means, gradients, np.stack([gradients[c == Y].mean(0) for c in range(3)]))


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop"])
def test_the_next_update_is_what_the_optimizer_then_does_and_nothing_is_changed(name):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,)), keras.layers.Dense(5, "tanh", kernel_regularizer="l2"), keras.layers.Dropout(0.5)]
    model = keras.Sequential([*layers, keras.layers.BatchNormalization(), keras.layers.Dense(3)])
    model.compile(getattr(keras.optimizers, name)(0.01, clipnorm=0.5), SOFTMAX)
    x = dense()[1].astype(np.float32)
    for taken in (False, True):  # before any step, and with state
        if taken:
            model.train_on_batch(x, Y)
        variables = [*model.variables, *model.optimizer.variables]
        values = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
        found = directional_stiffness(model, x, Y, "next_update", batch=(x, Y))
        assert len(variables) == len([*model.variables, *model.optimizer.variables])
        for variable, value in zip(variables, values, strict=True):
            np.testing.assert_array_equal(variable, value, err_msg=variable.path)
        gradients = per_example_gradients(model, x, Y).astype(float)
        before = flat(weight.numpy() for weight in model.trainable_weights)
        model.train_on_batch(x, Y)
        update = flat(weight.numpy() for weight in model.trainable_weights) - before
        np.testing.assert_allclose(found.lengths[0], np.linalg.norm(update), rtol=1e-3)
        np.testing.assert_allclose(
            found.products[:, 0], gradients @ update, atol=2e-3 * np.abs(gradients @ update).max()
        )


def test_what_is_predicted_happens(case):
    model, x = case
    found = directional_stiffness(model, x, Y, "weights")
    weights = model.get_weights()
    losses = SOFTMAX.call(Y, model(x)).numpy().astype(float)
    try:
        model.set_weights([weight * 1.001 for weight in weights])
        change = SOFTMAX.call(Y, model(x)).numpy() - losses
    finally:
        model.set_weights(weights)
    np.testing.assert_allclose(change, 0.001 * found.products[:, 0], rtol=0.02, atol=1e-6)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"direction": "weight"}, "Did you mean weights?"),
        ({"direction": [np.ones(3)]}, "shapes of the trainable weights"),
        ({"direction": 3}, "not a list of arrays"),
        ({"direction": "zero"}, "The direction is zero"),
        ({"direction": "nan"}, "NaN or infinite"),
        ({"direction": "update"}, "since="),
        ({"direction": "update", "since": "same"}, "The weights have not changed"),
        ({"direction": "next_update"}, r"batch=\(x, y\)"),
        ({"direction": "class_means", "y": RNG.normal(size=(N, 3)), "loss": "mse"}, "targets are numbers"),
    ],
)
def test_bad_input(case, change, text):
    model, x = case
    weights = model.get_weights()
    given = {
        "zero": [np.zeros_like(weight) for weight in weights],
        "nan": [weight * np.nan for weight in weights],
        "same": weights,
    }
    change = {name: given.get(value, value) if isinstance(value, str) else value for name, value in change.items()}
    y = change.pop("y", Y)
    with pytest.raises(InvalidInput, match=text):
        directional_stiffness(model, x, y, **change)


def test_optimizers_whose_step_cannot_be_told(case):
    x = case[1]
    silent = keras.Sequential(dense()[0])
    with pytest.raises(InvalidInput, match="no optimizer"):
        directional_stiffness(silent, x, Y, "next_update", batch=(x, Y), loss=SOFTMAX)
    silent.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), SOFTMAX)
    with pytest.raises(InvalidInput, match="scales losses"):
        directional_stiffness(silent, x, Y, "next_update", batch=(x, Y))

    class Own(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    own = Own(dense()[0])
    own.compile("sgd", SOFTMAX)
    with pytest.raises(InvalidInput, match="training step of its own"):
        directional_stiffness(own, x, Y, "next_update", batch=(x, Y))


@pytest.mark.parametrize("bytes_together", [1, 100, 4 * 2**20])
def test_rows_are_taken_a_part_at_a_time(monkeypatch, bytes_together):
    monkeypatch.setattr("tfstiff.gradients.forming._BYTES_TOGETHER", bytes_together)
    rows, columns, directions = (tf.constant(RNG.normal(size=shape)) for shape in ((5, 3, 4), (5, 3, 2), (4, 6, 2)))
    found = tf.function(_of_outer)(rows, columns, directions)
    np.testing.assert_allclose(found, np.einsum("ntp,pdq,ntq->nd", rows, directions, columns))
    places = tf.constant(RNG.integers(0, 4, (5, 3)))
    found = tf.function(_of_outer)(places, columns, directions)
    np.testing.assert_allclose(found, np.einsum("ntp,pdq,ntq->nd", np.eye(4)[places], directions, columns))


def test_alignment_with_the_last_kernel_is_its_closed_form(case):
    model, x = case
    found = weight_alignment(model, x, Y, precision="float64")
    kernel, bias = (part.astype(float) for part in model.layers[-1].get_weights())
    features = np.tanh(x.astype(float) @ model.layers[0].get_weights()[0] + model.layers[0].get_weights()[1])
    logits = features @ kernel + bias
    error = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[Y]
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(error, axis=1) * np.linalg.norm(kernel)
    expected = -((logits - bias) * error).sum(1) / lengths
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.weight.endswith("kernel")
    centred = expected - expected.mean()
    kurtosis = (centred**4).mean() / centred.var() ** 2 - 3
    assert found.mean == pytest.approx(expected.mean(), abs=1e-6)
    assert found.score == pytest.approx(expected.mean() / (kurtosis + 1.2), rel=1e-4)
    assert np.isnan(WeightAlignment("kernel", np.ones(3)).score)
