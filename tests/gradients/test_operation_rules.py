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
from tfstiff.gradients.owners import Place
from tfstiff.gradients.plan import plan_for

layers = keras.layers


class Case(NamedTuple):
    """`operations` are the types at which some weight meets examples, and whose rules are used."""

    operations: set[str]
    shape: tuple[int, ...]
    layers: list  # functions that make a layer each; a Dense of 3 outputs follows


class Table(keras.layers.Layer):
    """`function(indices, table)` with a table of four rows; every example looks some of them up."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def build(self, _):
        self.table = self.add_weight(name="table", shape=(4, 3), initializer="random_normal")

    def call(self, x):
        return self.function(rounded(x), self.table)


class LearntState(keras.layers.Layer):
    """A recurrent layer whose initial state is a weight."""

    def __init__(self):
        super().__init__()
        self.recurrent = layers.GRU(3, return_sequences=True)

    def build(self, shape):
        self.recurrent.build(shape)
        self.state = self.add_weight(name="state", shape=(1, 3), initializer="random_normal")

    def call(self, x):
        return self.recurrent(x, initial_state=tf.tile(tf.convert_to_tensor(self.state), [tf.shape(x)[0], 1]))


def rounded(x):
    return tf.cast(tf.abs(x) * 3, "int32") % 4


def tied(index, table):
    table = tf.convert_to_tensor(table)
    return tf.matmul(tf.tanh(tf.reduce_sum(tf.gather(table, index), 1)), table, transpose_b=True)


def time_major(x):
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])


def steps_first(x, weight):
    """The examples run faster than the steps in the rows of the product."""
    rows = tf.tanh(tf.reshape(time_major(x), [-1, x.shape[-1]]) @ weight)
    return time_major(tf.reshape(rows, [x.shape[1], -1, weight.shape[-1]]))


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
    "steps before the examples": Case({"MatMul"}, (3, 4), [lambda: Weighted(steps_first, (4, 2))]),
    "examples on the second axis": Case(
        {"BatchMatMulV2", "Mul", "AddV2"},
        (3, 4),
        [
            lambda: Weighted(lambda x, w: tf.tanh(time_major(tf.matmul(time_major(x), w))), (4, 5)),
            lambda: Weighted(lambda x, w: tf.tanh(time_major(time_major(x) * w)), (5,)),
            lambda: Weighted(lambda x, w: tf.tanh(time_major(time_major(x) + w)), (1, 1, 5)),
        ],
    ),
    "table of positions": Case(
        {"AddV2"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(x + tf.gather(w, tf.range(tf.shape(x)[1]))), (7, 4))]
    ),
    "slice of a table of positions": Case(
        {"AddV2"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(x + w[: tf.shape(x)[1]]), (7, 4))]
    ),
    "batched product": Case({"BatchMatMulV2"}, (3, 4), [lambda: Weighted(tf.matmul, (4, 5)), layers.LeakyReLU]),
    "batched product, weight transposed": Case(
        {"BatchMatMulV2"}, (2, 3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(x, w, False, True)), (1, 5, 4))]
    ),
    "batched product, data transposed": Case(
        {"BatchMatMulV2"}, (4, 3), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(x, w, True)), (4, 5))]
    ),
    "batched product, both transposed": Case(
        {"BatchMatMulV2"}, (4, 3), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(x, w, True, True)), (5, 4))]
    ),
    "batched product, weight first": Case(
        {"BatchMatMulV2"}, (4, 3), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(w, x)), (5, 4))]
    ),
    "batched product, weight first and transposed": Case(
        {"BatchMatMulV2"}, (2, 4, 3), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(w, x, True)), (4, 5))]
    ),
    "batched product, weight first, data transposed": Case(
        {"BatchMatMulV2"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(w, x, False, True)), (5, 4))]
    ),
    "batched product, weight first, both transposed": Case(
        {"BatchMatMulV2"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(w, x, True, True)), (4, 5))]
    ),
    "batched product of more axes": Case(
        {"BatchMatMulV2"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(x, w)[0]), (1, 1, 4, 5))]
    ),
    "batched product, the other versions": Case(
        {"BatchMatMul", "BatchMatMulV3"},
        (4,),
        [
            lambda: Weighted(lambda x, w: tf.tanh(tf.raw_ops.BatchMatMul(x=x, y=w)), (4, 5)),
            lambda: Weighted(lambda x, w: tf.raw_ops.BatchMatMulV3(x=x, y=w, Tout=x.dtype, adj_y=True), (3, 5)),
        ],
    ),
    "einsum, weight second": Case(
        {"Einsum"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.einsum("ntd,dhe->nhte", x, w)), (4, 2, 3))]
    ),
    "einsum, weight first": Case(
        {"Einsum"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.einsum("de,ntd->nte", w, x)), (4, 2))]
    ),
    "einsum, a matrix for each position": Case(
        {"Einsum"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.einsum("ntd,tde->nte", x, w)), (3, 4, 2))]
    ),
    "einsum, examples last": Case(
        {"Einsum"},
        (3, 4),
        [lambda: Weighted(lambda x, w: tf.tanh(tf.transpose(tf.einsum("ntd,de->ten", x, w), [2, 0, 1])), (4, 2))],
    ),
    "einsum, data summed alone": Case(
        {"Einsum"}, (3, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.einsum("ntd,de->ne", x, w)), (4, 2))]
    ),
    "convolution of volumes": Case(
        {"Conv3D", "BiasAdd"}, (4, 5, 4, 2), [lambda: layers.Conv3D(3, (3, 2, 3), (1, 2, 1), "same", activation="tanh")]
    ),
    "convolution of volumes, valid": Case({"Conv3D"}, (3, 4, 3, 1), [lambda: layers.Conv3D(2, 2, activation="tanh")]),
    "grouped convolution": Case(
        {"Conv2D"}, (5, 5, 4), [lambda: layers.Conv2D(6, 3, groups=2, padding="same", activation="tanh")]
    ),
    "grouped convolution, strides": Case(
        {"Conv2D"}, (6, 5, 6), [lambda: layers.Conv2D(6, (2, 3), groups=3, strides=2, activation="tanh")]
    ),
    "dilated convolution": Case(
        {"Conv2D"}, (7, 9, 2), [lambda: layers.Conv2D(3, 3, dilation_rate=2, padding="same", activation="tanh")]
    ),
    "dilated convolution, two rates": Case(
        {"Conv2D"}, (7, 9, 2), [lambda: layers.Conv2D(3, (2, 3), dilation_rate=(2, 3), activation="tanh")]
    ),
    "transposed convolution": Case(
        {"Conv2DBackpropInput"}, (4, 5, 2), [lambda: layers.Conv2DTranspose(3, 3, (2, 3), "same", activation="tanh")]
    ),
    "transposed convolution, valid": Case(
        {"Conv2DBackpropInput"}, (4, 3, 2), [lambda: layers.Conv2DTranspose(3, (2, 3), 2, activation="tanh")]
    ),
    "transposed convolution, output padded": Case(
        {"Conv2DBackpropInput"},
        (4, 3, 2),
        [lambda: layers.Conv2DTranspose(3, 3, 2, "same", output_padding=1, activation="tanh")],
    ),
    "transposed convolution of volumes": Case(
        {"Conv3DBackpropInputV2"}, (3, 2, 3, 2), [lambda: layers.Conv3DTranspose(2, 3, 2, "same", activation="tanh")]
    ),
    "depthwise": Case(
        {"DepthwiseConv2dNative"},
        (7, 6, 2),
        [lambda: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2, activation="tanh")],
    ),
    "depthwise, dilated": Case(
        {"DepthwiseConv2dNative"},
        (7, 6, 2),
        [lambda: layers.DepthwiseConv2D((2, 3), dilation_rate=2, depth_multiplier=3, activation="tanh")],
    ),
    "looked up": Case({"ResourceGather"}, (5, 1), [lambda: Table(lambda i, w: tf.nn.embedding_lookup(w.value, i))]),
    "looked up in what was read": Case(
        {"GatherV2"}, (5, 1), [lambda: Table(lambda i, w: tf.gather(tf.convert_to_tensor(w), i))]
    ),
    "embedding": Case({"GatherV2"}, (5,), [lambda: Rows(rounded), lambda: layers.Embedding(4, 3)]),
    "looked up, steps first": Case(
        {"GatherV2"},
        (5, 2),
        [lambda: Table(lambda i, w: time_major(tf.gather(tf.convert_to_tensor(w), time_major(i))))],
    ),
    "looked up in another shape": Case(
        {"GatherV2"}, (3,), [lambda: Table(lambda i, w: tf.gather(tf.reshape(w, (4, 3, 1)), i))]
    ),
    "looked up in a function of the table": Case(
        {"GatherV2"}, (5,), [lambda: Table(lambda i, w: tf.gather(tf.math.softplus(tf.convert_to_tensor(w)), i))]
    ),
    "table tied to the output": Case({"GatherV2", "MatMul"}, (5,), [lambda: Table(tied)]),
    "table shared by two inputs": Case(
        {"GatherV2"},
        (5,),
        [lambda: Table(lambda i, w: tf.gather(tf.convert_to_tensor(w), i) * tf.gather(tf.convert_to_tensor(w), 3 - i))],
    ),
    "class token": Case(
        {"BroadcastTo", "BatchMatMulV2"},
        (3, 4),
        [
            lambda: Weighted(
                lambda x, w: tf.concat([tf.broadcast_to(w, [tf.shape(x)[0], 1, 4]), tf.tanh(x)], 1), (1, 1, 4)
            ),
            lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(x, w)), (4, 2)),
        ],
    ),
    "repeated along other axes": Case(
        {"BroadcastTo"}, (3, 4), [lambda: Weighted(lambda x, w: x * tf.broadcast_to(w, tf.shape(x)), (3, 1))]
    ),
    "learnt initial state": Case({"Tile", "MatMul"}, (3, 4), [LearntState]),
    "tiled along other axes": Case(
        {"Tile"}, (6, 4), [lambda: Weighted(lambda x, w: x * tf.tile(w, [tf.shape(x)[0], 2, 4]), (1, 3, 1))]
    ),
    "numerator": Case({"RealDiv"}, (4, 3), [lambda: Weighted(lambda x, w: w / (2 + x**2), (3,))]),
    "denominator": Case({"RealDiv"}, (4, 3), [lambda: Weighted(lambda x, w: x / w, (4, 1))]),
    "other divisions": Case(
        {"Div", "DivNoNan"},
        (4,),
        [
            lambda: Weighted(lambda x, w: tf.raw_ops.Div(x=x, y=w), (4,)),
            lambda: Weighted(lambda x, w: tf.math.divide_no_nan(w, 2 + x**2), (4,)),
            lambda: Weighted(lambda x, w: tf.math.divide_no_nan(x, w), ()),
        ],
    ),
    "base": Case({"Pow"}, (4, 3), [lambda: Weighted(lambda x, w: w**x, (4, 3))]),
    "exponent": Case({"Pow"}, (4, 3), [lambda: Weighted(lambda x, w: (1 + x**2) ** w, ())]),
    "the larger and the smaller": Case(
        {"Maximum", "Minimum"},
        (4, 3),
        [
            lambda: Weighted(tf.maximum, (3,), keras.initializers.RandomUniform(-0.5, 0.5)),
            lambda: Weighted(lambda x, w: tf.minimum(w, x), (4, 1)),
        ],
    ),
    "squared difference": Case(
        {"SquaredDifference"},
        (4, 3),
        [
            lambda: Weighted(tf.math.squared_difference, (3,)),
            lambda: Weighted(lambda x, w: tf.math.squared_difference(w, x), (4, 1)),
        ],
    ),
    "chosen or not": Case(
        {"SelectV2"},
        (4, 3),
        [
            lambda: Weighted(lambda x, w: tf.where(x > 0, w, x), (3,)),
            lambda: Weighted(lambda x, w: tf.where(x > 0.7, x, w), (4, 1)),
        ],
    ),
    "compared with a weight": Case(
        {"Mul"}, (4, 3), [lambda: Weighted(lambda x, w: tf.where(x > w, 2 * x, x) * w, (3,), "zeros"), layers.LeakyReLU]
    ),
    "angles and logarithms": Case(
        {"Atan2", "Xlogy", "Xlog1py", "Xdivy"},
        (4,),
        [
            lambda: Weighted(tf.atan2, (4,)),
            lambda: Weighted(tf.math.xlogy, (4,)),
            lambda: Weighted(lambda x, w: tf.math.xlog1py(w, x**2), (1,)),
            lambda: Weighted(tf.math.xdivy, ()),
        ],
    ),
    "remainders": Case(
        {"FloorMod", "MulNoNan"},
        (4,),
        [
            lambda: Weighted(lambda x, w: tf.math.floormod(3 * x, w), (4,)),
            lambda: Weighted(tf.math.multiply_no_nan, (4,)),
        ],
    ),
    "clipped": Case(
        {"ClipByValue"},
        (4,),
        [
            lambda: Weighted(
                lambda x, w: tf.raw_ops.ClipByValue(t=x, clip_value_min=-w, clip_value_max=w), ()
            )
        ],
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
    kernel = [weights for weights in plan.parts[0].layout.outers if 0 in weights]
    assert kernel in ([(0,)], [(0, 1)])  # or with its bias joined, where Keras before 3.15 reshapes nothing


def test_a_wide_layer_used_twice_is_not_formed():
    def build():
        shared = layers.Dense(60, activation="tanh", use_bias=False)
        return sequential((60,), shared, shared, layers.Dense(3))

    x, y = labelled((60,))
    compare(build, x, y, method="structured")
    plan = plan_for(build(), x, y, loss=SOFTMAX)
    assert (0,) in plan.parts[0].layout.outers


def test_no_rule_is_left_out():
    assert set().union(*(case.operations for case in CASES.values())) == set(operations._RULES)


NO_RULE = {
    "morphology": (
        (5, 5, 2), lambda: Weighted(
            lambda x, w: tf.nn.dilation2d(x, w, (1, 1, 1, 1), "SAME", "NHWC", (1, 1, 1, 1)), (2, 2, 2)),
        "no rule for the operation Dilation2D"),
    "weight on the left": (
        (4,), lambda: Weighted(lambda x, w: tf.transpose(tf.matmul(w, x, transpose_b=True)), (5, 4)), "on the left"),
    "weights as an image": (
        (3, 3, 1), lambda: Weighted(
            lambda x, w: tf.transpose(tf.nn.conv2d(w, tf.transpose(x, [1, 2, 3, 0]), 1, "VALID"), [3, 1, 2, 0]),
            (2, 5, 4, 1)),
        "weights as its image"),
    "complex": (
        (4,), lambda: Weighted(lambda x, w: tf.abs(tf.complex(x, x) * tf.complex(w, 0 * w)), (4,)), "complex numbers"),
    "einsum that sums the weight alone": (
        (4,), lambda: Weighted(lambda x, w: tf.einsum("nd,de->nd", x, w), (4, 3)), "sums the weight alone"),
    "einsum of unnamed axes": (
        (3, 4), lambda: Weighted(lambda x, w: tf.einsum("...d,de->...e", x, w), (4, 3)), "the Einsum"),
    "looked up along another axis": (
        (5,), lambda: Table(lambda i, w: tf.gather(tf.transpose(tf.convert_to_tensor(w)), i, axis=1)[0]),
        "another axis than the first"),
    "recurrence by hand": (
        (3, 4), lambda: Weighted(lambda x, w: tf.while_loop(
            lambda step, h: step < 3, lambda step, h: (step + 1, tf.tanh(h * w + x[:, step])), (0, x[:, 0]),
            maximum_iterations=3)[1], (4,)),
        "While has several outputs"),
    "rows in another order": (
        (4,), lambda: Weighted(lambda x, w: tf.reverse(tf.reverse(x, [0]) @ w, [0]), (4, 5)),
        "not each example's own|do not sum"),
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
    assert "dense" not in messages[0]  # the other layer is not dragged along
    for _ in range(2):  # nor is it forgotten that it was refused
        with pytest.raises(UnsupportedModel, match=reason) as refused:
            gradient_gram(model, x, y, loss=SOFTMAX, method="structured")
        assert model.trainable_weights[0].path in str(refused.value)


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
        return operations.apply_rule(operations.Use(never_run.op, 1, upstream, tf.shape(x)[0], kernel.shape, Place(0)))

    weight = tf.Variable(kernel)
    expected = []
    for i in range(4):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(dilated(x[i : i + 1], weight) * upstream[i])
        expected.append(tape.gradient(total, weight).numpy())
    found = rule(x, upstream).numpy().reshape(4, *kernel.shape)
    assert relative_error(found, np.stack(expected)) < 1e-12


def test_registering_twice(register):
    with pytest.raises(InvalidInput, match="overwrite=True"):
        register("MatMul")(lambda use: None)


def test_a_rule_of_the_users_own(register):
    def build():
        in_slices = Rows(lambda x: tf.gather(x, tf.range(tf.shape(x)[0])))  # the form of its gradient
        return sequential((4,), Weighted(lambda x, w: x / w, (4,)), in_slices, Rows(tf.tanh), layers.Dense(3))

    @register("RealDiv", overwrite=True)
    def divide(use):
        assert use.operand == 1
        assert isinstance(use.output_gradient, tf.Tensor)
        return -use.output_gradient * use.data / use.weight**2

    compare(build, *labelled((4,)), method="structured")
