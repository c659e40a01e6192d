"""Faults that are planted, one at a time: the check that is meant for each finds it, and says what it is."""

import os
import re
import warnings
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff.gradients import gradient_gram, gradient_plan, operations, products, proof, structured, tiles
from tfstiff.gradients.factors import Outer
from tfstiff.measuring.audit.audit import CHECKS
from tfstiff.measuring.audit.subject import Subject

layers, ops = keras.layers, keras.ops
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
NAMED = {check.name: check for check in CHECKS}
COUNT = 6


class Rows(layers.Layer):
    """`function(x)` of a whole batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


class Step(layers.Layer):
    """`function(layer, x)`, with a variable that is not trained."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, _):
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        return self.function(self, x)


class Always(layers.Layer):
    """A layer in training mode, whatever it is told."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x, training=True)


class Assigning(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, x):
        self.kernel.assign(self.kernel * 0.5)
        return ops.matmul(x, self.kernel)


class Twofold(layers.Layer):
    """Twice as much where it is traced."""

    def call(self, x):
        return x * (1.0 if tf.executing_eagerly() else 2.0)


class Untracked(layers.Layer):
    def __init__(self):
        super().__init__()
        self.holder = (lambda variable: lambda: variable)(tf.Variable(2.0, name="temperature"))

    def call(self, x):
        return x * tf.cast(self.holder(), x.dtype)


class Penalty(layers.Layer):
    def call(self, x):
        self.add_loss(0.5 * ops.mean(x**2))
        return x


class Counter:
    """Another number at every call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x * (1.0 + self.calls % 2)


class Planted(NamedTuple):
    model: keras.Model
    x: np.ndarray
    y: np.ndarray
    options: dict


def numbers(*middle, shape=(4,), loss=SOFTMAX, kind=keras.Model, before=(), **options):
    """Numbers through `before`, a dense layer, `middle`, and a dense layer of three outputs."""
    rng = np.random.default_rng(0)
    inputs = x = keras.Input(shape)
    for layer in (*before, layers.Dense(5, activation="tanh", **options.pop("dense", {})), *middle, layers.Dense(3)):
        x = layer(x)
    model = kind(inputs, x)
    model.compile(keras.optimizers.SGD(), loss, **options.pop("compiled", {}))
    return Planted(model, rng.normal(size=(12, *shape)).astype("float32"), np.arange(12) % 3, options)


def words(*middle, length=6, mask_zero=True, **options):
    """Padded sentences through an embedding, `middle`, and a dense layer."""
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((length,), dtype="int32"),
            layers.Embedding(20, 5, keras.initializers.RandomNormal(stddev=1.0), mask_zero=mask_zero),
            *middle,
            layers.Dense(3),
        ]
    )
    model.compile(keras.optimizers.SGD(), SOFTMAX)
    x = rng.integers(1, 20, (12, 6))
    x[:6, 3:] = 0
    return Planted(model, x, np.arange(12) % 3, options)


