"""The plan says what is held and multiplied: counted here by hand."""

import keras
import numpy as np
import pytest
from small_models import SOFTMAX, sequential

from tfstiff.gradients import explain

layers = keras.layers
COUNT = 6
PAIRS = COUNT * (COUNT + 1) // 2
Y = np.zeros(COUNT, int)


def plan(model, x, **options):
    return [(step.form, step.multiply_adds, step.bytes) for step in explain(model, x, Y, loss=SOFTMAX, **options)]


def test_factors_of_a_dense_layer():
    """Inputs and one for the bias, and output gradients; of two examples a product of each, and the two multiplied."""
    model = sequential((64,), layers.Dense(50, activation="tanh"), layers.Dense(3))
    first, last = plan(model, np.ones((COUNT, 64), "float32"))
    assert first == ("factors, 1 position", PAIRS * (65 + 50 + 1), 4 * COUNT * (65 + 50))
    assert last == ("factors, 1 position", PAIRS * (51 + 3 + 1), 4 * COUNT * (51 + 3))


def test_factors_at_several_positions():
    """All positions of one example meet all of the other."""
    model = sequential((3, 64), layers.Dense(50, use_bias=False), layers.GlobalAveragePooling1D())
    (found,) = plan(model, np.ones((COUNT, 3, 64), "float32"))
    assert found == ("factors, 3 positions", PAIRS * 9 * (64 + 50 + 1), 4 * COUNT * 3 * (64 + 50))


@pytest.mark.parametrize("method", ["loop", "jacobian", "vectorized"])
def test_gradients_that_are_formed(method):
    model = sequential((4,), layers.Dense(3))
    kernel, bias = plan(model, np.ones((COUNT, 4), "float32"), method=method)
    assert kernel == (method, PAIRS * 12, 4 * COUNT * 12)
    assert bias == (method, PAIRS * 3, 4 * COUNT * 3)


def test_paths_and_operations_are_named():
    model = sequential((64,), layers.Dense(50, name="wide"), layers.Dense(3, use_bias=False, name="last"))
    first, last = explain(model, np.ones((COUNT, 64), "float32"), Y, loss=SOFTMAX)
    assert first.weight.split(" + ") == [weight.path for weight in model.layers[0].weights]
    assert (first.operation, last.operation) == ("MatMul, BiasAdd", "MatMul")
    assert last.weight.endswith("last/kernel")
