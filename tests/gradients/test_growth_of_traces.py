"""How many operations a trace has, which is what its time goes by; and pull-backs of every kind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Weighted, labelled, sequential

from tfstiff.gradients import per_example_gradients, products, pulling_back
from tfstiff.gradients.plan import plan_for

layers = keras.layers


def num_operations(model, x, y):
    graph = plan_for(model, x, y, loss=SOFTMAX).parts[0].graph
    return len(graph.get_operations())


@pytest.mark.parametrize("size_in", [1, 2])
def test_groups_of_a_convolution_are_one_operation(size_in):
    def count(groups):
        conv = layers.Conv2D(groups * 2, 3, groups=groups, padding="same", use_bias=False)
        model = sequential((5, 4, groups * size_in), conv, layers.GlobalAveragePooling2D(), layers.Dense(3))
        return num_operations(model, *labelled((5, 4, groups * size_in)))

    assert count(24) == count(48)


def test_a_trace_is_linear_in_depth():
    def count(depth):
        blocks = [layer() for _ in range(depth) for layer in block]
        model = sequential((5, 4, 2), *blocks, layers.GlobalAveragePooling2D(), layers.Dense(3))
        return num_operations(model, *labelled((5, 4, 2)))

    block = (lambda: layers.Conv2D(2, 3, padding="same", use_bias=False), layers.BatchNormalization, layers.LeakyReLU)
    two, four, eight = map(count, (2, 4, 8))
    assert eight - four == 2 * (four - two)
    assert four - two <= 2 * 95  # a block is three layers, and two weights that are derived


KINDS = {  # of functions of a weight (4, 3), and whether they are elementwise; None where there is nothing to pull back
    "scaled": (lambda w: 3 * w, True),
    "several reads, in several places": (lambda w: tf.exp(w) * tf.reshape(tf.reshape(w, [-1]) ** 2, [4, 3]), True),
    "divided": (lambda w: 1 / (1 + tf.nn.softplus(w)), True),
    "transposed": (lambda w: tf.transpose(tf.reshape(w, [3, 4])), None),
    "transposed, and more": (lambda w: tf.exp(tf.transpose(tf.reshape(w, [3, 4]))), False),
    "columns of one length": (lambda w: w / tf.norm(w, axis=0), False),
    "one row for all": (lambda w: w * w[:1], False),
    "cumulated": (lambda w: tf.reverse(tf.cumsum(w), [1]), False),
    "not differentiated": (lambda w: w * tf.stop_gradient(tf.exp(w)), True),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_pull_back(name, monkeypatch):
    function, is_elementwise = KINDS[name]
    found = []
    original = pulling_back._Copy

    def remember(tensor, handles):
        found.append(original(tensor, handles))
        return found[-1]

    monkeypatch.setattr(pulling_back, "_Copy", remember)

    def build():
        return sequential((4,), Weighted(lambda x, w: tf.tanh(x @ function(w)), (4, 3)), layers.Dense(3))

    x, y = labelled((4,))
    model = build()
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, method="structured"), expected) < 1e-5
    assert [copy.is_elementwise for copy in found] == ([] if is_elementwise is None else [is_elementwise])


class Shared(keras.layers.Layer):
    """Two weights in three derived tensors, one of them made of both."""

    def build(self, _):
        first, second = (
            self.add_weight(name=name, shape=(4,), initializer=keras.initializers.RandomUniform(0.5, 1.5))
            for name in ("first", "second")
        )
        self.first, self.second = first, second

    def call(self, x):
        first, second = map(tf.convert_to_tensor, (self.first, self.second))
        return tf.tanh(x * (first * second) + tf.cumsum(first)) * tf.exp(second)


def test_weights_in_several_derived_tensors():
    def build():
        return sequential((4,), Shared(), layers.BatchNormalization(), layers.Dense(3))

    x, y = labelled((4,))
    model = build()
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, method="structured"), expected) < 1e-5


def test_statistics_that_are_not_trained_are_not_differentiated(monkeypatch):
    """Of a normalisation's scale, made of a weight and two statistics, only the weight is read again."""
    found = []
    original = pulling_back._Copy
    monkeypatch.setattr(pulling_back, "_Copy", lambda *given: found.append(original(*given)) or found[-1])
    model = sequential((4,), layers.Dense(5), layers.BatchNormalization(), layers.Dense(3))
    num_operations(model, *labelled((4,)))
    read = sorted(name for copy in found for name in copy.handles.values())
    trained = plan_for(model, *labelled((4,)), loss=SOFTMAX).parts[0]
    handles = {handle.name for handle in trained._handles(trained.graph)}
    assert read
    assert set(read) <= handles


@pytest.mark.parametrize("count", [3, None])
def test_layers_of_the_same_sizes_share_a_function(count):
    draw = np.random.default_rng(0).normal
    sizes = [(6, 7, 5)] * 4 + [(6, 5, 7)]  # positions, and entries of rows and columns
    sides = [
        tuple(tuple(draw(size=(n, t, width)).astype("float32") for width in (p, q)) for t, p, q in sizes)
        for n in (3, 2)
    ]
    specs = [
        tuple(tuple(tf.TensorSpec([count and len(part), *part.shape[1:]]) for part in pair) for pair in side)
        for side in sides
    ]
    before = products._cheaper.experimental_get_tracing_count()
    traced = tf.function(lambda *outers: products.products(*(((), side) for side in outers)), input_signature=specs)
    formed = [
        np.concatenate([np.einsum("ntp,ntq->npq", *pair).reshape(len(pair[0]), -1) for pair in side], 1)
        for side in sides
    ]
    np.testing.assert_allclose(traced(*sides), formed[0] @ formed[1].T, rtol=1e-5, atol=1e-4)
    assert products._cheaper.experimental_get_tracing_count() - before == 2


def test_layers_of_many_sizes_are_traced_without_a_warning(caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    for width in range(30, 42):
        pair = tuple(tf.ones((3, 60, entries)) for entries in (width, 20))
        products.products(((), (pair,)), ((), (pair,)))
    assert "retracing" not in caplog.text


def test_only_what_cannot_be_pulled_back_takes_the_generic_path():
    """TensorFlow cannot vectorise the gradient of a reflecting pad; the other weight is not dragged along."""

    def build():
        return sequential(
            (4,),
            Weighted(lambda x, w: tf.tanh(x @ (w / tf.norm(w))), (4, 4)),
            Weighted(lambda x, w: tf.tanh(x @ tf.pad(w, [[1, 0], [0, 0]], "REFLECT")), (3, 3)),
            layers.Dense(3),
        )

    x, y = labelled((4,))
    model = build()
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    with pytest.warns(UserWarning, match="cannot pull back through MirrorPad"):
        found = per_example_gradients(model, x, y, loss=SOFTMAX)
    assert relative_error(found, expected) < 1e-5
    assert plan_for(model, x, y, loss=SOFTMAX).parts[1].layout.formed == ((1,),)