def residual():
    """An `+` between tensors of layers is no layer, and hands no mask on."""
    planted = words()
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 5, "random_normal", mask_zero=True)(inputs)
    x = layers.GlobalAveragePooling1D()(x + layers.Dense(5)(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    model.compile(loss=SOFTMAX)
    return planted._replace(model=model)


def rows(function):
    return lambda: numbers(Rows(function))


def steps(function):
    return lambda: numbers(Step(function))


def count_and_use(layer, x):
    layer.count.assign(layer.count + 1.0)
    return x * (1 + tf.cast(layer.count.value, x.dtype))


def count_alone(layer, x):
    layer.count.assign(layer.count + 1.0)
    return x


@tf.custom_gradient
def by_the_batch(x):
    return tf.identity(x), lambda upstream: upstream * tf.reduce_mean(x**2)


def shared(x):
    return tf.cast(tf.shape(x)[0], x.dtype)


def of_losses(change):
    """An objective: the losses of the examples, changed."""

    def objective(model, x, y):
        prediction = model(x, training=False)
        return change(SOFTMAX.call(tf.cast(y, prediction.dtype), prediction), x, y)

    return objective


def by_frequency(losses, _, y):
    """Weighs the classes by how often they are in the batch."""
    counts = tf.math.unsorted_segment_sum(tf.ones_like(losses), y, 3)
    return losses / tf.gather(counts, y)


def by_tokens(losses, x, _):
    return losses / tf.cast(tf.math.count_nonzero(x), losses.dtype)


def all_positions(model, x, y):
    """A loss a position, over all of them, padding too."""
    prediction = model(x, training=False)
    return tf.reduce_mean(SOFTMAX.call(tf.repeat(tf.cast(y, prediction.dtype)[:, None], 6, 1), prediction), -1)


def contrasted(y, prediction):
    values = SOFTMAX.call(y, prediction)
    return values - 0.5 * tf.reduce_mean(values) ** 2


def over_the_batch(x):
    weights = tf.nn.softmax(tf.matmul(x, x, transpose_b=True))
    return tf.matmul(weights, x)


def naive(y, prediction):
    """A softmax that overflows."""
    scores = tf.exp(200 * prediction)
    chosen = tf.gather(scores, tf.cast(tf.reshape(y, [-1]), "int32"), batch_dims=1)
    return tf.math.log(tf.reduce_sum(scores, -1)) - tf.math.log(chosen)


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred) + ops.mean(y_pred**2)


def own_step(change):
    class OwnStep(keras.Model):
        """A training step of one's own, with a loss of its own."""

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = change(self, x, y)
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    return OwnStep


def shuffled(model, x, y):
    return model.compute_loss(y=tf.roll(y, 1, 0), y_pred=model(x, training=True))


def upwards(model, x, y):
    return -model.compute_loss(y=y, y_pred=model(x, training=True))


def stopped(model, x, y):
    hidden = tf.stop_gradient(model.layers[1](x))
    return model.compute_loss(y=y, y_pred=model.layers[2](hidden))


def smoothed(model, x, y):
    prediction = model(x, training=True)
    return ops.mean(keras.losses.CategoricalCrossentropy(True, 0.3)(tf.one_hot(y, 3), prediction))


def tagger():
    """A class for each word, of sentences of two lengths."""
    planted = words()
    y = np.random.default_rng(1).integers(0, 3, planted.x.shape)
    return Planted(planted.model, planted.x, y, {})


def half(scale):
    def build():
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:

            def loss(y, prediction):
                return scale * SOFTMAX.call(y, prediction)

            return numbers(loss=loss, compiled={"auto_scale_loss": False})
        finally:
            keras.config.set_dtype_policy(policy)

    return build


def quantised():
    planted = numbers()
    planted.model.layers[1].quantize("int8")
    return planted


def stateful():
    model = keras.Sequential([keras.Input(batch_shape=(COUNT, 4, 2)), layers.GRU(3, stateful=True), layers.Dense(3)])
    model.compile(loss=SOFTMAX)
    return Planted(model, np.random.default_rng(0).normal(size=(12, 4, 2)).astype("float32"), np.arange(12) % 3, {})


LARGE = np.ones(2**15, "float32")


def measured_in_another_environment():
    os.environ["SCALE_OF_ALL"] = "1"
    planted = numbers(Rows(lambda x: x * float(os.environ["SCALE_OF_ALL"])))
    gradient_gram(planted.model, planted.x, planted.y)
    os.environ["SCALE_OF_ALL"] = "3"
    return planted


def measured_with_a_table():
    LARGE[:] = 1
    planted = numbers(Rows(lambda x: x * LARGE[:5]))
    gradient_gram(planted.model, planted.x, planted.y)
    LARGE[:] = 3
    return planted


def always_dropout():
    return numbers(Always(layers.Dropout(0.5, seed=1)))


FAULTS = {
    # random
    "noise of TensorFlow": (rows(lambda x: x + tf.random.normal(tf.shape(x), dtype=x.dtype)), "random", "every call"),
    "noise of NumPy": (rows(lambda x: x + np.random.normal(size=5)), "random", "every call"),
    "noise of a seed": (
        lambda: numbers(Always(layers.GaussianNoise(1.0, seed=3))),
        "random",
        "draws random numbers in inference",
    ),
    "noise without a seed": (
        rows(lambda x: x + keras.random.normal((x.shape[-1],), dtype=x.dtype)),
        "random",
        "draws random numbers in inference",
    ),
    "dropout in inference": (always_dropout, "random", "draws random numbers in inference"),
    "another number at every call": (lambda: numbers(Rows(Counter())), "random", "every call"),
    # state
    "calls are counted and used": (steps(count_and_use), "state", "next call has other losses"),
    "calls are counted": (steps(count_alone), "state", "count.*losses stay the same"),
    "a weight is assigned to": (lambda: numbers(Assigning()), "state", "trainable weights among them"),
    "moving statistics in inference": (
        lambda: numbers(Always(layers.BatchNormalization())),
        "state",
        "moving_mean",
    ),
    # batch size
    "a batch of one is squeezed": (
        rows(lambda x: tf.reshape(tf.squeeze(x), [-1, 5]) if x.shape[0] != 1 else tf.squeeze(x)),
        "batch size",
        "fails where this is tried",
    ),
    "divided by the batch": (rows(lambda x: 6 * x / shared(x)), "batch size", "In a batch of 1 examples"),
    "small batches are others": (
        rows(lambda x: tf.where(shared(x) < 4, 2 * x, x)),
        "batch size",
        "In a batch of 1 examples",
    ),
    "losses divided by the batch": (
        lambda: numbers(objective=of_losses(lambda losses, *_: 6 * losses / shared(losses))),
        "batch size",
        "losses or outputs are others",
    ),
    # order
    "random numbers of places": (
        rows(lambda x: x + tf.random.stateless_normal(tf.shape(x), [1, 2], dtype=x.dtype)),
        "order",
        "In another order",
    ),
    "the place in the batch": (
        rows(lambda x: x + tf.cast(tf.range(tf.shape(x)[0]), x.dtype)[:, None]),
        "order",
        "In another order",
    ),
    "a running sum": (rows(lambda x: tf.cumsum(x, 0)), "order", "In another order"),
    "the first is others": (
        rows(lambda x: tf.concat([x[:1] * 2, x[1:]], 0)),
        "order",
        "In another order",
    ),
    # neighbours
    "batch statistics": (
        lambda: numbers(Always(layers.BatchNormalization())),
        "neighbours",
        "changes the loss or output of an example",
    ),
    "a leaky layer": (rows(lambda x: x - tf.reduce_mean(x, 0)), "neighbours", "Changing the other examples"),
    "a small leak": (rows(lambda x: x + 0.02 * tf.reduce_mean(x, 0)), "neighbours", "Changing the other examples"),
    "the example before": (rows(lambda x: x + tf.roll(x, 1, 0)), "neighbours", "Changing the other examples"),
    "a softmax over the batch": (rows(lambda x: tf.nn.softmax(x, 0)), "neighbours", "Changing the other examples"),
    "scaled by the largest": (
        rows(lambda x: x / tf.reduce_max(tf.abs(x))),
        "neighbours",
        "Changing the other examples",
    ),
    "attention over the batch": (rows(over_the_batch), "neighbours", "Changing the other examples"),
    "a sorted batch": (rows(lambda x: tf.sort(x, 0)), "neighbours", "Changing the other examples"),
    "a contrastive loss": (lambda: numbers(loss=contrasted), "neighbours", "Changing the other examples"),
    "classes weighed by the batch": (
        lambda: numbers(objective=of_losses(by_frequency)),
        "neighbours",
        "Changing the other examples",
    ),
    "a loss divided by the batch's words": (
        lambda: words(layers.LSTM(4), objective=of_losses(by_tokens)),
        "neighbours",
        "Changing the other examples",
    ),
    "gradients scaled by the batch": (rows(by_the_batch), "neighbours", "Gradients differ.*and losses do not"),
    # padding
    "rows of zeros divide": (
        lambda: numbers(before=[Rows(lambda x: x / tf.reduce_min(tf.norm(x, axis=-1)))]),
        "padding",
        r"Rows that fill up a batch \(zeros\)",
    ),
    "copies count": (rows(lambda x: x - tf.reduce_mean(x, 0)), "padding", "Rows that fill up a batch"),
    # mask
    "a layer drops the mask": (
        lambda: words(Rows(tf.identity), layers.LSTM(4)),
        "mask",
        "masked positions changes losses",
    ),
    "a sum that drops the mask": (residual, "mask", "masked positions"),
    "flattened": (lambda: words(layers.Flatten()), "mask", "masked positions changes losses"),
    "a mean over padding": (lambda: words(Rows(lambda x: tf.reduce_mean(x, 1))), "mask", "masked positions"),
    "a convolution over padding": (
        lambda: words(layers.Conv1D(4, 3, padding="same"), Rows(lambda x: tf.reduce_max(x, 1))),
        "mask",
        "masked positions",
    ),
    "a loss over padding": (lambda: words(layers.Dense(4), objective=all_positions), "mask", "masked positions"),
    # length
    "a mean over added positions": (
        lambda: words(Rows(lambda x: tf.reduce_mean(x, 1)), length=None),
        "length",
        "masked positions more",
    ),
    "the last position": (lambda: words(Rows(lambda x: x[:, -1]), length=None), "length", "masked positions more"),
    "backwards without a mask": (
        lambda: words(Rows(tf.identity), layers.GRU(4, go_backwards=True), length=None),
        "length",
        "masked positions more",
    ),
    # trace
    "another model where it is traced": (lambda: numbers(Twofold()), "trace", "not those of the model"),
    "a quantised layer": (quantised, "trace", "is quantised"),
    "a stateful layer": (stateful, "trace", "is stateful"),
    # cache
    "another environment since": (measured_in_another_environment, "cache", "not the model of now"),
    "other values of a table since": (measured_with_a_table, "cache", "not the model of now"),
    # variables
    "a variable that is not tracked": (lambda: numbers(Untracked()), "variables", "temperature"),
    # precision
    "cancellation": (rows(lambda x: (x + 2e6) - 2e6), "precision", "in float32"),
    "overflow": (lambda: numbers(loss=naive), "precision", "not finite, or zero, in float32"),
    # half precision
    "underflow": (half(3e-9), "half precision", "zero or not finite"),
    "overflow in half precision": (half(1e6), "half precision", "zero or not finite"),
    # fit
    "add_loss": (lambda: numbers(Penalty()), "fit", "1 term of add_loss"),
    "an activity regulariser": (
        lambda: numbers(dense={"activity_regularizer": keras.regularizers.L2(0.5)}),
        "fit",
        "activity regularisers",
    ),
    "weights regularised": (
        lambda: numbers(dense={"kernel_regularizer": keras.regularizers.L2(0.5)}),
        "fit",
        "alone the regularisation of 1 weight",
    ),
    "compute_loss": (lambda: numbers(kind=OwnLoss), "fit", "compute_loss that OwnLoss defines"),
    "a shuffled batch": (lambda: numbers(kind=own_step(shuffled)), "fit", "train_step that .*OwnStep defines"),
    "up instead of down": (lambda: numbers(kind=own_step(upwards)), "fit", "differs from the mean"),
    "a gradient that is stopped": (lambda: numbers(kind=own_step(stopped)), "fit", "most at dense"),
    "labels smoothed": (lambda: numbers(kind=own_step(smoothed)), "fit", "train_step"),
    "sample weights": (lambda: numbers(sample_weight=np.arange(12) % 4), "fit", "sample weights"),
    "words weigh, not sentences": (tagger, "fit", "longer examples count for more"),
    "a loss that is not the compiled one": (
        lambda: numbers(loss="sparse_categorical_crossentropy", compiled={}, measured=SOFTMAX),
        "fit",
        "a loss that was given",
    ),
}


def found(planted, name):
    options = {key: value for key, value in planted.options.items() if key in ("objective", "sample_weight")}
    options["loss"] = planted.options.get("measured")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = Subject(planted.model, planted.x, planted.y, num_examples=COUNT, **options)
        return NAMED[name](subject)


def assert_found(check, text):
    assert check.result == "failed", check
    assert re.search(text, check.text), check.text


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault(name):
    build, check, text = FAULTS[name]
    assert_found(found(build(), check), text)


RULES = dict(operations._RULES)


def scaled(factor):
    def change(right):
        return Outer(factor * right.rows, right.columns) if isinstance(right, Outer) else factor * right

    return change


def reversed_rows(right):
    """Each gradient is given to another example: their sum is right."""
    if isinstance(right, Outer):
        return Outer(tf.reverse(right.rows, [0]), tf.reverse(right.columns, [0]))
    return tf.reverse(right, [0])


def reversed_entries(right):
    formed = right.formed() if isinstance(right, Outer) else right
    return tf.reverse(formed, [1])


def images():
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((5, 5, 2)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(3)])
    model.compile(loss=SOFTMAX)
    return Planted(model, rng.normal(size=(12, 5, 5, 2)).astype("float32"), np.arange(12) % 3, {})


