"""Every rule, by the operation it is for; and what no rule is for."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Rows, Weighted, labelled, sequential

from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients import gradient_gram, operations, per_example_gradients, structured
from tfstiff.gradients.plan import plan_for

layers = keras.layers


class Case(NamedTuple):
    """`operations` are the types at which some weight meets examples, and whose rules are used."""

    operations: set[str]
    shape: tuple[int, ...]
    layers: list  # functions that make a layer each; a Dense of 3 outputs follows


def product(x, weight):
    return tf.reshape(tf.reshape(x, [-1, x.shape[-1]]) @ weight, [-1, *x.shape[1:-1], weight.shape[-1]])


CASES = {
    "dense": Case({"MatMul", "BiasAdd"}, (4,), [lambda: layers.Dense(5, activation="tanh")]),
    "dense at positions": Case({"MatMul", "BiasAdd"}, (3, 4), [lambda: layers.Dense(5, activation="tanh")]),
    "dense at many positions": Case({"MatMul"}, (50, 2), [lambda: layers.Dense(3, activation="tanh")]),
    "merged positions": Case({"MatMul"}, (2, 3, 4), [lambda: Weighted(product, (4, 2))]),
    "transposed weight": Case(
        {"MatMul"}, (4,), [lambda: Weighted(lambda x, w: tf.matmul(x, w, transpose_b=True), (5, 4)), layers.LeakyReLU]
    ),
    "weight in another shape": Case({"MatMul"}, (4,), [lambda: Weighted(lambda x, w: x @ tf.reshape(w, (4, 2)), (8,))]),
    "tied weight, once transposed": Case(
        {"MatMul"},
        (4,),
        [lambda: Weighted(lambda x, w: tf.matmul(tf.tanh(x @ w), w, transpose_b=True), (4, 5))],
    ),
    "tied weight in two shapes": Case(
        {"MatMul"}, (4,), [lambda: Weighted(lambda x, w: tf.tanh(x @ w) @ tf.reshape(w, (3, 4)), (4, 3))]
    ),
    "convolution": Case({"Conv2D", "BiasAdd"}, (6, 5, 2), [lambda: layers.Conv2D(3, (3, 2), activation="tanh")]),
    "convolution, strides, same": Case(
        {"Conv2D"}, (7, 8, 1), [lambda: layers.Conv2D(3, (4, 3), strides=(3, 2), padding="same", use_bias=False)]
    ),
    "convolution, padding given": Case(
        {"Conv2D"},
        (5, 6, 2),
        [lambda: Weighted(lambda x, w: tf.nn.conv2d(x, w, 2, [[0, 0], [1, 2], [0, 3], [0, 0]]), (3, 2, 2, 3))],
    ),
    "convolution at each time": Case(
        {"Conv2D"},
        (3, 5, 6, 2),
        [lambda: Weighted(
            lambda x, w: tf.reshape(tf.nn.conv2d(tf.reshape(x, [-1, 5, 6, 2]), w, 1, "SAME"), [-1, 3, 5, 6, 2]),
            (3, 2, 2, 2),
        )],
    ),
    "bias, channels first": Case(
        {"BiasAdd"}, (3, 4, 2), [lambda: Weighted(lambda x, w: tf.nn.bias_add(x, w, "NCHW"), (3,)), layers.LeakyReLU]
    ),
    "old addition": Case({"Add"}, (4, 3), [lambda: Weighted(lambda x, w: tf.raw_ops.Add(x=x, y=w), (4, 1))]),
    "weight first in a sum": Case({"AddV2"}, (4, 3), [lambda: Weighted(lambda x, w: w + x, (1, 3))]),
    "subtracted": Case({"Sub"}, (4, 3), [lambda: Weighted(lambda x, w: x - w, (3,))]),
    "subtracted from": Case({"Sub"}, (4, 3), [lambda: Weighted(lambda x, w: w - x, (4, 3))]),
    "scale": Case({"Mul"}, (4, 3), [lambda: Weighted(lambda x, w: w * x, (4, 1))]),
    "scalar": Case({"Mul"}, (4, 3), [lambda: Weighted(lambda x, w: x * w, ())]),
    "weight wider than the data": Case({"Mul"}, (4, 1), [lambda: Weighted(lambda x, w: x * w, (1, 1, 5))]),
    "pulled back through a softplus": Case(
        {"Mul"}, (4,), [lambda: Weighted(lambda x, w: x * tf.math.softplus(w) * tf.exp(w), (4,))]
    ),
    "pulled back through a norm": Case({"MatMul"}, (4,), [lambda: Weighted(lambda x, w: x @ (w / tf.norm(w)), (4, 3))]),
    "normalised layer": Case({"Mul"}, (4, 3), [lambda: layers.LayerNormalization()]),
    "used twice": Case(
        {"MatMul", "AddV2"}, (4,), [lambda: Weighted(lambda x, w: tf.tanh(tf.tanh(x @ w) @ w) + w[0], (4, 4))]
    ),
    "a gradient in slices": Case(
        {"AddV2"},
        (4,),
        [lambda: Weighted(lambda x, w: tf.gather(x + w, tf.range(tf.shape(x)[0])), (4,)), layers.LeakyReLU],
    ),
}  # fmt: skip


def make(case):
    return sequential(case.shape, *(layer() for layer in case.layers), layers.Flatten(), layers.Dense(3))


def compare(build, x, y, **options):
    model = build()
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, **options), expected) < 1e-5
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX, **options), expected @ expected.T) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_rule(name, monkeypatch):
    """By the rule alone: `structured` has no other path."""
    applied = set()

    def apply_rule(use):
        applied.add(use.operation.type)
        return operations.apply_rule(use)

    monkeypatch.setattr(structured, "apply_rule", apply_rule)
    case = CASES[name]
    compare(lambda: make(case), *labelled(case.shape), method="structured")
    assert case.operations <= applied, applied


def test_few_positions_of_a_wide_layer_are_not_formed():
    """Though Keras' Dense reshapes them to a width that is not known while tracing."""
    model = sequential((3, 50), layers.Dense(60, activation="tanh"), layers.Dense(2), layers.Flatten(), layers.Dense(3))
    plan = plan_for(model, *labelled((3, 50)), loss=SOFTMAX)
    assert plan._parts[0].layout.outers == (0,)


