"""How gradients of one class align."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Statistic


def in_class_alignment(half: HalfSums) -> np.ndarray:
    """Ω_c of each class, (C,): the mean product of two gradients of the class over the square of their mean length.

    Ω_c = n_c Σ_{i≠j∈c} g_i · g_j / ((n_c − 1) (Σ_{i∈c} |g_i|)²); its mean over classes goes with generalisation (Mehta,
    Cutkosky and Neyshabur 2021, "Extreme memorization via scale of initialization", arXiv 2008.13363). Like the
    within-class cosine, but long gradients count for more. NaN for classes of fewer than two examples or of zero
    gradients only.
    """
    lengths = half.by_class(half.norms)
    defined = (half.counts > 1) & (lengths > 0)
    scale = np.where(defined, (half.counts - 1) * lengths**2, 1)
    return np.where(defined, half.counts * half.by_class(half.products[1]) / scale, np.nan)


def mean_in_class_alignment(half: HalfSums) -> float:
    """The mean of Ω_c over the classes that have one; NaN where none has."""
    found = in_class_alignment(half)
    defined = found[~np.isnan(found)]
    return float(defined.mean()) if len(defined) else math.nan


STATISTICS = (
    Statistic(
        "in_class_alignment",
        "alignment of gradients of one class, weighted by their lengths",
        "1",
        mean_in_class_alignment,
        "Mehta, Cutkosky and Neyshabur 2021, arXiv 2008.13363",
        needs_classes=True,
    ),
)