@pytest.fixture
def plant_rule(monkeypatch):
    """Puts a rule in the place of the right one of an operation; undone after the test."""
    monkeypatch.setattr(operations, "_RULES", dict(RULES))

    def plant(operation, change):
        operations.register(operation, overwrite=True)(lambda use: change(RULES[operation](use)))

    return plant


@pytest.mark.parametrize(
    ("operation", "change", "build"),
    [
        ("MatMul", scaled(1.01), numbers),
        ("MatMul", scaled(-1.0), numbers),
        ("MatMul", reversed_rows, numbers),
        ("MatMul", reversed_entries, numbers),
        ("BiasAdd", scaled(2.0), numbers),
        ("Conv2D", scaled(0.5), images),
        ("Conv2D", reversed_rows, images),
    ],
)
def test_a_wrong_rule(operation, change, build, plant_rule):
    plant_rule(operation, change)
    assert_found(found(build(), "rules"), "give wrong gradients.*(do not sum|not each example's own)")


def test_a_missed_use(monkeypatch):
    uses = structured.find_uses
    monkeypatch.setattr(structured, "find_uses", lambda *arguments: uses(*arguments)[1:])
    assert_found(found(numbers(), "rules"), "give wrong gradients.*do not sum")


def test_a_wrong_rule_that_a_blind_proof_lets_pass(plant_rule, monkeypatch):
    plant_rule("MatMul", scaled(1.1))
    monkeypatch.setattr(
        proof.Proof, "compare", lambda self, weights, *_, **__: proof.Verdict(proved=frozenset(weights))
    )
    assert_found(found(numbers(), "methods"), "by the method auto differ from those of one tape.*kernel")


