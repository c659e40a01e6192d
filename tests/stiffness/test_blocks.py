import math
from itertools import permutations

import numpy as np
import pytest
from plain_sums import sums_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.block_permutation import block_permutation_test
from tfstiff.stiffness.blocks import block_contrast, group_order

RNG = np.random.default_rng(0)


def test_the_order_is_by_group():
    assert group_order([1, 0, 0, 1, 0]).tolist() == [1, 2, 4, 0, 3]
    assert group_order([1, -1, 0, 1]).tolist() == [2, 0, 3, 1]
    assert group_order(np.zeros(3, int)).tolist() == [0, 1, 2]


def planted_gradients(rng, classes, groups, strength):
    """Unit-noise gradients with a mean of their class and one of their group."""
    dimensions = 12
    of_group = strength * np.eye(dimensions)[np.maximum(groups, 0)]
    return of_group[classes] + rng.normal(size=(len(classes), dimensions))


def cells(gradients, classes, gradients2, classes2, metric, num_classes, is_symmetric):
    unit, unit2 = (g / np.linalg.norm(g, axis=1, keepdims=True) for g in (gradients, gradients2))
    values = unit @ unit2.T if metric == "cosine" else np.sign(unit @ unit2.T)
    counted = ~np.eye(len(classes), dtype=bool) if is_symmetric else np.ones(values.shape, bool)
    matrix = np.full((num_classes, num_classes), np.nan)
    for a in range(num_classes):
        for b in range(num_classes):
            kept = counted & np.outer(classes == a, classes2 == b)
            if kept.any():
                matrix[a, b] = values[kept].mean()
    return matrix


def by_loops(matrix, groups):
    same, different = [], []
    for a, b in permutations(range(len(groups)), 2):
        if groups[a] >= 0 and groups[b] >= 0 and not math.isnan(matrix[a, b]):
            (same if groups[a] == groups[b] else different).append(matrix[a, b])
    return np.mean(same), np.mean(different)


@pytest.mark.parametrize("metric", ["cosine", "sign"])
@pytest.mark.parametrize("is_symmetric", [True, False])
@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 1], [2, 0, 2, -1, 0]])
def test_the_contrast_is_that_of_the_cells(metric, is_symmetric, groups):
    groups = np.array(groups)
    classes, classes2 = np.arange(20) % 5, np.array([0, 0, 1, 1, 3, 3, 4, 4, 4])  # class 2 is missing
    g, g2 = (planted_gradients(RNG, y, groups, 1.0) for y in (classes, classes2))
    if is_symmetric:
        found = block_contrast(sums_of(g, classes), groups, metric)
        matrix = cells(g, classes, g, classes, metric, 5, True)
    else:
        found = block_contrast(sums_of(g, classes, g2, classes2, num_classes=5), groups, metric)
        matrix = cells(g, classes, g2, classes2, metric, 5, False)
    same, different = by_loops(matrix, groups)
    assert (found.same_group, found.different_group) == pytest.approx((same, different))
    assert found.contrast == pytest.approx(same - different)
    assert 0 < found.se <= np.linalg.norm(found.influence)
    assert found.z == pytest.approx(found.contrast / found.se)
    assert len(found.influence) == (20 if is_symmetric else 29)
    # What examples add has a mean of zero in each class
    for label in range(5):
        assert found.influence[:20][classes == label].sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_the_standard_error_is_the_scatter_over_probes(is_symmetric):
    rng = np.random.default_rng(1)
    groups, classes = np.array([0, 0, 1, 1]), np.arange(60) % 4
    contrasts, errors = [], []
    for _ in range(300):
        g, g2 = (planted_gradients(rng, classes, groups, 0.7) for _ in range(2))
        sums = sums_of(g, classes) if is_symmetric else sums_of(g, classes, g2, classes)
        found = block_contrast(sums, groups)
        contrasts.append(found.contrast)
        errors.append(found.se)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(contrasts), rel=0.12)
    assert np.mean(contrasts) > 5 * np.std(contrasts) / math.sqrt(300)


def test_without_blocks_z_is_standard_normal():
    rng = np.random.default_rng(2)
    groups, classes = np.array([0, 0, 1, 1, 1]), np.arange(50) % 5
    z = [block_contrast(sums_of(rng.normal(size=(50, 12)), classes), groups).z for _ in range(400)]
    assert abs(np.mean(z)) < 0.2
    assert 0.8 < np.std(z) < 1.08, "never below what independent pairs would have"


