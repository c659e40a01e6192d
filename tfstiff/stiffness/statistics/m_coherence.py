"""How many examples a step on one of them helps, and its inverse, gradient diversity."""

from __future__ import annotations

import math

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Statistic


def m_coherence(half: HalfSums) -> float:
    """How many of the n examples a step on one of them helps: α_m = |Σ g|² / Σ |g|².

    Chatterjee and Zielinski 2020 (arXiv 2008.01217): the coherence of the sample itself, in units of its value 1/n
    where gradients are orthogonal. 0 where they cancel, 1 where they are orthogonal, n where they are equal. NaN where
    all are zero.
    """
    squares = float(half.squared_norms.sum())
    products = float(half.products[0].sum())
    return max(0.0, squares + products) / squares if squares else math.nan  # rounding leaves it below 0


def gradient_diversity(alpha: float) -> float:
    """Δ_S = Σ |g|² / |Σ g|² (Yin et al. 2018, arXiv 1706.05699): the inverse of the m-coherence.

    Their bound on the batch size is n Δ_S: larger mini-batches no longer gain speed in proportion.

    Args:
        alpha: The m-coherence.
    """
    if math.isnan(alpha):
        return math.nan
    return 1 / alpha if alpha else math.inf


def batch_size_bound(half: HalfSums) -> float:
    """N Δ_S, the bound of Yin et al. on the batch size."""
    return len(half.classes) * gradient_diversity(m_coherence(half))


STATISTICS = (
    Statistic(
        "m_coherence",
        "how many examples a step on one helps",
        "examples",
        m_coherence,
        "Chatterjee and Zielinski 2020, arXiv 2008.01217",
    ),
    Statistic(
        "gradient_diversity",
        "inverse of the m-coherence",
        "1",
        lambda half: gradient_diversity(m_coherence(half)),
        "Yin et al. 2018, arXiv 1706.05699",
    ),
    Statistic(
        "batch_size_bound",
        "batch size up to which mini-batches speed up training, by gradient diversity",
        "examples",
        batch_size_bound,
        "Yin et al. 2018, arXiv 1706.05699",
    ),
)
