"""Gradients in chunks and by variable are those of one tape per example."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import SOFTMAX, dense_net, labelled

from tfstiff.errors import InvalidInput
from tfstiff.gradients import gradient_chunks, gradients_by_variable, per_example_gradients


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return dense_net()


@pytest.fixture(scope="module")
def data():
    return labelled((4,), 11)


@pytest.fixture(scope="module")
def expected(model, data):
    """Of each weight (11, *shape), by a tape for each example."""
    rows = []
    for i in range(11):
        with tf.GradientTape() as tape:
            loss = SOFTMAX(data[1][i : i + 1], model(data[0][i : i + 1], training=False))
        rows.append([part.numpy() for part in tape.gradient(loss, [one.value for one in model.trainable_weights])])
    return [np.stack(parts) for parts in zip(*rows, strict=True)]


def test_chunks_are_the_rows_in_order(model, data, expected):
    chunks = list(gradient_chunks(model, *data, 4, loss=SOFTMAX))
    assert [len(chunk) for chunk in chunks] == [3, 4, 4]
    flat = np.concatenate([part.reshape(11, -1) for part in expected], axis=1)
    np.testing.assert_allclose(np.concatenate(chunks), flat, rtol=1e-4, atol=1e-6)
    assert len(list(gradient_chunks(model, *data, loss=SOFTMAX))) == 1


def test_each_variable_has_its_gradients(model, data, expected):
    parts = gradients_by_variable(model, per_example_gradients(model, *data, loss=SOFTMAX))
    for found, part in zip(parts, expected, strict=True):
        assert found.shape == part.shape
        np.testing.assert_allclose(found, part, rtol=1e-4, atol=1e-6)


def test_of_some_weights(model, data, expected):
    (chunk,) = gradient_chunks(model, *data, loss=SOFTMAX, weights="kernel$")
    parts = gradients_by_variable(model, chunk, weights="kernel$")
    for found, part in zip(parts, (expected[0], expected[2]), strict=True):
        np.testing.assert_allclose(found, part, rtol=1e-4, atol=1e-6)
    with pytest.raises(InvalidInput, match="other weights"):
        gradients_by_variable(model, chunk)


def test_an_empty_chunk_is_refused(model, data):
    with pytest.raises(InvalidInput, match="one example at least"):
        next(gradient_chunks(model, *data, 0, loss=SOFTMAX))
