"""How the report writes estimates with their intervals."""

from __future__ import annotations

import math

from tfstiff.records.words import number
from tfstiff.stiffness.intervals import interval

_NO_VARIATION = 1e-9  # a standard error below it is rounding


def has_interval(low: float, high: float) -> bool:
    """Whether the two ends are those of an interval with an extent."""
    return math.isfinite(low) and math.isfinite(high) and high - low > _NO_VARIATION


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """`0.741 (95\u00a0% interval 0.717 to 0.765)`; the reason where there is no interval."""
    if math.isnan(value):
        return "not measurable"
    if has_interval(low, high):
        return f"{number(value, digits)} (95\u00a0% interval {number(low, digits)} to {number(high, digits)})"
    why = "too few examples" if math.isnan(low) or math.isnan(high) else "nothing varies among the pairs"
    return f"{number(value, digits)} (no interval: {why})"


def estimate(value: float, se: float, degrees: float = math.inf) -> str:
    """`with_interval` of an estimate with a standard error."""
    low, high = interval(value, se, degrees)
    return with_interval(value, float(low), float(high))


def cell(value: float, se: float, degrees: float = math.inf, digits: int = 3) -> str:
    """A table's cell: the value and half the width of its 95\u00a0% interval, `0.741 ± 0.024`."""
    half = float(interval(0.0, se, degrees)[1])
    return f"{number(value, digits)} ± {number(half, digits)}" if half > _NO_VARIATION else number(value, digits)
