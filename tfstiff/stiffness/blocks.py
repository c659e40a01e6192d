"""Blocks in the class stiffness matrix: are classes of one group stiffer with each other than with other classes?

A grouping is an array with the group of each class, such as 0 for vehicles and 1 for animals; -1 leaves a class out.
Only pairs of different classes are compared, so that what a class has in common with itself plays no part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfstiff.records.pair_set import BlockStiffness
from tfstiff.stiffness.block_permutation import checked_groups, permutation_test
from tfstiff.stiffness.cells import Cells, Side, reduction

_SAME, _DIFFERENT, _CONTRAST = range(3)  # the means, in the order of the first axis of all that is computed for them
_KINDS = ("same_group", "different_group", "contrast")
_SAMPLES = 999  # groupings drawn at each measurement where there are too many to compare with all


def group_order(groups: Any) -> np.ndarray:
    """(C,) int64: the classes, group by group, in their own order within each; those left out come last.

    Args:
        groups: (C,) group of each class; -1 where it has none.
    """
    groups = checked_groups(groups)
    return np.argsort(np.where(groups < 0, groups.max(initial=0) + 1, groups), kind="stable")


def block_stiffness(cells: Cells, groups: Any) -> dict[str, BlockStiffness]:
    """Compares cells of classes of one group with cells of classes of different groups; all cells count alike.

    A mean over cells is Σ q_ab C_ab, with q_ab = 1 / (number of such cells). An example i of class a adds to it, to
    first order,

        ψ_i = (1 / n_a) Σ_b q_ab (mean_j∈b s_ij − C_ab),

    twice that in a symmetric pair set, where it stands in rows and columns. With examples drawn class by class the
    variance is Σ_a n_a / (n_a − 1) Σ_i∈a ψ_i², less the noise of single pairs, which is in it twice: of each cell the
    difference between that sum and the unbiased variance (see `tfstiff.stiffness.cells`). It is at least what that
    noise alone makes. The p-value is that of `block_permutation_test`, with 999 groupings where there are too many.

    Args:
        cells: Of a pair set.
        groups: (C,) group of each class; -1 leaves it out.

    Returns:
        By metric.

    Raises:
        InvalidInput: There is not one group for each class.
    """
    groups = checked_groups(groups, len(cells.pairs))
    present = cells.pairs > 0
    kinds = np.stack(_kinds(groups)) & present
    shares = kinds / np.maximum(kinds.sum((1, 2), keepdims=True), 1)
    weights = _with_contrast(shares)  # (3, C, C)
    num_metrics, num_classes = len(cells.metrics), len(groups)
    means = weights.reshape(3, -1) @ cells.means.reshape(num_metrics, -1).T  # (3, M)

    influence, members = _influences(cells, shares)
    by_stratum = influence**2 @ members
    first_order = by_stratum.sum(-1)
    degrees = np.maximum(members.sum(0) - 1, 1)
    # In a symmetric pair set the cells (a, b) and (b, a) are one statistic of twice the weight.
    once = (weights**2 * (2 if cells.is_symmetric else 1)).reshape(3, -1)
    known = np.isfinite(cells.first_order[0])
    noise = np.where(known, cells.first_order - cells.variance, 0).reshape(num_metrics, num_classes**2)
    twice_counted = once @ noise.T
    variance = np.maximum(first_order - twice_counted, np.maximum(twice_counted, 0))
    df = first_order**2 / np.maximum(by_stratum**2 @ (1 / degrees), np.finfo(np.float64).tiny)
    df *= reduction(variance, first_order)
    se = np.sqrt(variance)
    se[(weights[:, ~known] != 0).any(1)] = np.nan
    absent = ~kinds.any((1, 2))
    absent = np.append(absent, absent.any())
    means[absent] = se[absent] = df[absent] = np.nan

    matrices = np.where(present, cells.means, np.nan)
    tests = permutation_test(matrices, groups, samples=_SAMPLES)
    found = {}
    for place, (metric, test) in enumerate(zip(cells.metrics, tests, strict=True)):
        numbers = {
            f"{kind}{suffix}": float(array[row, place])
            for row, kind in enumerate(_KINDS)
            for suffix, array in (("", means), ("_se", se), ("_df", df))
        }
        found[metric] = BlockStiffness(
            **numbers,
            p_value=test.p_value,
            num_groupings=test.num_groupings,
            is_exact=test.is_exact,
            contrast_influence=influence[_CONTRAST, place].astype(np.float32),
        )
    return found


def _influences(cells: Cells, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3, M, E) `sqrt(n_a / (n_a − 1)) ψ_i`, of the rows' examples, then of the columns' where they are others.

    Also (E, strata) one where an example is of a class, of rows and columns apart.
    """
    rows = _influence(cells.rows, weights)
    if cells.is_symmetric:
        return _with_contrast(2 * rows), cells.rows.members
    columns = _influence(cells.columns, weights.swapaxes(1, 2))
    members = np.zeros((rows.shape[2] + columns.shape[2], 2 * len(cells.pairs)))
    members[: rows.shape[2], : len(cells.pairs)] = cells.rows.members
    members[rows.shape[2] :, len(cells.pairs) :] = cells.columns.members
    return _with_contrast(np.concatenate([rows, columns], 2)), members


def _with_contrast(means: np.ndarray) -> np.ndarray:
    """(3, …), from those of the same and of different groups."""
    return np.concatenate([means, means[:1] - means[1:]])


def _influence(side: Side, weights: np.ndarray) -> np.ndarray:
    """(2, M, n) of the examples of one side; weights with that side's class first."""
    count = side.counts
    scale = np.sqrt(count / np.maximum(count - 1, 1))
    places = np.where(side.classes >= 0, side.classes, 0)
    of_example = (weights / np.maximum(side.pairs, 1))[:, places]  # (2, n, C)
    return np.einsum("mib,kib->kmi", side.deviations, of_example) * (scale[places] * (side.classes >= 0))


def _kinds(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, C) cells of different classes of one group, and of different groups."""
    grouped = np.outer(groups >= 0, groups >= 0) & ~np.eye(len(groups), dtype=bool)
    same = groups[:, None] == groups
    return grouped & same, grouped & ~same
