"""Standard errors of the class matrix and its means against enumerations of pairs, and against refits."""

import itertools

import numpy as np
import pytest
from oracles.direct import sums_of

from tfstiff.stiffness import class_matrix
from tfstiff.stiffness.cells import cells_of


def class_estimates(sums):
    return class_matrix.class_estimates(cells_of(sums))


def values(rng, rows, columns=None):
    """Values between examples that share effects: (n, m), symmetric where `columns` is None."""
    u = rng.normal(size=(len(rows), 3)) + 0.5
    v = u if columns is None else rng.normal(size=(len(columns), 3)) + 0.5
    noise = rng.normal(size=(len(u), len(v))) * 0.3
    return u @ v.T + (noise + noise.T if columns is None else noise)


def unbiased(matrix, rows, columns, is_symmetric):
    """Mean of the pairs, and square of it less the mean product of two pairs that share no example."""
    pairs = [(i, j) for i in rows for j in columns if not is_symmetric or i < j or i not in columns or j not in rows]
    products = [
        matrix[p] * matrix[q]
        for p, q in itertools.product(pairs, pairs)
        if p[0] != q[0] and p[1] != q[1] and not (is_symmetric and set(p) & set(q))
    ]
    mean = np.mean([matrix[p] for p in pairs])
    return mean, mean**2 - np.mean(products), np.mean([(matrix[p] - mean) ** 2 for p in pairs]) / len(pairs)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_cells_have_the_variance_of_pairs_that_share_no_example(is_symmetric):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [4, 5, 7])
    y2 = y if is_symmetric else np.repeat([0, 1, 2], [6, 2, 5])
    matrix = values(rng, y, None if is_symmetric else y2)
    found = class_estimates(sums_of(matrix, y, None if is_symmetric else y2))["cosine"].by_class
    for a, b in itertools.product(range(3), repeat=2):
        rows, columns = np.flatnonzero(y == a).tolist(), np.flatnonzero(y2 == b).tolist()
        mean, variance, lowest = unbiased(matrix, rows, columns, is_symmetric)
        assert found.matrix[a, b] == pytest.approx(mean)
        assert found.matrix_se[a, b] ** 2 == pytest.approx(max(variance, lowest))


def test_three_examples_have_the_error_of_the_jackknife_and_fewer_none():
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], [3, 2, 1])
    matrix = values(rng, y)
    found = class_estimates(sums_of(matrix, y))["cosine"].by_class
    three = matrix[:3, :3][np.triu_indices(3, 1)]  # without one example, one pair is left
    assert found.matrix_se[0, 0] ** 2 == pytest.approx(2 / 3 * ((three - three.mean()) ** 2).sum())
    assert np.isnan(found.matrix[2, 2])
    assert np.isnan(found.matrix_se[[1, 2, 0], [1, 2, 2]]).all()
    assert np.isfinite(found.matrix[0, 2])
    assert found.num_empty_cells == 1
    assert found.within == pytest.approx(np.nanmean(np.diag(found.matrix)))
    assert np.isnan([found.within_se, found.between_se, found.contrast_se]).all()  # rather than too small


def leave_one_out(matrix, y, y2, read):
    """What each example changes in `read`, by estimating without it; the rows' examples, then the columns'."""
    whole = read(class_estimates(sums_of(matrix, y, y2, num_classes=3))["cosine"].by_class)
    changes = []
    for side, classes in enumerate((y,) if y2 is None else (y, y2)):
        for i in range(len(classes)):
            part = classes.copy()
            part[i] = -1
            halves = (part, None) if y2 is None else ((part, y2) if side == 0 else (y, part))
            changes.append(whole - read(class_estimates(sums_of(matrix, *halves, num_classes=3))["cosine"].by_class))
    return np.array(changes)


@pytest.mark.parametrize("counts2", [None, [7, 5, 4], [7, 0, 4]], ids=["symmetric", "halves", "a class missing"])
@pytest.mark.parametrize("kind", ["within", "between"])
def test_influences_are_what_leaving_examples_out_changes(counts2, kind):
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1, 2], [5, 6, 8])
    is_symmetric, y2 = counts2 is None, None if counts2 is None else np.repeat([0, 1, 2], counts2)
    matrix = values(rng, y, y2)
    found = class_estimates(sums_of(matrix, y, y2))["cosine"].by_class
    changes = leave_one_out(matrix, y, y2, lambda one: getattr(one, kind))
    classes = y if is_symmetric else np.concatenate([y, y2 + 3])  # halves are drawn apart
    counts = np.bincount(classes)[classes]
    jackknife = sum(
        (n - 1) / n * ((changes[classes == a] - changes[classes == a].mean()) ** 2).sum()
        for a, n in enumerate(np.bincount(classes))
        if n
    )
    influence = getattr(found, f"{kind}_influence")
    np.testing.assert_allclose(influence, changes * np.sqrt((counts - 1) / counts), atol=1e-6)
    assert (influence.astype(float) ** 2).sum() == pytest.approx(jackknife, rel=1e-5)
    assert getattr(found, f"{kind}_se") ** 2 < jackknife  # which counts the noise of pairs twice


