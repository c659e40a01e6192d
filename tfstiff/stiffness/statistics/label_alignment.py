"""How gradients align with the classes."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Statistic

_ROUNDING = 1e-6  # of single precision: a centred matrix smaller than that, relative to the whole, is noise


def label_alignment(half: HalfSums) -> float:
    """Centred alignment of the matrix of cosines with that of "same class": gradient-Gram label alignment.

    ⟨HKH, HLH⟩ / (|HKH| |HLH|) with K the cosines, self pairs included, L_ij = 1 where two examples share their class,
    H = I − 1/n the centring (centred kernel alignment: Cortes, Mohri and Rostamizadeh 2012; as a measure of learning,
    for the neural tangent kernel, Baratin et al. 2021. K here is of loss gradients, not that kernel). 1 where gradients
    fall into one direction a class. Orthogonal gradients have sqrt((C − 1) / (n − 1)), for even classes, not 0.

    All of it follows from sums, with r_i = Σ_j K_ij:

        ⟨HKH, HLH⟩ = Σ_ij K_ij L_ij − (2/n) Σ_c n_c Σ_{i∈c} r_i + Σ_c (n_c/n)² Σ_i r_i,
        |HKH|² = Σ_ij K_ij² − (2/n) Σ r_i² + (Σ r_i)² / n²,

    and |HLH|² likewise, where r_i is the size of the class of i. NaN where there are fewer than two classes, or where
    all gradients are of one direction.
    """
    counts = half.counts
    count = counts.sum()
    if np.count_nonzero(counts) < 2:
        return math.nan
    self_pairs = half.norms > 0
    row_sums = half.cosines[0] + self_pairs
    total, size = row_sums.sum(), np.count_nonzero(self_pairs)
    matched = half.cosines[1].sum() + size - 2 / count * (counts @ half.by_class(row_sums))
    matched += (counts @ counts) / count**2 * total
    whole = half.sums.values["cosine"].squares.sum() + size
    cosines = whole - 2 / count * (row_sums @ row_sums) + (total / count) ** 2
    labels = counts @ counts - 2 / count * (counts**3).sum() + (counts @ counts / count) ** 2
    return float(matched / math.sqrt(cosines * labels)) if cosines > _ROUNDING * whole else math.nan


STATISTICS = (
    Statistic(
        "label_alignment",
        "centred alignment of the cosines with being of one class",
        "1",
        label_alignment,
        "Cortes, Mohri and Rostamizadeh 2012; Baratin et al. 2021",
        needs_classes=True,
    ),
)
