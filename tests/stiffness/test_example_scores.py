import math

import numpy as np
import pytest

from tfstiff.stiffness.example_scores import el2n, example_scores

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(7, 4)).astype(np.float32)
CLASSES = RNG.integers(0, 4, 7)


def softmax(logits):
    powers = np.exp(logits.astype(float))
    return powers / powers.sum(1, keepdims=True)


def test_el2n_is_its_definition():
    expected = np.linalg.norm(softmax(LOGITS) - np.eye(4)[CLASSES], axis=1)
    np.testing.assert_allclose(el2n(LOGITS, CLASSES, "logits"), expected)
    probabilities = softmax(LOGITS)
    before = probabilities.copy()
    np.testing.assert_allclose(el2n(probabilities, CLASSES, "probabilities"), expected)
    np.testing.assert_array_equal(probabilities, before)


def test_known_values():
    assert el2n(np.zeros((1, 10)), np.array([3]), "logits")[0] == pytest.approx(math.sqrt(0.9))
    sure = np.array([[1e4, 0.0], [0, 1e4]])  # right, then wrong
    np.testing.assert_allclose(el2n(sure, np.array([0, 0]), "logits"), [0, math.sqrt(2)])


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_output_for_two_classes(shape):
    logits, classes = np.array([-800.0, -0.3, 0, 2, 800]), np.array([1, 0, 1, 1, 1])
    both = np.stack([np.zeros(5), logits], 1)
    np.testing.assert_allclose(
        el2n(logits.reshape(shape), classes, "logits"), el2n(both, classes, "logits"), atol=1e-12
    )
    probability = np.array([0.2, 0.9])
    np.testing.assert_allclose(
        el2n(probability.reshape(shape), np.array([0, 0]), "probabilities"), math.sqrt(2) * probability, atol=1e-12
    )


def test_where_there_is_none():
    assert el2n(LOGITS, None, "logits") is None
    assert el2n(LOGITS, CLASSES, "margins") is None
    assert el2n(LOGITS, CLASSES, None) is None
    assert el2n({"a": LOGITS}, CLASSES, "logits") is None
    assert el2n(LOGITS[:, None], CLASSES, "logits") is None
    assert el2n(LOGITS[:, :2], np.full(7, 2), "logits") is None
    assert el2n(LOGITS[:, :1], np.full(7, 2), "logits") is None


def test_what_is_not_finite_is_nan():
    logits = LOGITS.copy()
    logits[2, 1] = np.inf
    scores = example_scores(np.arange(7), np.array([1, 2, np.nan, np.inf, 3, 4, 5]), logits, CLASSES, scores="logits")
    np.testing.assert_array_equal(scores.loss, np.arange(7))
    np.testing.assert_array_equal(scores.gradient_norm, [1, 2, np.nan, np.nan, 3, 4, 5])
    assert np.isnan(scores.el2n).tolist() == [False, False, True, False, False, False, False]
