"""Gradient disparity: how far apart steps on different mini-batches are."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Estimate, Statistic


def gradient_disparity(half: HalfSums) -> Estimate:
    """The mean distance between the mean gradients of two mini-batches (Forouzesh and Thiran 2021, arXiv 2107.06665).

    Of two batches A and B of s examples it is `|ḡ_A − ḡ_B| = √(wᵀ K w)`, where w is 1/s in A, −1/s in B and 0
    elsewhere: with M_AB the mean product of a gradient of A with one of B, `√(M_AA + M_BB − 2 M_AB)`. The batches are
    the disjoint ones that each half of the probe is cut into. Of independent gradients its square is `2 tr(Σ) / s` on
    average, so that it shrinks as batches grow. Unlike the authors' it divides no loss by its deviation.

    The standard error is the jackknife over batches; NaN with fewer than three.
    """
    present = half.batch_counts > 0
    counts, sums = half.batch_counts[present], half.batch_products[np.ix_(present, present)]
    count = len(counts)
    if count < 2:
        return Estimate(math.nan, math.nan)
    means = sums / np.outer(counts, counts)
    squares = means.diagonal()[:, None] + means.diagonal() - 2 * means
    distances = np.sqrt(np.maximum(squares, 0)) * half.sums.unit  # rounding leaves them below 0
    total, by_batch = distances.sum() / 2, distances.sum(0)
    without = (total - by_batch) / (math.comb(count - 1, 2) or math.nan)
    error = math.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return Estimate(total / math.comb(count, 2), error)


STATISTICS = (
    Statistic(
        "gradient_disparity",
        "mean distance between the mean gradients of two mini-batches of the probe",
        "gradient",
        gradient_disparity,
        "Forouzesh and Thiran 2021, arXiv 2107.06665",
        beside=("se",),
    ),
)