def test_errors_of_means_over_pairs_are_those_of_what_each_example_adds():
    """Of values u_i + v_j, in which pairs have no noise of their own, so that nothing is taken off."""
    rng = np.random.default_rng(6)
    y, y2 = np.repeat([0, 1, 2], [5, 6, 8]), np.repeat([0, 1, 2], [7, 3, 2])
    matrix = rng.normal(size=len(y))[:, None] + rng.normal(size=len(y2))
    same = y[:, None] == y2
    found = class_estimates(sums_of(matrix, y, y2))["cosine"]
    errors = (
        (found.by_class.within_pairs_se, same),
        (found.by_class.between_pairs_se, ~same),
        (found.mean_se, same | True),
    )
    for error, counted in errors:
        shares = np.where(counted, matrix, 0) / counted.sum()
        variance = 0.0
        for classes, added in ((y, shares.sum(1)), (y2, shares.sum(0))):
            for label in range(3):
                own = added[classes == label]
                variance += len(own) * own.var(ddof=1)
        assert error == pytest.approx(np.sqrt(variance))


def test_degrees_of_freedom_are_those_of_the_classes():
    """By Welch and Satterthwaite: of the sums over each class, each with one less than its examples."""
    rng = np.random.default_rng(7)
    y, y2 = np.repeat([0, 1], [2, 8]), np.repeat([0, 1], [2, 7])
    found = class_estimates(sums_of(rng.normal(size=len(y))[:, None] + rng.normal(size=len(y2)), y, y2))[
        "cosine"
    ].by_class
    strata = np.concatenate([y, y2 + 2])
    parts = [(found.within_influence.astype(float)[strata == label] ** 2).sum() for label in range(4)]
    df = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, np.bincount(strata), strict=True))
    assert found.within_df == pytest.approx(df, rel=1e-5)


def test_errors_of_independent_cells_add_up():
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1, 2], [15, 16, 18])
    found = class_estimates(sums_of(values(rng, y), y))["cosine"].by_class
    assert found.within_se == pytest.approx(np.sqrt((np.diag(found.matrix_se) ** 2).sum()) / 3)


def test_without_classes_the_mean_is_the_one_cell():
    rng = np.random.default_rng(4)
    y = np.zeros(9, int)
    found = class_estimates(sums_of(values(rng, y), y, num_classes=1))["cosine"]
    assert found.mean == pytest.approx(found.by_class.matrix[0, 0])
    assert found.mean_se == pytest.approx(found.by_class.matrix_se[0, 0])


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_examples_left_out_might_as_well_not_be_there(is_symmetric):
    rng = np.random.default_rng(5)
    y = np.array([0, 1, -1, 0, 1, 0, 1, 1, 0, -1])
    y2 = None if is_symmetric else np.array([0, -1, 1, 1, 0, 0])
    matrix = values(rng, y, y2)
    matrix[2] = np.nan
    kept, kept2 = y >= 0, (y if y2 is None else y2) >= 0
    one = class_estimates(sums_of(matrix, y, y2))["cosine"].by_class
    two = class_estimates(sums_of(matrix[kept][:, kept2], y[kept], None if y2 is None else y2[kept2]))[
        "cosine"
    ].by_class
    for name in ("matrix", "matrix_se", "within_se", "between_se", "contrast_se", "between_pairs_se", "contrast_df"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name))
    places = kept if is_symmetric else np.concatenate([kept, kept2])
    np.testing.assert_array_equal(one.within_influence[places], two.within_influence)
    assert not one.within_influence[~places].any()


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 0, 0, 0]], ids=["no pair within", "no pair between"])
def test_there_is_no_contrast_with_what_is_missing(y):
    found = class_estimates(sums_of(values(np.random.default_rng(8), y), np.array(y)))["cosine"].by_class
    assert np.isnan(found.within) != np.isnan(found.between)
    assert np.isnan([found.contrast, found.contrast_se]).all()


def test_cells_that_are_all_alike_have_no_error():
    found = class_estimates(sums_of(np.ones((8, 8)), np.arange(8) % 2))["cosine"].by_class
    assert not found.matrix_se.any()
    assert (found.within, found.within_se, found.contrast, found.contrast_se) == (1, 0, 0, 0)
