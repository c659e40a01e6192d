import math
from itertools import permutations

import numpy as np
import pytest
from plain_sums import sums_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.block_permutation import block_permutation_test, permutation_test
from tfstiff.stiffness.blocks import block_stiffness, group_order
from tfstiff.stiffness.cells import cells_of
from tfstiff.stiffness.intervals import interval

RNG = np.random.default_rng(0)


def block_contrast(sums, groups, metric="cosine"):
    return block_stiffness(cells_of(sums), groups)[metric]


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
    # Less the noise of single pairs, which the influences hold twice, where that alone does not make more
    assert 0 < found.contrast_se <= np.linalg.norm(found.contrast_influence) * (1 + 1e-6)
    assert len(found.contrast_influence) == (20 if is_symmetric else 29)
    test = block_permutation_test(matrix, groups)
    assert (found.p_value, found.num_groupings, found.is_exact) == (test.p_value, test.num_groupings, True)
    # What examples add has a mean of zero in each class
    for label in range(5):
        assert found.contrast_influence[:20][classes == label].sum() == pytest.approx(0, abs=1e-7)


def leave_one_out(g, classes, g2, classes2, groups, kind):
    """What leaving out each example changes; the rows' examples, then the columns' where they are others."""
    whole = getattr(block_contrast(sums_of(g, classes, g2, classes2), groups), kind)
    changes = []
    for side, labels in enumerate((classes,) if g2 is None else (classes, classes2)):
        for i in range(len(labels)):
            halves = [g, classes, g2, classes2]
            halves[2 * side : 2 * side + 2] = np.delete(halves[2 * side], i, 0), np.delete(labels, i)
            changes.append(whole - getattr(block_contrast(sums_of(*halves), groups), kind))
    return np.array(changes)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_influences_are_what_leaving_examples_out_changes(is_symmetric):
    rng = np.random.default_rng(4)
    groups, classes = np.array([0, 0, 1, 1]), np.repeat(np.arange(4), [5, 6, 4, 7])
    g, g2 = (planted_gradients(rng, classes, groups, 0.7) for _ in range(2))
    halves = (g, classes, None, None) if is_symmetric else (g, classes, g2, classes[::-1].copy())
    found = block_contrast(sums_of(*halves), groups)
    labels = np.concatenate([part for part in (halves[1], halves[3]) if part is not None])
    counts = np.concatenate([np.bincount(part)[part] for part in (halves[1], halves[3]) if part is not None])
    changes = leave_one_out(*halves, groups, "contrast")
    assert len(labels) == len(changes)
    np.testing.assert_allclose(found.contrast_influence, changes * np.sqrt((counts - 1) / counts), atol=1e-6)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_intervals_hold_the_truth(is_symmetric):
    """Of means of same and of different groups, and of the contrast; the truth is that of all these probes together."""
    rng = np.random.default_rng(1)
    groups, classes = np.array([0, 0, 1, 1]), np.arange(80) % 4
    kinds = ("same_group", "different_group", "contrast")
    drawn = []
    for _ in range(600):
        g, g2 = (planted_gradients(rng, classes, groups, 0.7) for _ in range(2))
        drawn.append(block_contrast(sums_of(g, classes) if is_symmetric else sums_of(g, classes, g2, classes), groups))
    for kind in kinds:
        value, se, df = (np.array([getattr(one, f"{kind}{suffix}") for one in drawn]) for suffix in ("", "_se", "_df"))
        low, high = interval(value, se, df)
        truth = value.mean()
        held = np.mean((low <= truth) & (truth <= high))
        assert 0.925 < held < 0.98, (kind, held)
        assert np.sqrt(np.mean(se**2)) == pytest.approx(np.std(value), rel=0.1), kind
    assert np.mean([one.contrast for one in drawn]) > 0.02


def test_without_blocks_the_contrast_is_as_uncertain_as_it_says():
    rng = np.random.default_rng(2)
    groups, classes = np.array([0, 0, 1, 1, 1]), np.arange(50) % 5
    found = [block_contrast(sums_of(rng.normal(size=(50, 12)), classes), groups) for _ in range(400)]
    z = [one.contrast / one.contrast_se for one in found]
    assert abs(np.mean(z)) < 0.2
    assert 0.8 < np.std(z) < 1.08, "of noise alone the errors are a little too large"


def test_a_single_cell_is_its_own_mean():
    """The rows lack class 1, so that of the cells of the first group only (0, 1) is there."""
    g, g2 = RNG.normal(size=(6, 4)), RNG.normal(size=(9, 4))
    classes, classes2 = np.array([0, 0, 0, 2, 2, 2]), np.arange(9) % 3
    found = block_contrast(sums_of(g, classes, g2, classes2), np.array([0, 0, 1]))
    expected = cells(g, classes, g2, classes2, "cosine", 3, False)
    assert found.same_group == pytest.approx(expected[0, 1])


def test_degrees_of_freedom_are_those_of_the_classes_that_are_there():
    """By Welch and Satterthwaite: of the sums over each class, each with one less than its examples."""
    g, g2 = RNG.normal(size=(20, 4)) + 1, RNG.normal(size=(15, 4)) + 1
    classes, classes2 = np.repeat([0, 2, 3], [2, 8, 10]), np.repeat([0, 2, 3], [6, 4, 5])  # class 1 is missing
    found = block_contrast(sums_of(g, classes, g2, classes2), np.array([0, -1, 0, 1]))
    squares = found.contrast_influence.astype(float) ** 2
    strata = np.concatenate([classes, classes2 + 4])
    parts = {label: squares[strata == label].sum() for label in np.unique(strata)}
    df = sum(parts.values()) ** 2 / sum(part**2 / (np.sum(strata == label) - 1) for label, part in parts.items())
    less_noise = found.contrast_se**2 / sum(parts.values())
    assert found.contrast_df == pytest.approx(df * less_noise**2, rel=1e-5)


def test_contrasts_that_cannot_be_told():
    classes = np.arange(8) % 4
    g = RNG.normal(size=(8, 3))
    assert math.isnan(block_contrast(sums_of(g, classes), np.array([0, 0, 0, 0])).contrast)
    assert math.isnan(block_contrast(sums_of(g, classes), np.array([0, 1, 2, 3])).contrast)
    one = block_contrast(sums_of(g[:7], classes[:7]), np.array([0, 0, 1, 1]))
    assert not math.isnan(one.contrast)
    assert math.isnan(one.contrast_se)
    holed = np.insert(g, 2, np.nan, 0)
    found = block_contrast(sums_of(holed, np.insert(classes, 2, 0)), np.array([0, 0, 1, 1]))
    expected = block_contrast(sums_of(g, classes), np.array([0, 0, 1, 1]))
    assert (found.contrast, found.contrast_se) == pytest.approx((expected.contrast, expected.contrast_se))
    assert found.contrast_influence[2] == 0


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


def test_several_matrices_at_once_are_as_one_by_one():
    matrices, groups = RNG.normal(size=(3, 20, 20)), np.arange(20) // 5
    matrices[:, 3, 4] = np.nan
    for found, matrix in zip(permutation_test(matrices, groups, samples=50), matrices, strict=True):
        alone = block_permutation_test(matrix, groups, samples=50)
        assert found.contrast == pytest.approx(alone.contrast)
        assert (found.p_value, found.num_groupings) == (alone.p_value, 51)


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
