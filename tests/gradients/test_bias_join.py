"""A bias is held as one more row of the kernel whose output it is added to: only where that is what it is."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Weighted, labelled, sequential

from tfstiff.gradients import gradient_gram, per_example_gradients
from tfstiff.gradients.plan import plan_for

layers = keras.layers
WIDTH = 30  # wide enough that the gradients of a kernel are not formed


class Biased(keras.layers.Layer):
    """`function(x, kernel, bias)`, or of several kernels."""

    def __init__(self, function, bias=(WIDTH,), kernels=1):
        super().__init__()
        self.function, self.bias_shape, self.num_kernels = function, bias, kernels

    def build(self, _):
        self.kernels = [
            self.add_weight(name=f"kernel{i}", shape=(WIDTH, WIDTH), initializer="glorot_uniform")
            for i in range(self.num_kernels)
        ]
        self.bias = self.add_weight(name="bias", shape=self.bias_shape, initializer="random_normal")

    def call(self, x):
        weights = [tf.convert_to_tensor(weight) for weight in (*self.kernels, self.bias)]
        return tf.tanh(self.function(x, *weights))


class Shared(keras.layers.Layer):
    """One Dense layer used twice, on its own output."""

    def __init__(self, **options):
        super().__init__()
        self.dense = layers.Dense(WIDTH, activation="tanh", **options)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(self.dense(x))


def dense(**options):
    return layers.Dense(WIDTH, activation="tanh", **options)


def adapted():
    layer = dense()
    layer.build((None, WIDTH))
    layer.enable_lora(2, lora_alpha=4)
    return layer


bias_add, matmul = tf.nn.bias_add, tf.matmul
CASES = {
    "bias": (dense, True),
    "no bias": (lambda: dense(use_bias=False), False),
    "shared": (Shared, True),
    "shared, no bias": (lambda: Shared(use_bias=False), False),
    "adapted": (adapted, None),
    "plain sum": (lambda: Biased(lambda x, k, b: x @ k + b), None),
    "subtracted": (lambda: Biased(lambda x, k, b: x @ k - b), False),
    "added negated": (lambda: Biased(lambda x, k, b: bias_add(x @ k, -b)), False),
    "after the activation": (lambda: Biased(lambda x, k, b: bias_add(tf.tanh(x @ k), b)), False),
    "before the kernel": (lambda: Biased(lambda x, k, b: bias_add(x, b) @ k), False),
    "of two sums": (lambda: Biased(lambda x, k, b: bias_add(bias_add(x @ k, b), b)), False),
    "of two layers": (
        lambda: Biased(lambda x, k, k2, b: bias_add(tf.tanh(bias_add(x @ k, b)) @ k2, b), kernels=2), False),
    "of two kernels added": (
        lambda: Biased(lambda x, k, k2, b: bias_add(tf.add_n([x @ k, tf.sin(x) @ k2]), b), kernels=2), None),
    "of two inputs of one kernel": (
        lambda: Biased(lambda x, k, b: bias_add(tf.add_n([x @ k, tf.sin(x) @ k]), b)), False),
    "of both halves of a sum": (
        lambda: Biased(lambda x, k, b: tf.add_n([bias_add(x @ k, b), bias_add(tf.sin(x) @ k, b)])), None),
    "square kernel transposed": (lambda: Biased(lambda x, k, b: bias_add(matmul(x, k, transpose_b=True), b)), None),
    "channels first, square": (
        lambda: Biased(lambda x, k, b: tf.reduce_sum(bias_add(
            matmul(tf.tile(x[:, None], [1, WIDTH, 1]) * tf.range(1.0, 1 + WIDTH)[:, None] / WIDTH, k[None]),
            b, "NCHW") ** 2, 1)), False),
    "kernel on the left, square": (
        lambda: Biased(lambda x, k, b: tf.reduce_sum(bias_add(
            matmul(k[None], tf.tile(x[:, None], [1, WIDTH, 1]) * tf.range(1.0, 1 + WIDTH)[:, None] / WIDTH),
            b) ** 2, 1)), False),
    "twice the kernel": (lambda: Biased(lambda x, k, b: bias_add(x @ (2 * k), b)), False),
    "bias made of another shape": (
        lambda: Biased(lambda x, k, b: bias_add(x @ k, tf.reshape(b, [WIDTH])), (2, WIDTH // 2)), False),
}  # fmt: skip


def build(name):
    keras.utils.set_random_seed(0)
    model = sequential((WIDTH,), CASES[name][0](), layers.Dense(3))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    return model


@pytest.mark.parametrize("name", CASES)
def test_equals_one_tape_an_example(name):
    model = build(name)
    x, y = labelled((WIDTH,), 12)
    expected = per_example_gradients(model, x, y, loss=SOFTMAX, method="loop").astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing takes the slower path
        assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), expected @ expected.T) < 2e-6
        assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 2e-6
    is_joined = CASES[name][1]
    if is_joined is not None:
        first = {weight for weights in plan_for(model, x, y, loss=SOFTMAX).layout.outers if len(weights) > 1
                 for weight in weights}  # fmt: skip
        assert bool(first & set(range(len(model.trainable_weights) - 2))) == is_joined


@pytest.mark.parametrize("name", ["bias", "shared", "adapted", "of two kernels added"])
def test_layer_by_layer(name):
    model = build(name)
    x, y = labelled((WIDTH,), 9)
    expected = gradient_gram(model, x, y, loss=SOFTMAX, method="loop", per_layer=True)
    found = gradient_gram(model, x, y, loss=SOFTMAX, per_layer=True)
    assert found.keys() == expected.keys()
    for layer, gram in expected.items():
        assert relative_error(found[layer], gram) < 2e-6


@pytest.mark.parametrize("frozen", ["kernel", "bias"])
def test_one_of_both_frozen(frozen):
    model = build("bias")
    getattr(model.layers[0], frozen).trainable = False
    x, y = labelled((WIDTH,), 9)
    found = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(found, gradient_gram(model, x, y, loss=SOFTMAX, method="loop")) < 2e-6


def test_the_two_parts_of_a_joined_pair():
    """`of_weights` takes kernel and bias apart again."""
    from tfstiff.gradients.gradient_factors import gradients_by_weight, of_weights

    model = build("bias")
    x, y = labelled((WIDTH,), 9)
    plan = plan_for(model, x, y, loss=SOFTMAX)
    factors = plan.factors(x, y)
    assert (0, 1) in plan.layout.outers
    whole = [part.numpy().astype(float) for part in gradients_by_weight(factors, plan.layout)]
    for chosen in ([0], [1], [0, 1], [1, 2], [0, 3], [2]):
        part = of_weights(factors, plan.layout, chosen)
        sides = (part.formed, part.outers)
        scales = factors.scales.numpy().astype(float)
        found = plan.products(sides, sides).numpy() / np.outer(scales, scales)
        assert relative_error(found, sum(whole[index] @ whole[index].T for index in chosen)) < 2e-6
        norms = part.squared_norms.numpy() / scales**2
        assert relative_error(norms, sum((whole[index] ** 2).sum(1) for index in chosen)) < 2e-6


def test_a_weight_without_any_gradient_beside_others():
    def make():
        return sequential((4,), layers.Dense(3), Weighted(lambda x, w: x, (5,)))

    keras.utils.set_random_seed(0)
    model = make()
    x, y = labelled((4,))
    expected = reference_gradients(float64_twin(make, model), x, y, SOFTMAX)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 2e-6
    found = gradient_gram(model, x, y, loss=SOFTMAX, per_layer=True)
    assert [bool(gram.any()) for gram in found.values()] == [True, False]


def test_no_weight_with_a_gradient():
    model = sequential((4,), Weighted(lambda x, w: x, (5,)))
    x, y = labelled((4,), num_classes=4)
    np.testing.assert_array_equal(gradient_gram(model, x, y, loss=SOFTMAX), np.zeros((6, 6)))
    np.testing.assert_array_equal(per_example_gradients(model, x, y, loss=SOFTMAX), np.zeros((6, 5)))
