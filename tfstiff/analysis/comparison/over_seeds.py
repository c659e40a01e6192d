"""A quantity over the seeds of a group: median and interval, also where some values are known by a bound only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfstiff.analysis.comparison.observations import Observation
from tfstiff.stiffness.intervals import LEVEL, interval


@dataclass(frozen=True)
class OverSeeds:
    """A quantity over n seeds.

    Attributes:
        num_seeds: Seeds of which something is known.
        num_censored: Of these, those of which only a bound is known.
        num_missing: Seeds of which nothing is known.
        median_low: The median; where values are censored, the least that it can be.
        median_high: The most that it can be.
        low: Lower end of an interval of the median that makes no assumption: an order statistic.
        high: Its upper end.
        coverage: Probability that such an interval holds the median of all seeds: 0.95 or more from six seeds on, less
            before, where it runs from the smallest to the largest value; NaN of one seed.
        mean: NaN where values are censored.
        standard_deviation: Over seeds. Each seed draws a probe of its own, so that it holds the probe's error too.
        mean_low: Lower end of the 95 % interval of the mean, by Student's t.
        mean_high: Its upper end.
        probe_half_width: Of the 95 % interval over the draw of the probe's examples, the median over seeds; NaN where
            there is none.
    """

    num_seeds: int
    num_censored: int
    num_missing: int
    median_low: float
    median_high: float
    low: float
    high: float
    coverage: float
    mean: float
    standard_deviation: float
    mean_low: float
    mean_high: float
    probe_half_width: float

    @property
    def center(self) -> tuple[float, float]:
        """What stands for the group, the least and the most that it is: the mean; of censored values the median."""
        return (self.median_low, self.median_high) if self.num_censored else (self.mean, self.mean)

    @property
    def limits(self) -> tuple[float, float]:
        """The interval of `center` over seeds: 95 % by Student's t; of the median `low` to `high`; NaN of one seed."""
        if self.num_seeds < 2:
            return math.nan, math.nan
        return (self.low, self.high) if self.num_censored else (self.mean_low, self.mean_high)


def over_seeds(observations: Sequence[Observation]) -> OverSeeds:
    """Summarises one observation of each seed.

    Each value is known to lie between two bounds, which are equal where it is known. The median is monotone in every
    value, so it lies between the median of the lower bounds and that of the upper ones, and the same holds for every
    order statistic. Of n values from a continuous distribution the k-th smallest and the k-th largest enclose its
    median with probability 1 − 2 P(B < k), B being binomial (n, ½); k is the largest with at least 95 %, or else 1.

    Args:
        observations: One a seed.
    """
    known = [one for one in observations if not one.is_missing]
    num_missing = len(observations) - len(known)
    number = len(known)
    num_censored = sum(one.low != one.high for one in known)
    if not known:
        return OverSeeds(0, 0, num_missing, *[math.nan] * 10)
    lows, highs = np.sort([one.low for one in known]), np.sort([one.high for one in known])
    rank, coverage = _order_statistic(number)
    values = lows if num_censored == 0 else np.full(number, np.nan)
    deviation = float(np.std(values, ddof=1)) if number > 1 else math.nan
    mean = float(np.mean(values))
    mean_low, mean_high = (
        interval(mean, deviation / math.sqrt(number), float(number - 1)) if number > 1 else (math.nan,) * 2
    )
    widths = [(one.interval_high - one.interval_low) / 2 for one in known if math.isfinite(one.interval_low)]
    return OverSeeds(
        num_seeds=number,
        num_censored=num_censored,
        num_missing=num_missing,
        median_low=_median(lows),
        median_high=_median(highs),
        low=float(lows[rank - 1]),
        high=float(highs[-rank]),
        coverage=coverage,
        mean=mean,
        standard_deviation=deviation,
        mean_low=float(mean_low),
        mean_high=float(mean_high),
        probe_half_width=float(np.median(widths)) if widths else math.nan,
    )


def _median(ordered: np.ndarray) -> float:
    """The median of sorted values; of an infinite and a finite one in the middle, the infinite one."""
    first, second = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(first) if first == second else float((first + second) / 2)


def _order_statistic(number: int) -> tuple[int, float]:
    """Which smallest and largest value enclose the median, and how surely."""
    from scipy.special import bdtr

    if number == 1:
        return 1, math.nan
    coverage = [1 - 2 * float(bdtr(rank - 1, number, 0.5)) for rank in range(1, number // 2 + 1)]
    rank = max((k for k, found in enumerate(coverage, 1) if found >= LEVEL), default=1)
    return rank, coverage[rank - 1]
