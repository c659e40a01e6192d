"""The class stiffness matrix, its means, and the standard errors of both; `tfstiff.stiffness.cells` says how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfstiff.records.pair_set import ClassStiffness
from tfstiff.stiffness.cells import Cells, reduction

# The means, in the order of the second axis of all that is computed for them.
_WITHIN, _BETWEEN, _WITHIN_PAIRS, _BETWEEN_PAIRS, _CONTRAST, _ALL = range(6)


@dataclass(frozen=True)
class ClassEstimates:
    """One metric of one pair set.

    Attributes:
        by_class: By class; of no use for regression targets.
        mean: Mean over all pairs.
        mean_se: Its standard error.
    """

    by_class: ClassStiffness
    mean: float
    mean_se: float


def class_estimates(cells: Cells) -> dict[str, ClassEstimates]:
    """The matrix of means of each metric, its within- and between-class mean, and their errors.

    `C(a, b) = E[S(X1, X2)]` over X1 of class a and X2 of class b (equation 6 of Fort et al.); the between-class mean is
    the mean of the off-diagonal cells (equation 7), the within-class mean that of the diagonal. Cells without a pair
    are NaN and left out.

    The variance of a cell is the one that `tfstiff.stiffness.cells` derives, without bias, and at least what it would
    be if pairs were independent, which the true one never falls below. (Of means over cells that share examples that is
    not so: what examples do can cancel, as in the contrast. Theirs are at least what the noise of pairs alone makes.)
    With three examples in a class that is compared with itself it is that of the jackknife (Arvesen 1969). The error of
    a mean sums, for each example, what it adds to all cells: its influence; their squares, each class apart, give the
    variance to first order, and what the pairs' own noise adds twice to that is taken off once.

    Args:
        cells: Of the pair set.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _estimates(cells)


def _estimates(cells: Cells) -> dict[str, ClassEstimates]:
    pairs, first_order, variance, floor = cells.pairs, cells.first_order, cells.variance, cells.floor
    num_metrics = len(cells.metrics)
    present = pairs > 0
    matrix = np.where(present, cells.means, np.nan)
    squared_error = np.maximum(variance, floor)
    error = np.sqrt(squared_error)
    degrees = cells.degrees * reduction(squared_error, first_order)

    weights = _weights(cells.all_pairs)
    means = cells.means.reshape(num_metrics, -1) @ weights.reshape(6, -1).T  # (M, 6)
    influences, total, means_df = _influences(cells)
    # In a symmetric pair set the cells (a, b) and (b, a) are one statistic of twice the weight.
    once = weights * weights * (2 - np.eye(len(pairs)) if cells.is_symmetric else 1)
    known = np.isfinite(first_order[0])
    both = np.where(known, np.stack([first_order - variance, floor]), 0)
    twice_counted, lowest = both.reshape(2, num_metrics, -1) @ once.reshape(6, -1).T
    # Variances of cells add up, with what they would be if pairs were independent, only where no two share examples.
    separate = [_WITHIN, _WITHIN_PAIRS, *([_ALL] if len(pairs) == 1 else [])]
    noise_alone = np.maximum(twice_counted, 0)
    noise_alone[:, separate] = np.maximum(noise_alone, lowest)[:, separate]
    means_variance = np.maximum(total - twice_counted, noise_alone)
    means_se = np.sqrt(means_variance)
    means_df *= reduction(means_variance, total)
    means_se[:, (weights[:, present & ~known] != 0).any(1)] = np.nan
    absent = np.logical_not(weights.any((1, 2)))
    absent[_CONTRAST] = absent[_WITHIN] or absent[_BETWEEN]
    means[:, absent] = means_se[:, absent] = np.nan

    found = {}
    for place, metric in enumerate(cells.metrics):
        mean, mean_se, df = means[place].tolist(), means_se[place].tolist(), means_df[place].tolist()
        by_class = ClassStiffness(
            matrix=matrix[place],
            matrix_se=error[place],
            matrix_df=degrees[place],
            within=mean[_WITHIN],
            within_se=mean_se[_WITHIN],
            within_df=df[_WITHIN],
            between=mean[_BETWEEN],
            between_se=mean_se[_BETWEEN],
            between_df=df[_BETWEEN],
            contrast=mean[_CONTRAST],
            contrast_se=mean_se[_CONTRAST],
            contrast_df=df[_CONTRAST],
            within_pairs=mean[_WITHIN_PAIRS],
            within_pairs_se=mean_se[_WITHIN_PAIRS],
            between_pairs=mean[_BETWEEN_PAIRS],
            between_pairs_se=mean_se[_BETWEEN_PAIRS],
            within_influence=influences[_WITHIN, place].astype(np.float32),
            between_influence=influences[_BETWEEN, place].astype(np.float32),
            num_empty_cells=int(present.size - present.sum()),
        )
        found[metric] = ClassEstimates(by_class, mean[_ALL], mean_se[_ALL])
    return found