def test_a_wide_layer_used_twice_is_not_formed():
    def build():
        shared = layers.Dense(60, activation="tanh", use_bias=False)
        return sequential((60,), shared, shared, layers.Dense(3))

    x, y = labelled((60,))
    compare(build, x, y, method="structured")
    plan = plan_for(build(), x, y, loss=SOFTMAX)
    assert 0 in plan._parts[0].layout.outers


def test_no_rule_is_left_out():
    assert set().union(*(case.operations for case in CASES.values())) == set(operations._RULES)


MISLAID = "rows are not laid out as a rule supposes"
NO_RULE = {
    "division": ((4,), lambda: Weighted(lambda x, w: x / w, (4,)), "RealDiv"),
    "weight on the left": (
        (4,), lambda: Weighted(lambda x, w: tf.transpose(tf.matmul(w, x, transpose_b=True)), (5, 4)), "on the left"),
    "grouped convolution": ((5, 5, 4), lambda: layers.Conv2D(6, 3, groups=2), "no rule for the operation"),
    "dilated convolution": ((7, 9, 2), lambda: layers.Conv2D(3, 3, dilation_rate=2), "single examples"),
    "recurrent": ((5, 3), lambda: layers.LSTM(2), "While has several outputs"),
    "unknown width": (
        (4, 3),
        lambda: Weighted(
            lambda x, w: tf.reduce_sum(
                tf.nn.bias_add(tf.raw_ops.PlaceholderWithDefault(input=x, shape=[None, None, 3]), w) ** 2, 1), (3,)),
        "not known while tracing"),
    "rows in another order": (
        (4,), lambda: Weighted(lambda x, w: tf.reverse(tf.reverse(x, [0]) @ w, [0]), (4, 5)), "single examples"),
    "rows put before the examples": (
        (3, 4),
        lambda: Weighted(
            lambda x, w: tf.transpose(tf.reshape(
                tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, 4]) @ w, [3, -1, 2]), [1, 0, 2]), (4, 2)),
        "single examples"),
    "rows doubled": (
        (4,), lambda: Weighted(lambda x, w: (tf.concat([x, x], 0) * w)[: tf.shape(x)[0]], (4,)), MISLAID),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_RULE)
