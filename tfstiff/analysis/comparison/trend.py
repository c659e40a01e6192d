"""Does a quantity rise or fall with the learning rate? A rank test with the seeds as blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfstiff.analysis.comparison.observations import Observation

LEAST_SEEDS = 3  # fewer say nothing of other seeds, however small a p-value could be had of them
_RESAMPLES = 9_999


@dataclass(frozen=True)
class Trend:
    """A trend over k values of a setting.

    Attributes:
        num_values: k.
        num_seeds: Seeds that have an observation at each of them; the others play no part.
        num_incomplete: The others.
        tau: Kendall's τ between setting and quantity, −1 to 1, the mean over these seeds; pairs whose order is not
            known, since a value is censored, count as ties. NaN where there is no seed.
        p_value: Two-sided, of Page's test (1963) with the seeds as blocks; NaN of fewer than three seeds.
    """

    num_values: int
    num_seeds: int
    num_incomplete: int
    tau: float
    p_value: float


def trend(blocks: Sequence[Sequence[Observation]]) -> Trend:
    """Tests whether a quantity goes up or down along a setting.

    In each block, an observation's score is the number of others that it is surely above less the number that it is
    surely below (Gehan 1965), which ranks values that are known and does with bounds what can be done. Without ties
    the p-value is that of `scipy.stats.page_trend_test`; with ties it is that of Page's statistic under permutations
    within blocks (`scipy.stats.permutation_test`): all of them, or 9999 at random.

    Args:
        blocks: For each seed, its observations in the order of the setting.
    """
    complete = [block for block in blocks if not any(one.is_missing for one in block)]
    number, num_values = len(complete), max(map(len, blocks), default=0)
    if not complete or num_values < 2:
        return Trend(num_values, number, len(blocks) - number, math.nan, math.nan)
    orders = np.array([_order(block) for block in complete])
    upper = np.triu_indices(num_values, 1)
    tau = float(np.mean([order[upper].mean() for order in orders]))
    p_value = _p_value(-orders.sum(2)) if number >= LEAST_SEEDS and num_values >= 3 else math.nan
    return Trend(num_values, number, len(blocks) - number, tau, p_value)


def _order(block: Sequence[Observation]) -> np.ndarray:
    """(k, k): 1 where the column is surely above the row, −1 where below, 0 where that is not known."""
    low, high = np.array([one.low for one in block]), np.array([one.high for one in block])
    is_above = high[:, None] < low[None, :]
    return is_above.astype(float) - is_above.T


def _p_value(scores: np.ndarray) -> float:
    """Two-sided p-value of scores (seeds, values)."""
    from scipy.stats import page_trend_test, permutation_test, rankdata

    ranks = rankdata(scores, axis=1)
    weights = np.arange(1, ranks.shape[1] + 1)
    if np.all(np.sort(ranks, axis=1) == weights):
        rising, falling = (page_trend_test(one, method=_method(ranks.shape)).pvalue for one in (ranks, ranks[:, ::-1]))
        return float(min(1.0, 2 * min(rising, falling)))
    found = permutation_test(
        tuple(ranks.T),
        lambda *columns, axis: sum(
            weight * np.sum(column, axis) for weight, column in zip(weights, columns, strict=True)
        ),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def _method(shape: tuple[int, ...]) -> str:
    """Exact where that is quick."""
    return "exact" if shape[0] <= 20 and shape[1] <= 8 else "asymptotic"