def _weights(pairs: np.ndarray) -> np.ndarray:
    """(6, C, C): what each cell counts for in each of the means."""
    present, same = pairs > 0, np.eye(len(pairs))
    kinds = np.stack([present * same, present * (1 - same), pairs * same, pairs * (1 - same)])
    kinds = kinds / np.maximum(kinds.sum((1, 2), keepdims=True), 1)
    return np.concatenate([kinds, [kinds[_WITHIN] - kinds[_BETWEEN], pairs / max(pairs.sum(), 1)]])


def _influences(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What each example adds to the means: (6, M, E); the sums of their squares, (M, 6); and degrees of freedom (M, 6).

    An example of class a adds its deviations over the pairs of the cell to the cells of its class, times the cell's
    weight, and twice that in a symmetric pair set, where it stands on both sides. Within its own class it is scaled
    by (n - 1) / (n - 2), which makes the sum of squares the variance of the jackknife, and without bias the covariance
    with other cells.
    """
    rows, columns, pairs, is_symmetric = cells.rows, cells.columns, cells.all_pairs, cells.is_symmetric
    own_pairs, own_cells = float(pairs.trace()), int((pairs.diagonal() > 0).sum())
    other_pairs, other_cells = float(pairs.sum()) - own_pairs, int((pairs > 0).sum()) - own_cells
    share_of_own = own_pairs / max(own_pairs + other_pairs, 1)
    sides = (rows,) if is_symmetric else (rows, columns)
    parts, variances = [], []
    for side in sides:
        n, example, deviations = side.counts, side.classes, side.deviations
        num_metrics, size, _ = deviations.shape
        per_pair, all_of_side = 1 / np.maximum(side.pairs, 1), pairs if side is rows else pairs.T
        by_cell = np.einsum("mib,ib->mi", deviations, per_pair[example])
        by_pair = np.einsum("mib,ib->mi", deviations, (per_pair * all_of_side)[example])
        own = deviations[:, np.arange(size), example]
        own_of_cell = own * per_pair.diagonal()[example]
        own *= (per_pair * all_of_side).diagonal()[example]
        once, twice = (np.where(n > 2, 2 * (n - 1) / (n - 2), 0), 2.0) if is_symmetric else (np.ones_like(n), 1.0)
        influence = np.empty((6, num_metrics, size))
        influence[_WITHIN] = own_of_cell * (once / max(own_cells, 1))[example]
        influence[_BETWEEN] = (by_cell - own_of_cell) * (twice / max(other_cells, 1))
        influence[_WITHIN_PAIRS] = own * (once / max(own_pairs, 1))[example]
        influence[_BETWEEN_PAIRS] = (by_pair - own) * (twice / max(other_pairs, 1))
        flat = influence[:4].reshape(-1, size)
        flat *= np.sqrt(np.where(n > 1, n / (n - 1), 0))[example] * (example >= 0)
        influence[_CONTRAST] = influence[_WITHIN] - influence[_BETWEEN]
        influence[_ALL] = share_of_own * influence[_WITHIN_PAIRS] + (1 - share_of_own) * influence[_BETWEEN_PAIRS]
        parts.append(influence)
        variances.append((influence * influence).reshape(-1, size) @ side.members)
    influences, by_stratum = (
        (parts[0], variances[0]) if is_symmetric else (np.concatenate(parts, 2), np.hstack(variances))
    )
    degrees = np.maximum(np.concatenate([side.counts for side in sides]) - 1, 1)
    variance = by_stratum.sum(1)
    df = variance * variance / (by_stratum * by_stratum @ (1 / degrees))
    return influences, variance.reshape(6, -1).T, df.reshape(6, -1).T
