"""How many gradients stand against each other, and how much."""

from __future__ import annotations

import math

from tfstiff.stiffness.statistics.statistic import Statistic
from tfstiff.stiffness.sums import PairSetSums


def negative_share(sums: PairSetSums) -> float:
    """The share of pairs whose gradients have a negative product: on which two examples harm each other.

    Gradient confusion (Sankararaman et al. 2020, arXiv 1904.06963) bounds the products of all pairs from below; as an
    extreme value that bound grows with the number of pairs. This share and `smallest_cosine` stand beside it.

    From the sums of the sign, Σ s = positive − negative, and of its square, Σ s² = positive + negative. NaN without
    pairs.

    Args:
        sums: Of any pair set.
    """
    sign = sums.values["sign"]
    pairs = sums.pair_counts().sum()
    return float((sign.squares.sum() - sign.rows.sum()) / 2 / pairs) if pairs else math.nan


STATISTICS = (
    Statistic("smallest_cosine", "smallest cosine of any pair", "1", lambda half: half.sums.smallest_cosine),
    Statistic(
        "negative_share",
        "share of pairs whose product is negative",
        "1",
        lambda half: negative_share(half.sums),
        "Sankararaman et al. 2020, arXiv 1904.06963",
        of_sample=True,
    ),
)
