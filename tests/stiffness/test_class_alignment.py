import math

import numpy as np
import pytest
from plain_sums import half_of, sums_of

from tfstiff.stiffness.statistics.class_means import class_mean_gram, within_class_trace
from tfstiff.stiffness.statistics.in_class_alignment import in_class_alignment
from tfstiff.stiffness.statistics.label_alignment import label_alignment
from tfstiff.stiffness.statistics.negative_pairs import negative_share

RNG = np.random.default_rng(0)
CLASSES = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3])
GRADIENTS = RNG.normal(size=(9, 5)) + CLASSES[:, None] * RNG.normal(size=5)


def test_the_share_of_negative_pairs():
    gradients = np.array([[1.0, 0], [-1, 0], [0, 1], [1, 1]])
    assert negative_share(sums_of(gradients)) == pytest.approx(2 / 6)  # 1 with 2, 2 with 4; 1 and 2 with 3 are zero
    assert negative_share(sums_of(GRADIENTS[:4], CLASSES[:4], GRADIENTS, CLASSES)) == pytest.approx(
        np.mean(GRADIENTS[:4] @ GRADIENTS.T < 0)
    )
    assert math.isnan(negative_share(sums_of(gradients[:1])))


def test_in_class_alignment_is_its_definition():
    found = in_class_alignment(half_of(GRADIENTS, CLASSES))
    for label in (0, 1, 3):
        g = GRADIENTS[label == CLASSES]
        count = len(g)
        products = sum(g[i] @ g[j] for i in range(count) for j in range(count) if i != j)
        lengths = sum(np.linalg.norm(one) for one in g)
        assert found[label] == pytest.approx(count * products / ((count - 1) * lengths**2))
    assert math.isnan(found[2])


def test_in_class_alignment_of_known_cases():
    parallel = half_of([[1.0, 0], [5, 0], [0, 1], [0, 0]], [0, 0, 1, 2], num_classes=3)
    # 2 · (2 · 5) / (1 · 6²): gradients of different lengths count by their lengths
    np.testing.assert_allclose(in_class_alignment(parallel), [20 / 36, np.nan, np.nan])
    equal = half_of(np.repeat(np.eye(2), 3, 0), np.repeat([0, 1], 3))
    np.testing.assert_allclose(in_class_alignment(equal), 1)


def by_matrices(gradients, classes):
    cosine = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    centring = np.eye(len(gradients)) - 1 / len(gradients)
    k = centring @ (cosine @ cosine.T) @ centring
    same = centring @ (classes[:, None] == classes) @ centring
    return (k * same).sum() / np.linalg.norm(k) / np.linalg.norm(same)


def test_label_alignment_is_that_of_the_matrices():
    assert label_alignment(half_of(GRADIENTS, CLASSES)) == pytest.approx(by_matrices(GRADIENTS, CLASSES))
    holed = np.insert(GRADIENTS, 2, np.nan, 0)
    assert label_alignment(half_of(holed, np.insert(CLASSES, 2, 1))) == pytest.approx(by_matrices(GRADIENTS, CLASSES))


@pytest.mark.parametrize("num_classes", [2, 4])
def test_label_alignment_of_known_cases(num_classes):
    classes = np.arange(12) % num_classes
    assert label_alignment(half_of(np.eye(num_classes)[classes], classes)) == pytest.approx(1)
    # A simplex, as the last layer's bias gives it at uniform predictions
    simplex = np.eye(num_classes)[classes] - 1 / num_classes
    assert label_alignment(half_of(simplex, classes)) == pytest.approx(1)
    orthogonal = label_alignment(half_of(np.eye(12), classes))
    assert orthogonal == pytest.approx(math.sqrt((num_classes - 1) / 11))


def test_label_alignment_where_there_is_none():
    assert math.isnan(label_alignment(half_of(GRADIENTS)))
    assert math.isnan(label_alignment(half_of(np.ones((9, 2)), CLASSES)))
    assert math.isnan(label_alignment(half_of(np.zeros((9, 2)), CLASSES)))


@pytest.mark.parametrize("scale", [1.0, 1e-20])
def test_class_means_and_the_scatter_within(scale):
    gradients = scale * GRADIENTS
    half = half_of(gradients, CLASSES)
    means = {label: gradients[label == CLASSES].mean(0) for label in (0, 1, 3)}
    found = class_mean_gram(half)
    for a, b in ((0, 0), (0, 1), (3, 1), (3, 3)):
        assert found[a, b] == pytest.approx(means[a] @ means[b], rel=1e-9)
    assert np.isnan(found[2]).all()
    centred = gradients - np.stack([means[label] for label in CLASSES.tolist()])
    scatter = within_class_trace(half)
    assert scatter == pytest.approx((centred**2).sum() / 9)

    shares = np.bincount(CLASSES) / 9
    moments = np.nansum(shares * np.diag(found))
    assert moments + scatter == pytest.approx((gradients**2).sum() / 9)
