"""How many directions the gradients fill."""

from __future__ import annotations

import math

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Statistic


def participation_ratio(half: HalfSums) -> float:
    """(tr K)² / |K|²_F of the Gram matrix K: how many directions the gradients fill evenly, from 1 to n.

    With eigenvalues λ it is (Σ λ)² / Σ λ²; a count of dimensions used for neural populations (Gao et al. 2017, "A
    theory of multineuronal dimensionality"). It needs no eigenvalues. NaN where all gradients are zero.
    """
    frobenius = float(half.sums.products.squares.sum() + half.squared_norms @ half.squared_norms)
    return float(half.squared_norms.sum()) ** 2 / frobenius if frobenius else math.nan


STATISTICS = (
    Statistic(
        "participation_ratio", "how many directions the gradients fill", "1", participation_ratio, "Gao et al. 2017"
    ),
)
