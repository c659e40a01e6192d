import math

import numpy as np
import pytest
from plain_sums import half_of, sums_of

from tfstiff.stiffness.batches import random_batches
from tfstiff.stiffness.statistics import STATISTICS, half_statistics
from tfstiff.stiffness.statistics.gradient_disparity import gradient_disparity

RNG = np.random.default_rng(0)


def distances(gradients, batches):
    """Between the mean gradients of every two batches, by a double loop over explicit gradients."""
    means = [gradients[batches == batch].mean(0) for batch in range(batches.max() + 1)]
    return {(a, b): np.linalg.norm(means[a] - means[b]) for b in range(len(means)) for a in range(b)}


@pytest.mark.parametrize("count", [10, 23, 60])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_it_is_the_mean_distance_between_batches(count, scale):
    gradients = scale * (RNG.normal(size=(count, 4)) + 0.3)
    batches = random_batches(count)
    assert np.bincount(batches[batches >= 0]).tolist() == [count // 5] * 5
    expected = distances(gradients, batches)
    found = gradient_disparity(half_of(gradients, np.arange(count) % 3))
    assert found.value == pytest.approx(np.mean(list(expected.values())))
    without = [np.mean([d for pair, d in expected.items() if left_out not in pair]) for left_out in range(5)]
    assert found.se == pytest.approx(math.sqrt(4 * np.var(without)))


def test_examples_without_a_finite_gradient_are_left_out_of_their_batch():
    gradients = RNG.normal(size=(20, 4))
    batches = random_batches(20)
    gradients[[0, 7]] = np.nan
    batches[[0, 7]] = -1
    expected = distances(np.nan_to_num(gradients), batches)
    assert gradient_disparity(half_of(gradients)).value == pytest.approx(np.mean(list(expected.values())))


def test_a_batch_without_a_finite_gradient_is_none():
    gradients = RNG.normal(size=(20, 4))
    batches = random_batches(20)
    gradients[batches == 4] = np.nan
    batches[batches == 4] = -1
    found = gradient_disparity(half_of(gradients))
    assert found.value == pytest.approx(np.mean(list(distances(np.nan_to_num(gradients), batches).values())))


def test_equal_gradients_have_none_and_too_few_examples_no_number():
    assert gradient_disparity(half_of(np.ones((15, 3)))).value == pytest.approx(0, abs=1e-7)
    assert math.isnan(gradient_disparity(half_of(np.ones((4, 3)))).value)


def test_its_square_is_twice_the_trace_of_the_covariance_over_the_size_of_batches():
    """Of independent gradients, on average: an identity that does not know how batches are drawn."""
    squares = []
    for _ in range(400):
        found = distances(RNG.normal(size=(50, 6)), random_batches(50))
        squares.append(np.mean(np.square(list(found.values()))))
    assert np.mean(squares) == pytest.approx(2 * 6 / 10, rel=0.05)


def test_its_standard_error_is_of_the_size_of_its_spread():
    found = [gradient_disparity(half_of(RNG.normal(size=(100, 20)))) for _ in range(300)]
    assert np.mean([one.se for one in found]) == pytest.approx(np.std([one.value for one in found]), rel=0.3)


def test_it_is_in_the_table():
    found = half_statistics(sums_of(RNG.normal(size=(20, 4))))
    assert [s.unit for s in STATISTICS if s.name == "gradient_disparity"] == ["gradient"]
    assert {"gradient_disparity", "gradient_disparity_se"} <= found.keys()
