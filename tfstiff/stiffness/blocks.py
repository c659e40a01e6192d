"""Blocks in the class stiffness matrix: are classes of one group stiffer with each other than with other classes?

A grouping is an array with the group of each class, such as 0 for vehicles and 1 for animals; -1 leaves a class out.
Only pairs of different classes are compared, so that what a class has in common with itself plays no part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.sums import PairSetSums


@dataclass(frozen=True)
class BlockContrast:
    """Stiffness between classes of one group against that between classes of different groups.

    Attributes:
        same_group: Mean over cells of different classes of one group.
        different_group: Mean over cells of classes of different groups.
        contrast: Their difference. NaN, like they, where there is no such cell.
        se: Its standard error over the draw of the probe's examples; NaN where a class has a single example.
        z: `contrast / se`.
        influence: (E,) float64, what each example adds to the error: the sum of the squares is the variance, to first
            order. The rows' examples, then, where the halves differ, the columns'. Subtract it before squaring to
            compare two measurements of one probe.
    """

    same_group: float
    different_group: float
    contrast: float
    se: float
    z: float
    influence: np.ndarray


def group_order(groups: Any) -> np.ndarray:
    """(C,) int64: the classes, group by group, in their own order within each; those left out come last.

    Args:
        groups: (C,) group of each class; -1 where it has none.
    """
    groups = checked_groups(groups)
    return np.argsort(np.where(groups < 0, groups.max(initial=0) + 1, groups), kind="stable")


def block_contrast(sums: PairSetSums, groups: Any, metric: str = "cosine") -> BlockContrast:
    """Compares cells of classes of one group with cells of classes of different groups; all cells count alike.

    With q_ab = 1 / (number of same-group cells) or -1 / (number of different-group cells) the contrast is Σ q_ab C_ab.
    An example i of class a adds to it, to first order,

        ψ_i = (1 / n_a) Σ_b q_ab (mean_j∈b s_ij − C_ab),

    twice that in a symmetric pair set, where it stands in rows and columns. With examples drawn class by class the
    variance is Σ_a n_a / (n_a − 1) Σ_i∈a ψ_i², less the noise of single pairs, which is in it twice: of each cell the
    difference between that sum and the unbiased variance (see `tfstiff.stiffness.class_matrix`). It is at least the
    variance that the pairs would have if they were independent.

    Args:
        sums: Over the pairs of a pair set.
        groups: (C,) group of each class; -1 leaves it out.
        metric: "cosine" or "sign".

    Raises:
        InvalidInput: There is not one group for each class.
    """
    groups = checked_groups(groups, sums.num_classes)
    pairs = sums.pair_counts()
    values = sums.values[metric]
    rows = _members(sums.classes_rows, sums.num_classes)
    matrix = np.divide(rows.T @ values.rows, pairs, out=np.zeros(pairs.shape), where=pairs > 0)
    same, different = (kind & (pairs > 0) for kind in _kinds(groups))
    weights = same / max(same.sum(), 1) - different / max(different.sum(), 1)

    columns, by_column = rows, values.rows
    if not sums.is_symmetric:
        columns, by_column = _members(sums.classes_columns, sums.num_classes), values.columns
    n, m = rows.sum(0), columns.sum(0)
    influence = _influence(rows, values.rows, m, weights, matrix)
    influence = (
        2 * influence
        if sums.is_symmetric
        else np.concatenate([influence, _influence(columns, by_column, n, weights.T, matrix.T)])
    )
    double, least = _pair_noise(rows, values.rows, columns, by_column, values.squares - matrix**2 * pairs)
    once = weights**2 * (2 if sums.is_symmetric else 1)  # there (a, b) and (b, a) are one statistic of twice the weight
    known = np.isfinite(double)
    variance = influence @ influence - (once * np.where(known, double, 0)).sum()
    se = math.sqrt(max(variance, (once * np.where(known, least, 0)).sum()))

    same_group, different_group = (float(matrix[kind].mean()) if kind.any() else math.nan for kind in (same, different))
    contrast = same_group - different_group
    if math.isnan(contrast) or (weights[~known] != 0).any():
        se = math.nan
    z = contrast / se if se > 0 else math.nan
    return BlockContrast(same_group, different_group, contrast, se, z, influence)


def _influence(
    members: np.ndarray, by_class: np.ndarray, others: np.ndarray, weights: np.ndarray, matrix: np.ndarray
) -> np.ndarray:
    """(n,) `sqrt(n_a / (n_a − 1)) ψ_i` of the examples of one side; weights and matrix with that side's class first."""
    count = members.sum(0)
    added = np.einsum("ib,ib->i", by_class / np.maximum(others, 1), members @ weights)
    added -= members @ (weights * matrix).sum(1)
    return added * (members @ np.sqrt(1 / np.maximum(count * (count - 1), 1)))


def _pair_noise(
    rows: np.ndarray, by_row: np.ndarray, columns: np.ndarray, by_column: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of the mean of each cell between two samples, (C, C) each; NaN where a sample has a single example.

    Args:
        rows: (n, C) one where a row's example is of the class.
        by_row: (n, C) sums over its pairs, by class of the column.
        columns: (m, C) the same of the columns.
        by_column: (m, C) sums over their pairs.
        noise: (C, C) sum of squared deviations of the pairs from their cell's mean.

    Returns:
        The variance from influences less the unbiased one; and the variance if pairs were independent.
    """
    n, m = (np.where(side.sum(0) > 1, side.sum(0), np.nan) for side in (rows, columns))
    n = n[:, None]
    row_spread = rows.T @ by_row**2 - (rows.T @ by_row) ** 2 / n
    column_spread = (columns.T @ by_column**2).T - (columns.T @ by_column).T ** 2 / m
    first_order = row_spread / (m**2 * n * (n - 1)) + column_spread / (n**2 * m * (m - 1))
    unbiased = (row_spread + column_spread - noise) / (n * m * (n - 1) * (m - 1))
    return first_order - unbiased, noise / (n * m) ** 2


def _kinds(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C, C) cells of different classes of one group, and of different groups."""
    grouped = np.outer(groups >= 0, groups >= 0) & ~np.eye(len(groups), dtype=bool)
    same = groups[:, None] == groups
    return grouped & same, grouped & ~same


def _members(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return (classes[:, None] == np.arange(num_classes)).astype(np.float64)


def checked_groups(groups: Any, num_classes: int | None = None) -> np.ndarray:
    """`groups` as (C,) int64.

    Raises:
        InvalidInput: They are not whole numbers, one for each class.
    """
    groups = np.asarray(groups)
    if groups.ndim != 1 or groups.dtype.kind not in "iu" or (num_classes is not None and len(groups) != num_classes):
        raise InvalidInput(
            "There must be one group for each class.",
            expected="whole numbers" if num_classes is None else f"{num_classes} whole numbers",
            received=groups,
        )
    return groups.astype(np.int64)
