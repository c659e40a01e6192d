"""Whether a quantity differs between two groups of runs: over their seeds, of which the probe's error says nothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from tfstiff.analysis.comparison.observations import Observation
from tfstiff.stiffness.intervals import LEVEL

_FEWEST = 2  # seeds of each group


@dataclass(frozen=True)
class Difference:
    """The difference of a quantity between the means of two groups.

    Attributes:
        value: The second less the first; NaN where it cannot be told.
        low: Lower end of its 95 % interval over seeds, by Welch's t; NaN where there is none.
        high: Its upper end.
        status: `ok`, `few_seeds` (fewer than two with a value in a group) or `censored` (some are known by a bound).
        num_seeds: Seeds with something known in the group that has fewer.
    """

    value: float
    low: float
    high: float
    status: str
    num_seeds: int


def difference(first: Sequence[Observation], second: Sequence[Observation]) -> Difference:
    """The difference of the means of two groups, second less first.

    Args:
        first: An observation of each seed.
        second: The same of the other group.
    """
    known = [[one for one in group if not one.is_missing] for group in (first, second)]
    number = min(map(len, known))
    values = [[one.value for one in group] for group in known]
    status = "few_seeds" if number < _FEWEST else "ok"
    if any(math.isnan(value) for group in values for value in group):
        status = "censored"
    if status != "ok":
        return Difference(math.nan, math.nan, math.nan, status, number)
    from scipy.stats import ttest_ind  # not above: it takes a second, and one run does without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are all alike
        limits = ttest_ind(values[1], values[0], equal_var=False).confidence_interval(LEVEL)
    means = [sum(group) / len(group) for group in values]
    return Difference(means[1] - means[0], float(limits.low), float(limits.high), "ok", number)