def test_wrong_products_of_right_gradients(monkeypatch):
    monkeypatch.setattr(gradient_plan, "products", lambda *factors: 1.1 * products.products(*factors))
    assert_found(found(numbers(), "methods"), "Products of gradients by the method auto")


def test_products_that_depend_on_the_size_of_a_tile(monkeypatch):
    def wrong(first, second, known=()):
        right = products.products(first, second, known)
        return tf.where(tf.shape(right)[0] < 4, 1.1 * right, right)

    monkeypatch.setattr(gradient_plan, "products", wrong)
    assert_found(found(numbers(), "tiles"), "In tiles of 1 products are others")


def test_a_rule_that_counts_the_examples(plant_rule):
    plant_rule("MatMul", lambda right: Outer(right.rows * (1 + shared(right.rows) / 60), right.columns))
    assert_found(found(numbers(), "rules"), "give wrong gradients")


def test_sums_over_tiles_that_are_wrong(monkeypatch):
    right = tiles.reduce_tile

    def wrong(first, second, *rest, **choices):
        return right(first, first, *rest, **choices)

    monkeypatch.setattr(tiles, "reduce_tile", wrong)
    monkeypatch.setattr(gradient_plan, "traced_tile", tiles.traced_tile.__wrapped__)  # none is kept that is wrong
    assert_found(found(numbers(), "tiles"), "A measurement in tiles of 3|fails where this is tried")


@keras.saving.register_keras_serializable("audit")
class Forgetful(layers.Layer):
    """Its configuration does not say by how much it scales."""

    scale = 1.0

    def call(self, x):
        return self.scale * x


def test_what_a_file_does_not_hold():
    layer = Forgetful()
    layer.scale = 3.0
    assert_found(found(numbers(layer), "process"), "other losses once it has been saved and loaded")


def test_what_only_this_process_knows():
    epsilon = keras.config.epsilon()
    keras.config.set_epsilon(0.2)  # to which losses clip probabilities
    try:
        planted = numbers(layers.Dense(3), layers.Softmax(), loss="sparse_categorical_crossentropy")
        assert_found(found(planted, "process"), "Another process.*measures something else")
    finally:
        keras.config.set_epsilon(epsilon)


def test_another_activation_since_the_last_measurement_is_no_fault():
    planted = numbers()
    gradient_gram(planted.model, planted.x, planted.y)
    planted.model.layers[1].activation = keras.activations.relu
    assert found(planted, "cache").result == "passed"
