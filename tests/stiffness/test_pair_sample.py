"""A sample of the pairs: which they are, and the errors of means over them."""

from itertools import combinations

import numpy as np
import pytest
from oracles.direct import sums_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.cells import cells_of
from tfstiff.stiffness.class_matrix import class_estimates
from tfstiff.stiffness.pair_sample import dealt, num_pairs, num_subsets_for

CLASSES, OTHERS = np.repeat([0, 1, 2], [8, 12, 4]), np.repeat([0, 1, 2], [4, 8, 12])
SETS = [(0, 0), (0, 1), (1, 1)]


def pairs_of(num_subsets, symmetric):
    """The sample, by a plain loop."""
    one = dealt(CLASSES, num_subsets)
    two = one if symmetric else dealt(OTHERS, num_subsets)
    ahead = (1, num_subsets - 1) if symmetric else (0, 1)
    return [
        (i, j)
        for i in range(len(one))
        for j in range(len(two))
        if (two[j] - one[i]) % num_subsets in ahead and not (symmetric and i > j)
    ]


@pytest.mark.parametrize("num_subsets", [3, 4])
def test_each_example_meets_equally_many_of_each_class(num_subsets):
    classes = np.repeat([0, 1], [2 * num_subsets, 5 * num_subsets])
    subsets = dealt(np.random.default_rng(0).permutation(classes), num_subsets)
    assert (np.bincount(subsets) == 7).all()
    sums = sums_of(np.ones((len(classes),) * 2), classes, subsets=(dealt(classes, num_subsets),) * 2)
    rows, columns = sums.pairs_of_examples()
    assert rows is columns
    assert (rows == [4, 10]).all()
    np.testing.assert_array_equal(sums.values["cosine"].rows, rows)  # of ones
    np.testing.assert_array_equal(sums.pair_counts(), rows.T @ np.eye(2)[classes])


def test_examples_are_dealt_evenly_at_random_and_always_alike():
    classes = np.repeat([0, 1, 2], [7, 11, 5])
    subsets = dealt(classes, 4)
    cells = np.array([[((classes == a) & (subsets == g)).sum() for g in range(4)] for a in range(3)])
    assert (cells.max(1) - cells.min(1) == 1).all()
    assert np.ptp(np.bincount(subsets)) == 1
    np.testing.assert_array_equal(dealt(classes, 4), subsets)
    assert (np.diff(subsets) % 4 != 1).any(), "not in their order"
    assert dealt(classes, 1).tolist() == [0] * 23


def test_how_many_pairs_there_are():
    sizes = (len(CLASSES), len(OTHERS))
    for num_subsets in (3, 4):
        counts = [len(pairs_of(num_subsets, symmetric)) for symmetric in (True, False)]
        assert num_pairs(sizes, [(0, 0)], num_subsets) == counts[0]
        assert num_pairs(sizes, [(0, 0), (0, 1)], num_subsets) == sum(counts)
    assert num_pairs(sizes, SETS) == 2 * 24 * 23 // 2 + 24 * 24
    assert num_pairs((24, 0), [(0, 0)], 4) == num_pairs(sizes, [(0, 0)], 4)


def test_as_few_subsets_as_it_takes():
    both, sizes = (CLASSES, OTHERS), (24, 24)
    whole = num_pairs(sizes, SETS)
    assert num_subsets_for(None, both, SETS) == num_subsets_for(whole, both, SETS) == 1
    assert num_subsets_for(whole - 1, both, SETS) == 3
    assert num_subsets_for(num_pairs(sizes, SETS, 3) - 1, both, SETS) == 4
    least = num_pairs(sizes, SETS, 4)  # with four examples of a class
    with pytest.raises(InvalidInput, match=f"at least {least}"):
        num_subsets_for(least - 1, both, SETS)
    with pytest.raises(InvalidInput, match="at least 6"):  # classes of two cannot stand in a ring
        num_subsets_for(5, (np.array([0, 0, 1, 1]), np.zeros(0, int)), [(0, 0)])


def plain_variance(values, members):
    """Of a mean over pairs: the products of deviations of pairs that share an example, without bias."""
    deviations = values - values.mean()
    shared = [(p, q) for p in range(len(members)) for q in range(len(members)) if set(members[p]) & set(members[q])]
    total = sum(deviations[p] * deviations[q] for p, q in shared)
    return total / (len(members) ** 2 - len(shared))


@pytest.mark.parametrize("num_subsets", [1, 4])
@pytest.mark.parametrize("symmetric", [True, False])
def test_variances_are_those_of_all_pairs_that_share_an_example(symmetric, num_subsets):
    rng = np.random.default_rng(0)
    classes, others = CLASSES, CLASSES if symmetric else OTHERS
    effects = rng.normal(size=len(classes)), rng.normal(size=len(others))
    value = effects[0][:, None] + (effects[0] if symmetric else effects[1]) + rng.normal(size=(len(classes),) * 2)
    value = value + value.T if symmetric else value
    subsets = None if num_subsets == 1 else (dealt(classes, num_subsets), dealt(others, num_subsets))
    found = cells_of(sums_of(value, classes, None if symmetric else others, subsets=subsets))
    chosen = list(combinations(range(24), 2)) if symmetric else [(i, j) for i in range(24) for j in range(24)]
    chosen = chosen if subsets is None else pairs_of(num_subsets, symmetric)
    cosine = found.metrics.index("cosine")
    for a in range(3):
        for b in range(3):
            own = [
                (i, j) if (classes[i], others[j]) == (a, b) else (j, i)
                for i, j in chosen
                if (classes[i], others[j]) == (a, b) or (symmetric and (classes[j], others[i]) == (a, b))
            ]
            members = own if symmetric else [(i, j + 100) for i, j in own]
            values = np.array([value[i, j] for i, j in own])
            np.testing.assert_allclose(found.means[cosine, a, b], values.mean())
            np.testing.assert_allclose(found.variance[cosine, a, b], plain_variance(values, members))


def test_means_over_cells_weigh_them_as_all_pairs_do():
    value = np.array([[1.0, 5, 7], [5, 2, 11], [7, 11, 3]])[CLASSES][:, CLASSES]
    sampled, whole = (
        class_estimates(cells_of(sums_of(value, CLASSES, subsets=subsets)))["cosine"]
        for subsets in ((dealt(CLASSES, 4),) * 2, None)
    )
    np.testing.assert_allclose(sampled.mean, whole.mean)
    for name in ("matrix", "within", "between", "contrast", "within_pairs", "between_pairs"):
        np.testing.assert_allclose(getattr(sampled.by_class, name), getattr(whole.by_class, name))
    np.testing.assert_allclose([sampled.mean_se, sampled.by_class.contrast_se], 0, atol=1e-12)
