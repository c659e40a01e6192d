"""Models small enough that the Gram matrix has a closed form."""

import keras
import numpy as np
import pytest
from oracles import relative_error
from small_models import SOFTMAX, labelled, sequential

from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def errors_of(logits, y):
    return softmax(logits) - np.eye(logits.shape[1])[y]


@pytest.mark.parametrize("method", METHODS)
def test_softmax_layer(method):
    """g_i·g_j = (h_i·h_j + 1)(δ_i·δ_j), with δ = softmax(logits) − one-hot."""
    model = sequential((6,), keras.layers.Dense(4))
    x, y = labelled((6,), 9, 4)
    kernel, bias = (weight.astype(float) for weight in model.get_weights())
    delta = errors_of(x @ kernel + bias, y)
    expected = (x.astype(float) @ x.T + 1) * (delta @ delta.T)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX, method=method), expected) < 1e-6


def test_last_layer_on_frozen_features():
    model = sequential((6,), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(4))
    model.layers[0].trainable = False
    x, y = labelled((6,), 9, 4)
    kernel1, bias1, kernel2, bias2 = (weight.astype(float) for weight in model.get_weights())
    h = np.tanh(x @ kernel1 + bias1)
    delta = errors_of(h @ kernel2 + bias2, y)
    expected = (h @ h.T + 1) * (delta @ delta.T)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), expected) < 1e-6


def test_linear_regression():
    """The mean squared error over k outputs has δ = 2 (prediction − target) / k."""
    model = sequential((3,), keras.layers.Dense(2, use_bias=False))
    x, _ = labelled((3,), 5)
    y = np.random.default_rng(1).normal(size=(5, 2))
    kernel = model.get_weights()[0].astype(float)
    residual = x @ kernel - y
    found = per_example_gradients(model, x, y, loss="mse")
    assert relative_error(found, (x[:, :, None] * residual[:, None, :]).reshape(5, -1)) < 1e-6
    expected = (x.astype(float) @ x.T) * (residual @ residual.T)
    assert relative_error(gradient_gram(model, x, y, loss="mse"), expected) < 1e-6


def test_global_average_of_a_convolution():
    """With a 1×1 kernel the average over positions is a linear model of the average colour."""
    model = sequential((4, 5, 3), keras.layers.Conv2D(4, 1), keras.layers.GlobalAveragePooling2D())
    x, y = labelled((4, 5, 3), 8, 4)
    kernel, bias = (weight.astype(float) for weight in model.get_weights())
    colour = x.astype(float).mean((1, 2))
    delta = errors_of(colour @ kernel[0, 0] + bias, y)
    expected = (colour @ colour.T + 1) * (delta @ delta.T)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), expected) < 2e-6
