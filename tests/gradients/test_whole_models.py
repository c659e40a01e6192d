"""Models as users have them: several inputs and outputs, masks, adapters, policies, strategies, tiny gradients."""

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, relative_error, take
from scaled_products import gradient_products
from small_models import SOFTMAX, Weighted, dense_net, labelled, sequential

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients
from tfstiff.gradients.options import PRECISIONS
from tfstiff.gradients.plan import plan_for

layers = keras.layers
pytestmark = pytest.mark.filterwarnings("error:The gradients of some weights take the slower path")


def exact(twin, x, y, example_loss):
    """(n, P) by one eager tape an example; `example_loss` takes one example's target and prediction."""
    rows = []
    for i in range(len(tf.nest.flatten(x)[0])):
        with tf.GradientTape() as tape:
            value = example_loss(take(y, slice(i, i + 1)), twin(take(x, slice(i, i + 1)), training=False))
            value = tf.reduce_mean(value)
        gradients = tape.gradient(value, [weight.value for weight in twin.trainable_weights], None, "zero")
        rows.append(np.concatenate([tf.convert_to_tensor(gradient).numpy().ravel() for gradient in gradients]))
    return np.stack(rows)


def softmax_loss(y, prediction):
    return SOFTMAX.call(y, prediction)


def squares(y, prediction):
    return tf.reduce_mean((tf.cast(y, prediction.dtype) - prediction) ** 2)


def shaken(model):
    """Moves zero-initialised weights off zero."""
    random = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign_add(random.normal(scale=0.3, size=weight.shape))
    return model


# Several outputs


def two_headed(structure, first=("labels", "values")):
    def build():
        inputs = keras.Input((4,))
        hidden = layers.Dense(5, activation="tanh")(inputs)
        heads = {"labels": layers.Dense(3, name="labels"), "values": layers.Dense(2, name="values")}
        outputs = {name: heads[name](hidden) for name in first}
        return keras.Model(inputs, outputs if structure == "dict" else list(outputs.values()))

    return build


LOSSES = {"labels": SOFTMAX, "values": "mse"}


def targets(count=6):
    random = np.random.default_rng(4)
    return {"labels": random.integers(0, 3, count), "values": random.normal(size=(count, 2)).astype("float32")}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("structure", ["dict", "list"])
def test_several_outputs(structure, method):
    build, x, y = two_headed(structure), labelled((4,))[0], targets()
    model = build()

    def weighted(y, prediction):
        y, prediction = tf.nest.flatten(y), tf.nest.flatten(prediction)  # labels, values
        return 0.5 * tf.reduce_mean(SOFTMAX.call(y[0], prediction[0])) + 3 * squares(y[1], prediction[1])

    expected = exact(float64_twin(build, model), x, y, weighted)
    losses, weights = (LOSSES, {"labels": 0.5, "values": 3.0})
    if structure == "list":
        y, losses, weights = list(y.values()), list(losses.values()), list(weights.values())
    model.compile(loss=losses, loss_weights=weights)
    assert relative_error(per_example_gradients(model, x, y, method=method), expected) < 1e-5
    found = gradient_products(model, x, y, method=method)
    assert [array.shape for array in tf.nest.flatten(found.predictions)] == [(6, 3), (6, 2)]
    assert relative_error(gradient_gram(model, x, y, method=method), expected @ expected.T) < 1e-5


def test_outputs_in_another_order_than_their_names():
    x, y = labelled((4,))[0], targets()
    build = two_headed("dict", ("values", "labels"))
    model = build()

    def both(y, prediction):
        return tf.reduce_mean(SOFTMAX.call(y["labels"], prediction["labels"])) + squares(
            y["values"], prediction["values"]
        )

    expected = exact(float64_twin(build, model), x, y, both)
    assert relative_error(per_example_gradients(model, x, y, loss=LOSSES), expected) < 1e-5


def test_losses_by_the_names_of_listed_outputs():
    build, x, y = two_headed("list"), labelled((4,))[0], targets()
    model = build()
    by_position = gradient_gram(model, x, list(y.values()), loss=[SOFTMAX, "mse"])
    np.testing.assert_array_equal(gradient_gram(model, x, list(y.values()), loss=LOSSES), by_position)
    np.testing.assert_array_equal(gradient_gram(model, x, y, loss=LOSSES), by_position)


