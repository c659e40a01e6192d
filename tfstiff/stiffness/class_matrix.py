"""The class stiffness matrix and its means."""

from __future__ import annotations

import numpy as np

from tfstiff.records.measurement import ClassStiffness


def class_stiffness(sums: np.ndarray, counts: np.ndarray) -> ClassStiffness:
    """From sums over the pairs of each cell to the matrix of means, and to its within- and between-class means.

    `C(a, b) = E[S(X1, X2)]` over X1 of class a and X2 of class b (equation 6 of the paper); the between-class mean is
    the mean of the off-diagonal cells (equation 7), the within-class mean that of the diagonal. Cells without a pair
    are NaN and left out.

    Args:
        sums: (C, C), the sum of sign or cosine over the pairs of each cell.
        counts: (C, C), the pairs in each cell.
    """
    matrix = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    diagonal = np.eye(len(sums), dtype=bool)
    return ClassStiffness(
        matrix,
        within=_mean(matrix[diagonal]),
        between=_mean(matrix[~diagonal]),
        within_pairs=_ratio(sums[diagonal], counts[diagonal]),
        between_pairs=_ratio(sums[~diagonal], counts[~diagonal]),
    )


def _mean(cells: np.ndarray) -> float:
    present = cells[~np.isnan(cells)]
    return float(present.mean()) if len(present) else float("nan")


def _ratio(sums: np.ndarray, counts: np.ndarray) -> float:
    total = counts.sum()
    return float(sums.sum() / total) if total else float("nan")
