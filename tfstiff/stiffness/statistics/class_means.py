"""The mean gradients of classes, and what is left within classes."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Statistic


def class_mean_gram(half: HalfSums) -> np.ndarray:
    """(C, C) products of the classes' mean gradients, `mean_{i∈a} g_i · mean_{j∈b} g_j`, in squared gradients.

    The means over cells of the Gram matrix, self pairs included. With the covariance within classes they make up the
    second moment of the gradients, as the class means do that of features and logit gradients in Papyan's work
    ("Traces of class/cross-class structure pervade deep learning spectra", JMLR 2020); his cross-class means need one
    gradient for each logit and are not these. NaN for classes without an example.
    """
    cells = np.outer(half.counts, half.counts)
    whole = half.product_cells()
    whole[np.diag_indices_from(whole)] += half.by_class(half.squared_norms)
    return np.divide(whole, cells, out=np.full(cells.shape, np.nan), where=cells > 0) * half.sums.unit**2


def within_class_trace(half: HalfSums) -> float:
    """Trace of the covariance within classes: mean |g|² − Σ_a (n_a / n) |mean_{i∈a} g_i|², in squared gradients."""
    count = half.counts.sum()
    if not count:
        return math.nan
    squares = half.by_class(half.squared_norms)
    of_means = (squares + half.by_class(half.products[1])) / np.maximum(half.counts, 1)
    return max(0.0, float((squares - of_means).sum() / count)) * half.sums.unit**2


STATISTICS = (
    Statistic(
        "within_class_trace",
        "trace of the covariance of gradients within classes",
        "squared gradient",
        within_class_trace,
        "Papyan 2020",
        needs_classes=True,
    ),
)