def test_what_no_rule_is_for(name):
    """`auto` takes the generic path, with one warning that names the weight and the reason; `structured` refuses."""
    shape, layer, reason = NO_RULE[name]

    def build():
        return sequential(shape, layer(), layers.Flatten(), layers.Dense(3))

    x, y = labelled(shape)
    with pytest.warns(UserWarning, match=reason) as warned:
        compare(build, x, y)
    messages = [str(warning.message) for warning in warned if "slower path" in str(warning.message)]
    model = build()
    path = model.trainable_weights[0].path.split("/", 1)[1].rstrip("_0123456789")
    assert len(messages) == 1
    assert path.split("/")[-1] in messages[0]
    if reason != MISLAID:
        assert "dense" not in messages[0]  # the other layer is not dragged along
    for _ in range(2):  # nor is it forgotten that it was refused
        with pytest.raises(UnsupportedModel, match=reason) as refused:
            gradient_gram(model, x, y, loss=SOFTMAX, method="structured")
        assert model.trainable_weights[0].path in str(refused.value)


def test_a_weight_looked_up():
    def build():
        return sequential((4,), layers.Embedding(5, 3), layers.Flatten(), layers.Dense(3))

    x = np.random.default_rng(0).integers(0, 5, (6, 4))
    with pytest.warns(UserWarning, match="embeddings: no rule for the operation"):
        compare(build, x, np.arange(6) % 3)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_dilation_and_strides_of_the_operation_itself(padding):
    """TensorFlow differentiates neither on CPU, so the rule is taken by itself."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(4, 9, 10, 2)), rng.normal(size=(3, 2, 2, 3))
    dilated = tf.function(lambda x, kernel: tf.nn.convolution(x, kernel, 1, padding, dilations=[2, 3]))
    upstream = rng.normal(size=dilated(x, kernel).shape)

    @tf.function(input_signature=[tf.TensorSpec([None, *array.shape[1:]], tf.float64) for array in (x, upstream)])
    def rule(x, upstream):
        never_run = tf.raw_ops.Conv2D(
            input=x, filter=tf.constant(kernel), strides=[1] * 4, padding=padding, dilations=[1, 2, 3, 1]
        )
        return operations.apply_rule(operations.Use(never_run.op, 1, upstream, tf.shape(x)[0], 1))

    weight = tf.Variable(kernel)
    expected = []
    for i in range(4):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(dilated(x[i : i + 1], weight) * upstream[i])
        expected.append(tape.gradient(total, weight).numpy())
    assert relative_error(rule(x, upstream).numpy(), np.stack(expected)) < 1e-12


def test_registering_twice(register):
    with pytest.raises(InvalidInput, match="overwrite=True"):
        register("MatMul")(lambda use: None)


def test_a_rule_of_the_users_own(register):
    def build():
        in_slices = Rows(lambda x: tf.gather(x, tf.range(tf.shape(x)[0])))  # the form of its gradient
        return sequential((4,), Weighted(lambda x, w: x / w, (4,)), in_slices, Rows(tf.tanh), layers.Dense(3))

    @register("RealDiv")
    def divide(use):
        assert use.operand == 1
        assert isinstance(use.output_gradient, tf.Tensor)
        return -use.output_gradient * use.data / use.weight**2

    compare(build, *labelled((4,)), method="structured")