@pytest.mark.parametrize("loss", [{"labels": SOFTMAX}, {"labels": SOFTMAX, "values": None}])
def test_an_output_without_a_loss(loss):
    """Its head has no gradient."""
    build, x, y = two_headed("dict"), labelled((4,))[0], targets()
    model = build()
    expected = exact(float64_twin(build, model), x, y, lambda y, p: SOFTMAX.call(y["labels"], p["labels"]))
    assert relative_error(per_example_gradients(model, x, y, loss=loss), expected) < 1e-5
    assert not expected[:, -12:].any()


def test_weights_of_losses_changed_by_compiling_anew():
    build, x, y = two_headed("dict"), labelled((4,))[0], targets()
    model = build()
    losses = {"values": "mse"}
    model.compile(loss=losses, loss_weights={"values": 1.0})
    before = gradient_gram(model, x, y)
    model.compile(loss=losses, loss_weights={"values": 2.0})
    assert relative_error(gradient_gram(model, x, y), 4 * before) < 1e-6
    single = dense_net()
    x, y = labelled((4,))
    single.compile(loss="mse")
    before = gradient_gram(single, x, np.eye(3)[y])
    single.compile(loss="mse", loss_weights=[3.0])
    assert relative_error(gradient_gram(single, x, np.eye(3)[y]), 9 * before) < 1e-6


@pytest.mark.parametrize(
    ("y", "loss"),
    [
        ({"labels": np.zeros(6, int)}, LOSSES),
        (targets(), {**LOSSES, "labelz": "mse"}),
        (list(targets().values()), LOSSES),
        (targets(), list(LOSSES.values())),
    ],
)
def test_targets_and_losses_that_do_not_match(y, loss):
    with pytest.raises(UnsupportedModel, match=r"do not match|no targets"):
        gradient_gram(two_headed("dict")(), labelled((4,))[0], y, loss=loss)


# Inputs and sequences


def test_an_embedding_shared_by_two_inputs():
    def build():
        inputs = {"question": keras.Input((5,), dtype="int32"), "answer": keras.Input((3,), dtype="int64")}
        table = layers.Embedding(7, 4)
        pooled = [layers.GlobalAveragePooling1D()(table(tensor)) for tensor in inputs.values()]
        return keras.Model(inputs, layers.Dense(3)(keras.ops.tanh(layers.Concatenate()(pooled))))

    random = np.random.default_rng(0)
    x = {"question": random.integers(0, 7, (6, 5)), "answer": random.integers(0, 7, (6, 3))}
    y = random.integers(0, 3, 6)
    model = build()
    expected = exact(float64_twin(build, model), x, y, softmax_loss)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 1e-5
    assert set(gradient_gram(model, x, y, loss=SOFTMAX, per_layer=True)) == {
        weight.path.rpartition("/")[0] for weight in model.trainable_weights
    }


@pytest.mark.parametrize("recurrent", [layers.LSTM, layers.GRU])
def test_masked_tokens_in_front_of_a_recurrent_layer(recurrent):
    def build():
        return sequential(
            (5,), layers.Embedding(7, 4, mask_zero=True), recurrent(3, return_sequences=True), layers.Dense(3)
        )

    random = np.random.default_rng(2)
    x, y = random.integers(1, 7, (6, 5)), random.integers(0, 3, (6, 5))
    lengths = (5, 4, 3, 2, 1, 5)
    for row, length in enumerate(lengths):
        x[row, length:] = 0
    model = build()
    twin = float64_twin(build, model)
    expected = np.concatenate([  # each sentence cut to what is not masked
        exact(twin, x[row : row + 1, :length], y[row : row + 1, :length], softmax_loss)
        for row, length in enumerate(lengths)
    ])  # fmt: skip
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 1e-5
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), expected @ expected.T) < 1e-5


def test_adapters():
    """LoRA: the kernel is frozen, and a product of two small matrices is added to it."""

    def build():
        model = sequential((5,), layers.Embedding(7, 6), layers.Flatten(), layers.Dense(8, "tanh"), layers.Dense(3))
        model.layers[0].enable_lora(2)
        model.layers[2].enable_lora(3)
        return model

    random = np.random.default_rng(0)
    x, y = random.integers(0, 7, (6, 5)), random.integers(0, 3, 6)
    model = shaken(build())
    assert len(model.trainable_weights) == 2 + 3 + 2
    expected = exact(float64_twin(build, model), x, y, softmax_loss)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 1e-5
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), expected @ expected.T) < 1e-5


