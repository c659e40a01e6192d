import math

import numpy as np
import pytest
from plain_sums import half_of

from tfstiff.stiffness.statistics.coherence import Coherence, coherence
from tfstiff.stiffness.statistics.m_coherence import gradient_diversity, m_coherence
from tfstiff.stiffness.statistics.noise_scale import noise_scale
from tfstiff.stiffness.statistics.participation_ratio import participation_ratio

RNG = np.random.default_rng(0)


def test_equal_gradients():
    half = half_of(np.tile([[3.0, 4.0]], (6, 1)))
    found = coherence(half)
    assert found == pytest.approx(Coherence(25, 25, 1, 0))
    assert m_coherence(half) == pytest.approx(6)
    assert gradient_diversity(m_coherence(half)) == pytest.approx(1 / 6)
    assert (noise_scale(found).value, noise_scale(found).low, noise_scale(found).high) == pytest.approx(
        (0, 0, 0), abs=1e-12
    )
    assert participation_ratio(half) == pytest.approx(1)


def test_orthogonal_gradients():
    half = half_of(2 * np.eye(6))
    found = coherence(half)
    assert found == pytest.approx(Coherence(4, 0, 0, 0))
    assert m_coherence(half) == pytest.approx(1)
    assert gradient_diversity(m_coherence(half)) == pytest.approx(1)
    assert noise_scale(found).value == math.inf
    assert participation_ratio(half) == pytest.approx(6)


def test_gradients_that_cancel():
    half = half_of([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    assert m_coherence(half) == 0
    assert gradient_diversity(m_coherence(half)) == math.inf
    assert coherence(half).value == pytest.approx(-1 / 3)
    assert noise_scale(coherence(half)).value == math.inf
    assert participation_ratio(half) == pytest.approx(2)


def test_zero_gradients_and_single_examples_have_none():
    zero = half_of(np.zeros((5, 3)))
    assert coherence(zero) == pytest.approx(Coherence(0, 0, math.nan, math.nan), nan_ok=True)
    assert math.isnan(m_coherence(zero))
    assert math.isnan(gradient_diversity(m_coherence(zero)))
    assert math.isnan(participation_ratio(zero))
    assert math.isnan(coherence(half_of([[1.0, 2]])).value)
    nothing = half_of(np.full((2, 3), np.nan))
    assert math.isnan(coherence(nothing).value)
    assert math.isnan(m_coherence(nothing))
    assert all(map(math.isnan, noise_scale(coherence(nothing))))


def by_definition(gradients, classes):
    """D and O with the classes' shares as weights, by loops."""
    share = {a: np.mean(classes == a) for a in set(classes.tolist())}
    total = 0.0
    for a, weight in share.items():
        for b, weight2 in share.items():
            pairs = [
                gradients[i] @ gradients[j]
                for i in np.flatnonzero(classes == a)
                for j in np.flatnonzero(classes == b)
                if i != j
            ]
            total += weight * weight2 * np.mean(pairs)
    return (gradients**2).sum(1).mean(), total


@pytest.mark.parametrize("classes", [np.zeros(12, int), np.array([0, 0, 0, 2, 2, 2, 2, 5, 5, 5, 5, 5])])
def test_it_is_its_definition_and_its_error_the_jackknife(classes):
    gradients = RNG.normal(size=(12, 4)) + 0.5 + classes[:, None] * 0.2
    found = coherence(half_of(gradients, classes))
    square, product = by_definition(gradients, classes)
    assert found[:3] == pytest.approx((square, product, product / square))

    variance = 0.0
    shares = np.bincount(classes) / len(classes)
    for label in set(classes.tolist()):
        members = np.flatnonzero(classes == label)
        without = []
        for left_out in members:
            kept = np.arange(len(classes)) != left_out
            g, y = gradients[kept], classes[kept]
            means = [
                [
                    np.mean([g[i] @ g[j] for i in np.flatnonzero(y == a) for j in np.flatnonzero(y == b) if i != j])
                    for b in set(y.tolist())
                ]
                for a in set(y.tolist())
            ]
            weights = shares[sorted(set(y.tolist()))]
            squares = [(g[y == a] ** 2).sum(1).mean() for a in sorted(set(y.tolist()))]
            without.append(weights @ np.array(means) @ weights / (weights @ squares))
        variance += (len(members) - 1) / len(members) * np.sum((np.array(without) - np.mean(without)) ** 2)
    assert found.se == pytest.approx(math.sqrt(variance))


def test_examples_without_a_finite_gradient_are_left_out():
    gradients = RNG.normal(size=(9, 4)) + 1
    classes = np.arange(9) % 2
    holed, labels = np.insert(gradients, 3, np.nan, 0), np.insert(classes, 3, 1)
    assert coherence(half_of(holed, labels)) == pytest.approx(coherence(half_of(gradients, classes)))
    assert m_coherence(half_of(holed, labels)) == pytest.approx(m_coherence(half_of(gradients, classes)))


def test_a_class_of_one_example_leaves_the_mean_over_all_pairs():
    gradients = RNG.normal(size=(7, 4)) + 1
    one, pooled = coherence(half_of(gradients, [0, 0, 0, 1, 1, 1, 2])), coherence(half_of(gradients))
    assert one == pytest.approx(pooled)
    assert math.isnan(coherence(half_of(gradients[:6], [0, 0, 1, 1, 1, 1])).se)


def test_it_does_not_depend_on_scale():
    gradients = RNG.normal(size=(9, 4)) + 1
    for scale in (1e-25, 1e25):
        one, two = half_of(gradients), half_of(scale * gradients)
        assert coherence(two)[2:] == pytest.approx(coherence(one)[2:])
        assert m_coherence(two) == pytest.approx(m_coherence(one))
        assert participation_ratio(two) == pytest.approx(participation_ratio(one))


def drawn(rng, count, num_classes, dimensions, signal, spread):
    """A balanced sample: a common mean of length `signal`, class means around it, unit noise a coordinate."""
    means = spread * rng.normal(size=(num_classes, dimensions))
    means += signal * np.eye(dimensions)[0] - means.mean(0)
    classes = np.arange(count) % num_classes
    total_noise = dimensions + (means**2).sum(1).mean() - signal**2
    return lambda: means[classes] + rng.normal(size=(count, dimensions)), classes, total_noise / signal**2


def test_the_noise_scale_of_a_balanced_sample_is_unbiased_and_its_interval_covers():
    rng = np.random.default_rng(1)
    draw, classes, truth = drawn(rng, count=60, num_classes=6, dimensions=20, signal=1.5, spread=1.0)
    samples = [draw() for _ in range(400)]
    found = [coherence(half_of(sample, classes)) for sample in samples]
    coherences = np.array([one.value for one in found])
    expected = 1 / (1 + truth)
    assert abs(coherences.mean() - expected) < 4 * coherences.std() / 20
    assert np.mean([one.se for one in found]) == pytest.approx(coherences.std(), rel=0.15)
    scales = [noise_scale(one) for one in found]
    covered = np.mean([scale.low <= truth <= scale.high for scale in scales])
    assert 0.9 < covered < 0.99

    pooled = np.mean([coherence(half_of(sample)).value for sample in samples])
    assert pooled < expected - 5 * coherences.std() / 20, "what the classes' shares are there for"


def test_without_a_common_gradient_the_interval_has_no_upper_end():
    rng = np.random.default_rng(2)
    scales = [noise_scale(coherence(half_of(rng.normal(size=(40, 10))))) for _ in range(200)]
    assert np.mean([math.isinf(scale.high) for scale in scales]) > 0.9
    assert all(scale.low <= scale.value <= scale.high for scale in scales)