def test_contrasts_that_cannot_be_told():
    classes = np.arange(8) % 4
    g = RNG.normal(size=(8, 3))
    assert math.isnan(block_contrast(sums_of(g, classes), np.array([0, 0, 0, 0])).contrast)
    assert math.isnan(block_contrast(sums_of(g, classes), np.array([0, 1, 2, 3])).contrast)
    one = block_contrast(sums_of(g[:7], classes[:7]), np.array([0, 0, 1, 1]))
    assert not math.isnan(one.contrast)
    assert math.isnan(one.se)
    holed = np.insert(g, 2, np.nan, 0)
    found = block_contrast(sums_of(holed, np.insert(classes, 2, 0)), np.array([0, 0, 1, 1]))
    expected = block_contrast(sums_of(g, classes), np.array([0, 0, 1, 1]))
    assert (found.contrast, found.se) == pytest.approx((expected.contrast, expected.se))
    assert found.influence[2] == 0


def all_maps(groups):
    return sorted(set(permutations(groups)))


@pytest.mark.parametrize("groups", [[0, 0, 1, 1, 1], [0, 1, 1, 2, 2, 2], [3, 3, 7, 7]])
def test_the_exact_p_value_is_that_of_all_groupings(groups):
    matrix = RNG.normal(size=(len(groups), len(groups)))
    matrix[0, 1] = np.nan
    found = block_permutation_test(matrix, np.array(groups))
    contrasts = [np.subtract(*by_loops(matrix, np.array(one))) for one in all_maps(groups)]
    own = np.subtract(*by_loops(matrix, np.array(groups)))
    assert found.is_exact
    assert found.num_groupings == len(contrasts)
    assert found.contrast == pytest.approx(own)
    assert found.p_value == pytest.approx(np.mean(np.array(contrasts) >= own - 1e-9))


def test_planted_blocks_have_the_smallest_p_value_there_is():
    groups = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0, 0])  # two sizes, so that no other grouping is the same one
    groups[1] = 0
    matrix = (groups[:, None] == groups) + 0.1 * RNG.normal(size=(10, 10))
    found = block_permutation_test(matrix, groups)
    assert (found.is_exact, found.num_groupings) == (True, 210)
    assert found.p_value == pytest.approx(1 / 210)
    hundred = np.arange(100) // 5
    drawn = block_permutation_test((hundred[:, None] == hundred) + RNG.normal(size=(100, 100)), hundred, samples=999)
    assert (drawn.is_exact, drawn.num_groupings, drawn.p_value) == (False, 1000, 1 / 1000)


@pytest.mark.parametrize("max_exact", [1000, 0])
def test_p_values_without_blocks_are_uniform(max_exact):
    rng = np.random.default_rng(3)
    groups = np.array([0, 0, 0, 1, 1, 1, 1])
    p = []
    for seed in range(300):
        matrix = rng.normal(size=(7, 7))
        test = block_permutation_test(matrix + matrix.T, groups, max_exact=max_exact, samples=99, seed=seed)
        assert test.is_exact == (max_exact > 0)
        p.append(test.p_value)
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=3.5 * math.sqrt(level * (1 - level) / 300))


def test_drawing_is_repeatable():
    matrix, groups = RNG.normal(size=(20, 20)), np.arange(20) // 5
    one, two, other = (block_permutation_test(matrix, groups, samples=200, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert abs(one.p_value - other.p_value) < 0.2


def test_tests_that_cannot_be_made():
    matrix = RNG.normal(size=(4, 4))
    for groups in ([0, 0, 0, 0], [0, 1, 2, 3], [0, -1, -1, -1], [-1, -1, -1, -1]):
        found = block_permutation_test(matrix, np.array(groups))
        assert math.isnan(found.p_value)
    kept = block_permutation_test(matrix, np.array([0, 0, -1, 1]))
    assert kept == block_permutation_test(matrix[np.ix_([0, 1, 3], [0, 1, 3])], np.array([0, 0, 1]))


@pytest.mark.parametrize("groups", [[0, 1], [[0, 1, 0, 1]], [0.5, 1, 2, 3], ["a", "b", "c", "d"]])
def test_groupings_that_are_none(groups):
    with pytest.raises(InvalidInput, match="one group for each class"):
        block_contrast(sums_of(RNG.normal(size=(8, 3)), np.arange(8) % 4), np.array(groups))
    with pytest.raises(InvalidInput, match="one group for each class"):
        block_permutation_test(np.eye(4), np.array(groups))