# Precision


def mixed_net():
    """Under a mixed policy its last layer computes in float32, as Keras recommends."""
    policy = keras.config.dtype_policy().name
    return sequential(
        (6, 4),
        layers.Conv1D(5, 2, activation="tanh"),
        layers.LayerNormalization(),
        layers.LSTM(4),
        layers.Dense(3, dtype="float32" if policy.startswith("mixed") else policy),
    )


@pytest.mark.parametrize("method", ["auto", "vectorized", "loop"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_policies_are_measured_in_single_precision(policy, method):
    keras.config.set_dtype_policy(policy)
    try:
        model = mixed_net()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = labelled((6, 4))
    expected = exact(float64_twin(mixed_net, model), x, y, softmax_loss)
    gram = gradient_gram(model, x, y, loss=SOFTMAX, method=method)
    assert relative_error(gram, expected @ expected.T) < 1e-5
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, method=method), expected) < 1e-5
    assert model.layers[0].dtype_policy.name == policy
    by_policy = gradient_gram(model, x, y, loss=SOFTMAX, method=method, precision="policy")
    error = relative_error(by_policy, expected @ expected.T)
    assert 1e-5 < error < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_double_precision(policy, method):
    keras.config.set_dtype_policy(policy)
    try:
        model = mixed_net()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = labelled((6, 4))
    expected = exact(float64_twin(mixed_net, model), x, y, softmax_loss)
    gram = gradient_gram(model, x, y, loss=SOFTMAX, method=method, precision="float64")
    assert gram.dtype == np.float64
    assert relative_error(gram, expected @ expected.T) < 1e-7
    found = per_example_gradients(model, x, y, loss=SOFTMAX, method=method, precision="float64")
    assert relative_error(found, expected) < 1e-7


def cosines(gram):
    return gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))


@pytest.mark.parametrize("method", ["auto", "vectorized", "loop"])
@pytest.mark.parametrize("scale", [1e-20, 1e-25, 1e-30, 1e15])
def test_tiny_and_huge_gradients(scale, method):
    """Their products are far outside single precision."""

    def scaled(y, prediction):
        return scale * SOFTMAX.call(y, prediction)

    def build():
        return sequential((5, 4), layers.LSTM(6, return_sequences=True), layers.Flatten(), layers.Dense(3))

    x, y = labelled((5, 4))
    model = build()
    gradients = exact(float64_twin(build, model), x, y, scaled)
    expected = gradients @ gradients.T
    found = gradient_products(model, x, y, loss=scaled, method=method)
    assert found.gram.dtype == np.float32
    assert np.abs(cosines(found.gram.astype(float)) - cosines(expected)).max() < 1e-4
    assert (np.diag(found.gram) > 1e-6).all()
    assert np.isfinite(found.gram).all()
    raw = found.gram / np.outer(found.scales, found.scales).astype(float)
    assert relative_error(raw, expected) < 1e-5
    assert relative_error(per_example_gradients(model, x, y, loss=scaled, method=method), gradients) < 1e-5
    doubled = gradient_gram(model, x, y, loss=scaled, method=method, precision="float64")
    assert relative_error(doubled, expected) < 1e-7
    layered = gradient_products(model, x, y, loss=scaled, method=method, per_layer=True)
    assert relative_error(layered.gram, found.gram.astype(float)) < 1e-6


def test_a_saturated_model():
    """Every example all but certain of its label, some more so than others: from 1e-3 down to 1e-30."""

    def build():
        return sequential((4,), layers.Dense(5, activation="tanh"), layers.Dense(1))

    model = build()
    kernel = model.layers[1].kernel
    x, _ = labelled((4,), 12)
    kernel.assign(kernel * 45 / np.abs(model(x).numpy()).max() * 1.5)
    y = (model(x).numpy() > 0).astype("float32")

    def loss(y, prediction):  # Keras' own rounds 1 - 1 + 1e-20 to zero
        return tf.reduce_mean(tf.nn.softplus((1 - 2 * tf.cast(y, prediction.dtype)) * prediction), -1)

    gradients = exact(float64_twin(build, model), x, y, loss)
    sizes = np.linalg.norm(gradients, axis=1)
    assert 0 < sizes.min() < 1e-20 < 1e-4 < sizes.max()
    found = gradient_products(model, x, y, loss=loss).gram.astype(float)
    assert np.abs(cosines(found) - cosines(gradients @ gradients.T)).max() < 1e-4
    assert (np.diag(found) > 0).all()


