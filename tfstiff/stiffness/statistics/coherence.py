"""How much the gradients of single examples have in common: coherence, diversity, noise scale. One number, many names.

With D the mean of `|g|²` and O the squared length of the expected gradient, all of them are functions of γ = O / D:
the coherence is γ itself, the noise scale (1 − γ) / γ; and, for the n examples at hand, the m-coherence is
`|Σ g|² / Σ |g|²` and the diversity its inverse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Estimate, Statistic


class Coherence(NamedTuple):
    """Coherence of the gradients of one half of the probe.

    Attributes:
        mean_squared_norm: D, the mean of `|g|²`, in squared gradients.
        squared_mean_norm: O, the unbiased estimate of `|E g|²`, in squared gradients. It may be negative.
        value: γ = O / D, at most 1; NaN where all gradients are zero, or there is one example only.
        se: Its standard error; NaN where a class has one or two examples.
    """

    mean_squared_norm: float
    squared_mean_norm: float
    value: float
    se: float


def coherence(half: HalfSums) -> Coherence:
    """Estimates the coherence of the distribution that the examples are drawn from.

    The coherence is α = E[g_z · g_z'] / E[g_z · g_z] with z and z' drawn independently (Chatterjee and Zielinski 2020,
    arXiv 2008.01217). A pair of independent draws is never one example twice, so self pairs are left out of the
    numerator, which makes it unbiased.

    A probe is balanced between classes rather than drawn at random, so that two of its examples share a class less
    often than two independent draws do. The numerator is therefore put together from the cells, with the classes'
    shares w_a = n_a / n in the probe as weights. With C_ab the mean and S_ab the sum over the pairs of a cell,

        O = Σ_ab w_a w_b C_ab = Σ_{a≠b} S_ab / n² + Σ_a w_a² S_aa / (n_a (n_a − 1)),

    which is unbiased for a balanced and for a random sample alike. Where a class has a single example, C_aa is unknown,
    and the mean over all pairs takes its place.

    The standard error is the delete-one jackknife within classes (Efron and Stein 1981), sqrt(Σ_a (n_a − 1)/n_a
    Σ_i∈a (γ_(i) − mean)²), where the classes' shares stay.
    """
    classes, counts, squared_norms = half.classes, half.counts, half.squared_norms
    products, own = half.products
    if (counts == 1).any():  # such a class has no pair within it
        classes, counts, own = np.zeros_like(classes), np.array([float(len(classes))]), products
    count = len(classes)
    if count < 2:
        return Coherence(*(math.nan,) * 4)

    def by_class(values: np.ndarray) -> np.ndarray:
        return np.bincount(classes, values, len(counts))

    counts = np.maximum(counts, 2)  # classes without examples have sums of 0
    weights = counts / count
    within = by_class(own)
    within_means = within / (counts * (counts - 1))
    between = (by_class(products) - within) / count**2  # of each class with the others, weighted
    mean_product = float(weights**2 @ within_means + between.sum())
    mean_square = float(squared_norms.mean())
    unit = half.sums.unit**2
    if mean_square == 0:
        return Coherence(0.0, 0.0, math.nan, math.nan)
    return Coherence(
        mean_square * unit,
        mean_product * unit,
        mean_product / mean_square,
        _jackknife_error(
            classes, counts, (products, own, squared_norms), (within, between), (mean_product, mean_square)
        ),
    )


def _jackknife_error(
    classes: np.ndarray,
    counts: np.ndarray,
    examples: tuple[np.ndarray, np.ndarray, np.ndarray],
    by_class: tuple[np.ndarray, np.ndarray],
    whole: tuple[float, float],
) -> float:
    """Standard error of γ from the values that it has without each example; names as in `coherence`."""
    products, own, squared_norms = examples
    within, between = by_class
    mean_product, mean_square = whole
    count = len(classes)
    if counts[classes].min() < 3:
        return math.nan
    rest = counts - 1
    weights = counts / count

    def changes(before: np.ndarray, kept: np.ndarray, lost: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Of `before`, by class, to `(kept − lost) · value`: kept and value by class, lost by example."""
        return kept[classes] - lost * value[classes] - before[classes]

    # Without an example, those that its class has left count for it.
    scale = weights**2 / (rest * np.maximum(rest - 1, 1))
    product_without = (
        mean_product
        + changes(within * weights**2 / (counts * rest), within * scale, 2 * own, scale)
        + 2 * changes(between, between * counts / rest, products - own, weights / rest / count)
    )
    totals = np.bincount(classes, squared_norms, len(counts))
    square_without = mean_square + changes(totals / count, totals * weights / rest, squared_norms, weights / rest)
    if square_without.min() <= 0:
        return math.nan
    without = product_without / square_without
    deviations = without - (np.bincount(classes, without, len(counts)) / counts)[classes]
    return math.sqrt((rest / counts)[classes] @ deviations**2)


STATISTICS = (
    Statistic(
        "mean_squared_norm",
        "mean squared length of a gradient",
        "squared gradient",
        lambda half: coherence(half).mean_squared_norm,
    ),
    Statistic(
        "squared_mean_norm",
        "unbiased estimate of the squared length of the expected gradient",
        "squared gradient",
        lambda half: coherence(half).squared_mean_norm,
    ),
    Statistic(
        "coherence",
        "ratio of the squared length of the mean gradient to the mean squared length",
        "1",
        lambda half: Estimate(coherence(half).value, coherence(half).se),
        "Chatterjee and Zielinski 2020, arXiv 2008.01217",
        beside=("se",),
    ),
)
