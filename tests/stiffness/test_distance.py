import numpy as np
import pytest
from oracles.direct import Space, sums_of

from tfstiff.stiffness.distance import distance_profile
from tfstiff.stiffness.strata import strata_of


def profile_of(value, distance, y, y2=None, edges=(0, 1, 2), **options):
    sums = sums_of(value, y, y2, spaces={"input": Space(distance, edges=np.asarray(edges, float), **options)})
    return distance_profile(sums.distance["input"], strata_of(sums.distance["input"], None if y2 is None else len(y)))


def unbiased_variance(value, is_symmetric):
    """Square of the mean less the mean product of two pairs that share no example, by sums over examples."""
    n, m = value.shape
    rows, columns, total = value.sum(1), value.sum(0), value.sum()
    if is_symmetric:
        apart = total**2 - 4 * (rows**2).sum() + 2 * (value**2).sum()
        return (total / (n * (n - 1))) ** 2 - apart / (n * (n - 1) * (n - 2) * (n - 3))
    apart = total**2 - (rows**2).sum() - (columns**2).sum() + (value**2).sum()
    return (total / (n * m)) ** 2 - apart / (n * (n - 1) * m * (m - 1))


def values(rng, n, m=None):
    u = rng.normal(size=(n, 1))
    v = u.T if m is None else rng.normal(size=(1, m))
    noise = rng.normal(size=(n, n if m is None else m))
    value = u + v + (noise + noise.T if m is None else noise)
    return value - np.diag(np.diag(value)) if m is None else value


@pytest.mark.parametrize("m", [None, 14])
def test_a_bin_of_all_pairs_has_the_variance_of_pairs_that_share_no_example(m):
    rng = np.random.default_rng(0)
    value = values(rng, 11, m)
    y, y2 = np.zeros(11, int), None if m is None else np.zeros(m, int)
    found = profile_of(value, np.full(value.shape, 0.5), y, y2)
    assert found.mean_se[0] ** 2 == pytest.approx(unbiased_variance(value, m is None))
    assert found.count.tolist() == [11 * 10 // 2 if m is None else 11 * 14, 0]
    assert found.num_examples.tolist() == [11 if m is None else 25, 0]
    assert np.isnan(found.mean[1])


@pytest.mark.parametrize("m", [None, 14])
def test_differences_between_classes_are_no_error(m):
    rng = np.random.default_rng(1)
    y, y2 = np.arange(24) % 2, None if m is None else np.arange(m) % 2
    value = values(rng, 24, m)
    shifted = value + 5.0 * np.outer(y, y if y2 is None else y2)
    near = np.full(value.shape, 0.5)
    one, two = profile_of(value, near, y, y2), profile_of(shifted, near, y, y2)
    assert two.mean[0] > one.mean[0] + 2
    assert two.mean_se[0] == pytest.approx(one.mean_se[0], rel=0.05)


def test_errors_are_at_least_those_of_independent_pairs():
    rng = np.random.default_rng(2)
    for _ in range(50):
        noise = rng.normal(size=(12, 12))
        found = profile_of(noise + noise.T, np.full((12, 12), 0.5), np.zeros(12, int))
        pairs = (noise + noise.T)[np.triu_indices(12, 1)]
        assert found.mean_se[0] >= pairs.std() / np.sqrt(66) * 0.999


@pytest.mark.parametrize(("n", "has_error"), [(8, False), (9, False), (10, True)])  # 28, 36 and 45 pairs
def test_few_pairs_or_examples_have_no_error(n, has_error):
    value = values(np.random.default_rng(3), n)
    found = profile_of(value, np.full((n, n), 0.5), np.zeros(n, int))
    assert np.isfinite(found.mean_se[0]) == np.isfinite(found.mean_sign_se[0]) == has_error
    assert np.isfinite(found.mean[0])


def test_an_example_in_all_pairs_of_a_bin_leaves_no_error():
    rng = np.random.default_rng(4)
    value = rng.normal(size=(40, 40))
    distance = np.full((40, 40), 1.5)
    distance[0] = distance[:, 0] = 0.5
    found = profile_of(value + value.T, distance, np.zeros(40, int))
    assert np.isnan(found.mean_se[0])
    assert np.isfinite(found.mean_se[1])


def test_duplicates_are_counted_and_left_out():
    distance = np.full((12, 12), 0.5)
    distance[0, 1] = distance[1, 0] = 1e-9
    found = profile_of(np.ones((12, 12)), distance, np.zeros(12, int), duplicate_tolerance=1e-6)
    assert (found.num_duplicates, found.count[0]) == (1, 65)
