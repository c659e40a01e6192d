"""The proof catches every mutation of every kind of rule, and refuses no deep ReLU network whose statistics fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import SOFTMAX, Weighted, labelled, sequential

from tfstiff.gradients import operations
from tfstiff.gradients.factors import formed_sum
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.proof import Proof, drawn

layers = keras.layers

MUTATIONS = {
    "scaled": lambda gradient: 1.01 * gradient,
    "negated": lambda gradient: -gradient,
    "of the next example": lambda gradient: tf.roll(gradient, 1, 0),
    "of the first two exchanged": lambda gradient: tf.concat([gradient[1:2], gradient[:1], gradient[2:]], 0),
    "seeing another example": lambda gradient: gradient + 0.02 * tf.roll(gradient, 1, 0),
    "the mean over examples": lambda gradient: tf.zeros_like(gradient) + tf.reduce_mean(gradient, 0, keepdims=True),
    "entries reversed": lambda gradient: tf.reverse(gradient, [1]),
    "first entry lost": lambda gradient: tf.concat([0 * gradient[:, :1], gradient[:, 1:]], 1),
    "first example lost": lambda gradient: tf.concat([0 * gradient[:1], gradient[1:]], 0),
    "zero": lambda gradient: 0 * gradient,
}


def tokens():
    return np.random.default_rng(0).integers(0, 9, (12, 5)), np.arange(12) % 3


KINDS = {
    "MatMul": (
        lambda: sequential((4,), layers.Dense(5, activation="tanh"), layers.Dense(3)),
        lambda: labelled((4,), 12),
    ),
    "Conv2D": (
        lambda: sequential((6, 6, 2), layers.Conv2D(3, 3, activation="tanh"), layers.Flatten(), layers.Dense(3)),
        lambda: labelled((6, 6, 2), 12),
    ),
    "GatherV2": (
        lambda: sequential((5,), layers.Embedding(9, 4), layers.Flatten(), layers.Dense(3)),
        tokens,
    ),
    "Mul": (
        lambda: sequential((4,), Weighted(tf.multiply, (4,)), layers.Dense(3)),
        lambda: labelled((4,), 12),
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_mutation_of_a_rule_is_caught(kind, mutation, register):
    right = operations._RULES[kind]
    is_first = []

    def mutated(use):
        if is_first:
            return right(use)
        is_first.append(True)
        size = int(np.prod(use.weight_shape))
        return MUTATIONS[mutation](formed_sum([right(use)])[:, :size])

    register(kind, overwrite=True)(mutated)
    build, data = KINDS[kind]
    model = build()
    x, y = data()
    plan = plan_for(model, x, y, GradientOptions(method="structured"), loss=SOFTMAX)
    checked = Proof(plan.parts[0], [weight.shape for weight in plan.weights])
    verdict = checked.compare(range(len(plan.weights)), *drawn(x, y, 1), seed=1)
    assert len(verdict.wrong) == 1
    assert not verdict.wrong.keys() & verdict.proved
    assert len(verdict.proved) == len(plan.weights) - 1


def fitted(model, seed):
    """Draws weights and data, and fits the batch statistics to these: units stand at the kinks of their ReLUs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, *model.input_shape[1:])).astype("float32")
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(scale=np.sqrt(2 / np.prod(weight.shape[:-1])), size=weight.shape))
    for layer in model.layers:
        layer.momentum = 0.0
    model(x, training=True)
    return x, np.arange(40) % 3


def stack(shape, depth, make):
    model = keras.Sequential([keras.Input(shape)])
    for _ in range(depth):
        for layer in (make(), layers.BatchNormalization(), layers.ReLU()):
            model.add(layer)
    if len(shape) > 1:
        model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(3))
    return model


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_no_deep_network_of_rectified_units_is_refused(kind):
    if kind == "dense":
        model = stack((20,), 20, lambda: layers.Dense(40, use_bias=False))
    else:
        model = stack((12, 12, 2), 8, lambda: layers.Conv2D(8, 3, padding="same", use_bias=False))
    for seed in range(5):
        x, y = fitted(model, seed)
        plan = plan_for(model, x, y, GradientOptions(method="structured"), loss=SOFTMAX)
        plan.unsettle()
        plan.prove(x, y)
        assert not plan._unproved


def test_zero_gradients_are_looked_at_once_until_they_are_none(monkeypatch):
    """The bias of an attention's key: the comparison is made once, not at every call."""
    inputs = keras.Input((4, 6))
    attended = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(attended)))
    x, y = labelled((4, 6), 12)
    plan = plan_for(model, x, y, loss=SOFTMAX)
    counted = []
    right = Proof.compare
    monkeypatch.setattr(Proof, "compare", lambda *arguments: counted.append(1) or right(*arguments))
    for _ in range(4):
        plan.prove(x, y)
    assert len(counted) == 1
    assert [plan.weights[index].path.split("/")[-2:] for index in plan._unproved] == [["key", "bias"]]