# Layer by layer


class Nested(keras.Model):
    """A weight on the model itself, a layer used twice and one that is frozen."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.out = layers.Dense(4, "tanh"), layers.Dense(4, "tanh"), layers.Dense(3)
        self.frozen = layers.Dense(4, trainable=False)

    def build(self, shape):
        for layer in (self.first, self.shared, self.frozen, self.out):
            layer.build((None, 4))
        self.scale = self.add_weight(name="scale", shape=(4,), initializer=keras.initializers.RandomUniform(0.5, 1))
        self.built = True

    def call(self, x):
        return self.out(self.scale * self.shared(self.frozen(self.shared(self.first(x)))))


def nested():
    model = Nested()
    model.build((None, 4))
    return model


@pytest.mark.parametrize("method", METHODS)
def test_layer_by_layer(method):
    model = nested()
    x, y = labelled((4,), 9)
    gradients = exact(float64_twin(nested, model), x, y, softmax_loss)
    ends = np.cumsum([0, *(np.prod(weight.shape) for weight in model.trainable_weights)])
    blocks = {}
    for weight, start, stop in zip(model.trainable_weights, ends[:-1], ends[1:], strict=True):
        blocks.setdefault(weight.path.rpartition("/")[0], []).append(gradients[:, start:stop])
    found = gradient_gram(model, x, y, loss=SOFTMAX, method=method, per_layer=True)
    block = gradient_gram(model, x[:4], y[:4], x[4:], y[4:], loss=SOFTMAX, method=method, per_layer=True)
    assert set(found) == {model.path, model.first.path, model.shared.path, model.out.path}
    assert found.keys() == blocks.keys() == block.keys()
    for name, parts in blocks.items():
        expected = np.concatenate(parts, 1) @ np.concatenate(parts, 1).T
        assert relative_error(found[name], expected) < 1e-5
        assert relative_error(block[name], expected[:4, 4:]) < 1e-5
    whole = gradient_gram(model, x, y, loss=SOFTMAX, method=method)
    assert relative_error(sum(found.values()), whole.astype(float)) < 1e-6
    products = gradient_products(model, x, y, loss=SOFTMAX, method=method, per_layer=True)
    assert relative_error(sum(products.layers.values()), products.gram) < 1e-5


def test_layer_by_layer_in_both_forms():
    """Convolutions are formed, wide products and look-ups are not."""

    def build():
        return sequential((6, 2), layers.Conv1D(3, 2, activation="tanh"), layers.LSTM(60), layers.Dense(3))

    model = build()
    x, y = labelled((6, 2), 9)
    gradients = exact(float64_twin(build, model), x, y, softmax_loss)
    layout = plan_for(model, x, y, loss=SOFTMAX).layout
    assert layout.formed
    assert layout.outers
    found = gradient_gram(model, x, y, loss=SOFTMAX, per_layer=True)
    start = 0
    for layer in model.layers:
        names = {weight.path.rpartition("/")[0] for weight in layer.trainable_weights}
        stop = start + sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        part = gradients[:, start:stop]
        assert relative_error(sum(found[name] for name in names), part @ part.T) < 1e-5
        start = stop


# The model is left as it was


def state(model):
    every = list(model._flatten_layers())
    return (
        [id(layer.dtype_policy) for layer in every],
        [getattr(layer, "unroll", None) for layer in every],
        [layer.trainable for layer in every],
        tf.config.functions_run_eagerly(),
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", ["auto", "loop"])
def test_the_model_is_left_as_it_was(method, precision):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mixed_net()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = labelled((6, 4))
    before, predictions = state(model), model.predict(x, verbose=0)
    gradient_gram(model, x, y, loss=SOFTMAX, precision=precision, method=method)
    assert state(model) == before
    np.testing.assert_array_equal(model.predict(x, verbose=0), predictions)
    model.compile("sgd", SOFTMAX)
    model.fit(x, y, epochs=1, verbose=0)
    assert state(model) == before


@pytest.mark.parametrize("method", METHODS)
def test_where_functions_run_eagerly(method):
    """As one sets it who debugs."""
    x, y = labelled((4,))
    model = dense_net()
    tf.config.run_functions_eagerly(True)
    try:
        gram = gradient_gram(model, x, y, loss=SOFTMAX, method=method)
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)
    assert relative_error(gram, gradient_gram(model, x, y, loss=SOFTMAX, method="loop").astype(float)) < 1e-5


def test_a_model_that_trains_by_default():
    """It is measured in inference mode."""

    class Dropping(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.dropout, self.out = layers.Dense(5), layers.Dropout(0.5), layers.Dense(3)

        def call(self, x, training=True):
            return self.out(self.dropout(self.dense(x), training=training))

    def build():
        model = Dropping()
        model(np.zeros((1, 4), "float32"))
        return model

    x, y = labelled((4,))
    model = build()
    expected = exact(float64_twin(build, model), x, y, softmax_loss)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 1e-5


@pytest.mark.parametrize("method", ["auto", "vectorized", "loop"])
def test_statistics_and_random_state_stay_where_layers_insist_on_training(method):
    class Insisting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm, self.dropout = layers.BatchNormalization(), layers.Dropout(0.5, seed=3)

        def build(self, shape):
            self.norm.build(shape)

        def call(self, x):
            self.add_loss(keras.ops.sum(x))
            return self.dropout(self.norm(x, training=True), training=True)

    model = keras.Sequential([keras.Input((4,)), layers.Dense(5), Insisting(), layers.Dense(3)])
    x, y = labelled((4,))
    before = [variable.numpy() for variable in model.variables]
    with contextlib.suppress(UnsupportedModel), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradient_gram(model, x, y, loss=SOFTMAX, method=method)
    assert len(before) > 4  # moving statistics and a random state among them
    for then, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(then, variable.numpy())
    assert all(not isinstance(loss, tf.Tensor) or hasattr(loss, "numpy") for loss in model.losses)


class Failing(keras.layers.Layer):
    def call(self, x):
        if tf.config.functions_run_eagerly():
            raise ValueError("not while tracing")
        return x


def test_the_model_is_left_as_it_was_where_tracing_fails():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = sequential((6, 4), layers.LSTM(3), Failing(), layers.Dense(3))
    finally:
        keras.config.set_dtype_policy("float32")
    before = state(model)
    with pytest.raises(ValueError, match="not while tracing"):
        gradient_gram(model, *labelled((6, 4)), loss=SOFTMAX)
    assert state(model) == before


def test_quantised_layers():
    model = dense_net()
    x, y = labelled((4,))
    assert gradient_gram(model, x, y, loss=SOFTMAX).any()
    model.quantize("int8")
    before = state(model)
    with pytest.raises(UnsupportedModel, match="quantised"):
        gradient_gram(model, x, y, loss=SOFTMAX)
    assert state(model) == before


def test_random_numbers_in_every_mode():
    """A layer that draws numbers whenever it is called has no gradient to measure: refused."""

    class Noisy(keras.layers.Layer):
        def call(self, x):
            return x * tf.random.uniform(tf.shape(x), dtype=x.dtype)

    model = sequential((4,), layers.Dense(5, activation="tanh"), Noisy(), layers.Dense(3))
    x, y = labelled((4,), 12)
    with pytest.raises(UnsupportedModel, match="random in inference"):
        gradient_gram(model, x, y, loss=SOFTMAX)


def test_one_strategy_several_devices():
    """Under MirroredStrategy the first replica's weights are measured. Two CPUs need a process of their own."""
    tests = Path(__file__).parents[1]
    command = [sys.executable, str(tests / "gradients" / "mirrored.py")]
    path = os.pathsep.join(map(str, (tests, tests.parent)))
    found = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]


def test_a_weight_of_no_axes():
    def build():
        return sequential((4,), Weighted(lambda x, w: tf.tanh(w * x) + w, ()), layers.Dense(3))

    x, y = labelled((4,))
    model = build()
    expected = exact(float64_twin(build, model), x, y, softmax_loss)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 1e-5
