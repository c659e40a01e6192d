"""Rows that are not simply the examples: merged, permuted, sent through windows, nodes, experts and unknown sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Rows, Weighted, labelled, sequential

from tfstiff.gradients import gradient_gram, owners, per_example_gradients
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.owners import Place
from tfstiff.gradients.plan import plan_for

layers = keras.layers


class Around(keras.layers.Layer):
    """`after(layer(before(x)), x)`: a layer on rearranged rows."""

    def __init__(self, layer, before, after, built_for):
        super().__init__()
        self.layer, self.before, self.after, self.built_for = layer, before, after, built_for

    def build(self, _):
        self.layer.build(self.built_for)

    def call(self, x):
        return self.after(self.layer(self.before(x)), x)


def windows(x):  # (b, 6, 4, c) in windows of 3 x 2, as image transformers cut them
    x = ops.reshape(x, (-1, 2, 3, 2, 2, x.shape[-1]))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 6, x.shape[-1]))


def from_windows(h, _):
    h = ops.reshape(h, (-1, 2, 2, 3, 2, h.shape[-1]))
    return ops.reshape(ops.transpose(h, (0, 1, 3, 2, 4, 5)), (-1, 6, 4, h.shape[-1]))


def nodes_first(x):  # (b, t, nodes, f) to (nodes · b, t, f)
    h = ops.transpose(x, [2, 0, 1, 3])
    nodes, b, t, f = ops.shape(h)
    return ops.reshape(h, (b * nodes, t, f))


def nodes_last(h, x):
    b, t, nodes, _ = ops.shape(x)
    return ops.transpose(ops.reshape(h, (nodes, b, t, h.shape[-1])), [1, 2, 0, 3])


def nodes_from_state(h, x):
    return ops.transpose(ops.reshape(h, (5, -1, h.shape[-1])), [1, 0, 2])


def unknown_width(x):  # (b, s, 2, 3) to (b, s, 6), as it is written where s is unknown
    b, s = ops.shape(x)[:2]
    return ops.reshape(x, [b, s, -1])


def unknown_length(x):
    return ops.reshape(x, (ops.shape(x)[0], -1, 3))


def same(h, _):
    return h


def relative_bias(x, table):
    """Scores of positions plus a learnt bias by their distance, of a length that the trace does not know."""
    x = unknown_length(x)
    length = tf.shape(x)[1]
    places = tf.range(length)
    bias = tf.transpose(tf.gather(table, places[:, None] - places + length - 1), [2, 0, 1])
    scores = tf.matmul(x, x, transpose_b=True)[:, None] + bias
    return tf.reduce_mean(tf.einsum("bhqk,bkd->bhqd", tf.nn.softmax(scores), x), 2)


def experts(x, w):  # (tokens of all examples, d) through experts (e, d, f), of which a gate takes shares
    rows = tf.reshape(x, [-1, x.shape[-1]])
    outputs = tf.tanh(tf.einsum("ab,cbd->cad", rows, w))
    gates = tf.nn.softmax(tf.stack([rows[:, 0] * k for k in range(w.shape[0])]), 0)
    return tf.reshape(tf.reduce_sum(outputs * gates[..., None], 0), [-1, *x.shape[1:-1], w.shape[-1]])


def experts_again(x, w):  # the second einsum of Mixtral
    rows = tf.reshape(x, [-1, x.shape[-1]])
    hidden = tf.stack([tf.tanh((k + 1.0) * rows) for k in range(w.shape[0])])
    return tf.reshape(tf.reduce_sum(tf.einsum("abc,acd->abd", hidden, w), 0), [-1, *x.shape[1:-1], w.shape[-1]])


def experts_as_product(x, w):
    rows = tf.reshape(x, [-1, x.shape[-1]])
    return tf.reshape(tf.reduce_sum(tf.tanh(tf.matmul(rows[None], w)), 0), [-1, *x.shape[1:-1], w.shape[-1]])


def steps_first(function):
    return lambda x, w: tf.transpose(function(tf.transpose(x, [1, 0, 2]), w), [1, 0, 2])


def twice(x, w):  # two passes as one batch
    both = tf.tanh(tf.concat([x, 2 * x], 0) @ w)
    first, second = tf.split(both, 2)
    return first * second


CASES = {  # shape, layers
    "a width that is not known": ((4, 2, 3), [lambda: Around(layers.Dense(5), unknown_width, same, (None, None, 6))]),
    "normalisation at a length that is not known": (
        (4, 6), [lambda: Around(layers.LayerNormalization(), unknown_length, same, (None, None, 3)),
                 layers.GlobalAveragePooling1D, lambda: layers.Dense(3), lambda: layers.Reshape((3,))]),
    "windows": ((6, 4, 3), [lambda: Around(layers.Dense(5), windows, from_windows, (None, 6, 3))]),
    "attention in windows": (
        (6, 4, 3),
        [lambda: Around(layers.Conv1D(3, 2, padding="same", activation="tanh"), windows, from_windows, (None, 6, 3)),
         lambda: Around(layers.LayerNormalization(), windows, from_windows, (None, 6, 3))]),
    "nodes first": ((3, 5, 4), [lambda: Around(layers.Dense(2), nodes_first, nodes_last, (None, 3, 4))]),
    "nodes first, recurrent": (
        (3, 5, 4), [lambda: Around(layers.LSTM(2), nodes_first, nodes_from_state, (None, 3, 4))]),
    "nodes first, convolution": (
        (3, 5, 4), [lambda: Around(layers.Conv1D(2, 2, padding="same"), nodes_first, nodes_last, (None, 3, 4))]),
    "relative bias": ((2, 6), [lambda: Weighted(relative_bias, (7, 2))]),
    "experts": ((3, 4), [lambda: Weighted(experts, (2, 4, 5))]),
    "experts, of one token": ((4,), [lambda: Weighted(experts, (3, 4, 2))]),
    "experts, again": ((3, 4), [lambda: Weighted(experts_again, (2, 4, 5))]),
    "experts as a batched product": ((3, 4), [lambda: Weighted(experts_as_product, (3, 4, 2))]),
    "a matrix for each position": ((3, 2, 4), [lambda: Weighted(tf.matmul, (3, 4, 5))]),
    "a matrix for each position, transposed": (
        (3, 2, 4), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(x, w, transpose_b=True)), (3, 5, 4))]),
    "a matrix for each position, first": (
        (3, 4, 2), [lambda: Weighted(lambda x, w: tf.tanh(tf.matmul(w, x)), (3, 5, 4))]),
    "a matrix for each step, steps first": (
        (3, 4), [lambda: Weighted(steps_first(lambda x, w: tf.tanh(tf.matmul(x, w))), (3, 4, 5))]),
    "a bias for each step, steps first": (
        (3, 4), [lambda: Weighted(steps_first(lambda x, w: tf.tanh(x * w + w)), (3, 1, 4))]),
    "repeated, steps first": (
        (3, 4),
        [lambda: Weighted(steps_first(lambda x, w: x * tf.broadcast_to(w, tf.shape(x))), (3, 1, 1))]),
    "two passes as one batch": ((4,), [lambda: Weighted(twice, (4, 5))]),
    "rows doubled": ((4,), [lambda: Weighted(lambda x, w: (tf.concat([x, x], 0) * w)[: tf.shape(x)[0]], (4,))]),
    "sizes that the trace leaves open": (
        (4, 3),
        [lambda: Weighted(
            lambda x, w: tf.reduce_sum(
                tf.nn.bias_add(tf.raw_ops.PlaceholderWithDefault(input=x, shape=[None, None, 3]), w) ** 2, 1), (3,))]),
}  # fmt: skip


def compare(build, x, y, **options):
    model = build()
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, **options), expected) < 1e-5
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX, **options), expected @ expected.T) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_every_layout_by_its_rule(name):
    shape, parts = CASES[name]
    x, y = labelled(shape)
    compare(lambda: sequential(shape, *(part() for part in parts), layers.Flatten(), layers.Dense(3)), x, y,
            method="structured")  # fmt: skip


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_examples_than_a_sample(count):
    x, y = labelled((3, 5, 4), count)
    build = lambda: sequential(  # noqa: E731
        (3, 5, 4), Around(layers.Dense(2), nodes_first, nodes_last, (None, 3, 4)), layers.Flatten(), layers.Dense(3)
    )
    compare(build, x, y, method="structured")


def test_only_the_guilty_weight_takes_the_generic_path():
    """Rows in an order that no layout of a batch of any size has."""

    def build():
        backwards = Weighted(lambda x, w: tf.reverse(tf.reverse(x, [0]) @ w, [0]), (4, 5))
        return sequential((4,), layers.Dense(4, activation="tanh"), backwards, layers.Dense(3))

    x, y = labelled((4,))
    with pytest.warns(UserWarning, match="not each example's own|do not sum"):
        compare(build, x, y)
    model = build()
    with pytest.warns(UserWarning, match="slower path"):
        gradient_gram(model, x, y, loss=SOFTMAX)
    plan = plan_for(model, x, y, loss=SOFTMAX)
    assert plan.parts[1].layout.formed == ((2,),)


def test_rows_without_gradient_have_no_owner_yet():
    """Behind a gate that is shut nothing is measured; the likeliest layout is taken, and the proof is still open."""

    def build():
        gate = Weighted(lambda x, w: x * w, (), "zeros")
        return sequential((4,), layers.Dense(4, activation="tanh"), gate, Rows(tf.tanh), layers.Dense(3))

    x, y = labelled((4,))
    model = build()
    plan = plan_for(model, x, y, loss=SOFTMAX)
    assert plan.parts[0].unmeasured == {0, 1}
    gradient_gram(model, x, y, loss=SOFTMAX)
    model.trainable_weights[2].assign(0.7)
    opened = per_example_gradients(model, x, y, loss=SOFTMAX, method="structured")
    expected = per_example_gradients(model, x, y, loss=SOFTMAX, method="loop")
    assert relative_error(opened, expected) < 1e-5


def test_owners_are_measured_again_once_there_is_a_gradient():
    """The likeliest layout is not that of nodes first; when the gate opens, the proof finds it out."""
    nodes = Around(layers.Dense(2, use_bias=False), nodes_first, nodes_last, (None, 3, 4))
    gate = Weighted(lambda x, w: x * w, (), "zeros")
    model = sequential((3, 5, 4), nodes, gate, layers.Flatten(), layers.Dense(3))
    x, y = labelled((3, 5, 4))
    gradient_gram(model, x, y, loss=SOFTMAX, method="structured")
    assert plan_for(model, x, y, GradientOptions(method="structured"), loss=SOFTMAX).parts[0].unmeasured == {0}
    model.trainable_weights[1].assign(0.7)
    found = per_example_gradients(model, x, y, loss=SOFTMAX, method="structured")
    expected = per_example_gradients(model, x, y, loss=SOFTMAX, method="loop")
    assert relative_error(found, expected) < 1e-5


def marked(shape, owner_of_row, axis, zeros=()):
    """A random gradient of three examples, and the same with the marks."""
    gradient = np.random.default_rng(0).normal(size=shape)
    np.moveaxis(gradient, axis, 0)[list(zeros)] = 0
    marks = owners._MARKS[[owner_of_row(row) for row in range(shape[axis])]]
    return gradient, gradient * np.expand_dims(marks, [other for other in range(len(shape)) if other != axis])


@pytest.mark.parametrize(
    ("axis", "before", "after"), [(0, 1, 1), (0, 1, 4), (0, 4, 1), (1, 2, 2), (2, 3, 1), (1, 1, 1)]
)
def test_a_place_is_found(axis, before, after):
    shape = [5, 4, 2]
    shape[axis] = before * 3 * after
    known = tf.TensorShape([None if place == axis else size for place, size in enumerate(shape)])
    zeros = range(0, shape[axis], 5)  # padded steps and dead units
    pair = marked(shape, lambda row: row // after % 3, axis, zeros)
    assert owners._place(known, *pair, 1e-6) == Place(axis, before, after)
    assert owners._place(tf.TensorShape([None] * 3), *pair, 1e-6) == Place(axis, before, after)


def test_no_place_where_examples_are_mixed_or_reversed():
    shape, known = (3, 4), tf.TensorShape([None, 4])
    gradient, other = marked(shape, lambda row: 2 - row, 0)
    assert owners._place(known, gradient, other, 1e-6) == Place(0, is_measured=False)
    assert owners._place(known, gradient, gradient * owners._MARKS.mean(), 1e-6) == Place(0, is_measured=False)
    assert owners._place(tf.TensorShape([3, 4]), gradient, gradient, 1e-6) is None
    assert owners._place(known, 0 * gradient, 0 * gradient, 1e-6) == Place(0, is_measured=False)
    assert owners._place(known, np.nan * gradient, np.nan * gradient, 1e-6) == Place(0, is_measured=False)
