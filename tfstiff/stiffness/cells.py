"""The cells of the class stiffness matrix and their variances, from which all means over cells are estimated.

Pairs that share an example are not independent, so that errors come from examples. Examples are taken as drawn class by
class, as a stratified probe draws them. All of it follows from one formula. Let T be the sum of a value over the pairs
of a cell, T_i the sum over the pairs that hold example i, and e_p the deviation of pair p from the cell's mean. Two
pairs covary only if they share an example, so that the expectation of T² less the mean product of pairs that share none
gives the variance of T without bias (Hoeffding 1948 for the U-statistics at hand; the dyadic-robust variance of
Fafchamps and Gubert 2007 and of Aronow, Samii and Assenova 2015 is its limit for κ = 1):

    Var(T) = κ (Σ_i (T_i - mean T_i)² - Σ_p e_p²),    κ = n(n - 1) / ((n - 2)(n - 3)) within one sample of n,
                                                      κ = nm / ((n - 1)(m - 1)) between samples of n and m.

The same holds of a sample of N pairs, drawn without regard to their values, in which each example meets equally many
others (an incomplete U-statistic: Blom 1976, Lee 1982; for regular designs it matters not which pairs). With k pairs an
example a pair shares an example with 2k - 1 pairs, itself among them, or with k + l - 1 between samples, so that

    κ = N / (N - 2k + 1),   κ = N / (N - k - l + 1),

of which the above are the cases k = n - 1 and k = m, l = n. The draw of pairs is counted in it: they add Σ_p e_p².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from tfstiff.stiffness.sums import PairSetSums


@dataclass(frozen=True)
class Side:
    """The rows, or the columns, of a pair set, for M metrics.

    Attributes:
        classes: (n,) class of each example, -1 for those left out.
        members: (n, C) one where the example is of the class.
        counts: (C,) examples.
        pairs: (C, C) pairs of a cell; the side's class first.
        totals: (M, C, C) sums over the pairs of a cell.
        deviations: (M, n, C) sums over the pairs of an example, by class of the other one, of what each pair is above
            the mean of its cell.
        spread: (M, C, C) the sum of their squares over the examples of a class.
    """

    classes: np.ndarray
    members: np.ndarray
    counts: np.ndarray
    pairs: np.ndarray
    totals: np.ndarray
    deviations: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class Cells:
    """All cells of a pair set, for M metrics.

    Attributes:
        metrics: Their names.
        is_symmetric: Whether rows and columns are the same examples.
        rows: The rows' examples.
        columns: The columns' examples; the rows' in a symmetric pair set.
        pairs: (C, C) pairs of a cell.
        all_pairs: (C, C) the same of the whole of which they are a sample; 0 where the sample has none.
        means: (M, C, C) their mean; 0 without a pair.
        first_order: (M, C, C) variance of the mean as a sum of squared influences; like those that follow NaN where
            there are too few examples.
        variance: (M, C, C) the variance without bias.
        floor: (M, C, C) what it would be if pairs were independent.
        degrees: (M, C, C) degrees of freedom of `first_order`.
    """

    metrics: tuple[str, ...]
    is_symmetric: bool
    rows: Side
    columns: Side
    pairs: np.ndarray
    all_pairs: np.ndarray
    means: np.ndarray
    first_order: np.ndarray
    variance: np.ndarray
    floor: np.ndarray
    degrees: np.ndarray


def cells_of(sums: PairSetSums) -> Cells:
    """The cells of a pair set.

    Args:
        sums: Over its pairs.
    """
    of_rows, of_columns = sums.pairs_of_examples()
    rows = columns = _side(sums.classes_rows, of_rows, np.stack([value.rows for value in sums.values.values()]))
    if not sums.is_symmetric:
        values = np.stack([value.columns for value in sums.values.values()])
        columns = _side(sums.classes_columns, of_columns, values)
    pairs = rows.pairs
    all_pairs = np.outer(rows.counts, columns.counts) - np.diag(rows.counts * sums.is_symmetric)
    all_pairs *= pairs > 0
    means = rows.totals / np.maximum(pairs, 1)
    squares = np.stack([value.squares for value in sums.values.values()])
    noise = np.maximum(squares - rows.totals * means, 0)  # Σ e², ordered
    with np.errstate(divide="ignore", invalid="ignore"):
        variances = _cell_variances(rows, columns, noise, sums.is_symmetric)
    return Cells(tuple(sums.values), sums.is_symmetric, rows, columns, pairs, all_pairs, means, *variances)


def reduction(variance: np.ndarray, first_order: np.ndarray) -> np.ndarray:
    """What degrees of freedom are less by where noise was taken off: they go with the square of the variance."""
    return np.where(first_order > 0, np.minimum(variance / np.where(first_order > 0, first_order, 1), 1) ** 2, 1)


def _side(classes: np.ndarray, of_examples: np.ndarray, sums: np.ndarray) -> Side:
    num_classes = sums.shape[2]
    members = (classes[:, None] == np.arange(num_classes)).astype(np.float64)
    places = np.flatnonzero(classes >= 0)
    by_class = csr_array((np.ones(len(places)), (classes[places], places)), shape=(num_classes, len(classes)))
    pairs, totals = by_class @ of_examples, np.stack([by_class @ value for value in sums])
    means = totals / np.maximum(pairs, 1)
    deviations = sums - means[:, np.maximum(classes, 0)] * of_examples
    spread = np.stack([by_class @ value for value in deviations * deviations])
    return Side(classes, members, members.sum(0), pairs, totals, deviations, spread)


def _cell_variances(
    rows: Side, columns: Side, noise: np.ndarray, is_symmetric: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Variances of the cells' means: by influences, without bias, if pairs were independent; and degrees of freedom.

    All are (M, C, C), NaN where there are too few examples. Degrees of freedom are those of Satterthwaite (1946).
    """
    n, m = (np.where(side.counts > 1, side.counts, np.nan) for side in (rows, columns))
    n, pairs = n[:, None], rows.pairs
    by_column = columns.spread.swapaxes(1, 2)
    row_part = rows.spread * (n / (n - 1) / pairs**2)
    column_part = by_column * (m / (m - 1) / pairs**2)
    first_order = row_part + column_part
    variance = (rows.spread + by_column - noise) / (pairs * (pairs - pairs / n - pairs / m + 1))
    floor = noise / pairs**2
    degrees = first_order**2 / (row_part**2 / (n - 1) + column_part**2 / (m - 1))
    degrees = np.where(first_order > 0, degrees, n + m - 2)
    if is_symmetric:  # a class with itself: one sample, and each pair stands twice in the noise
        place = np.arange(len(m))
        spread, double = rows.spread[:, place, place], noise[:, place, place]
        m, pairs = np.where(m > 2, m, np.nan), pairs[place, place]
        jackknife = 4 * spread * (m * (m - 1) / ((m - 2) * pairs) ** 2)
        unbiased = 4 * (spread - double / 2) / (pairs * (pairs - 4 * pairs / m + 2))
        first_order[:, place, place] = jackknife
        variance[:, place, place] = np.where(m > 3, unbiased, jackknife)
        floor[:, place, place] = 2 * double / pairs**2
        degrees[:, place, place] = m - 1
    return first_order, variance, floor, degrees
