"""Where straight lines reach 0, how surely, and what that says of ξ."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tfstiff.records.pair_set import CriticalLength
from tfstiff.stiffness.critical_length.curve import Curve, Scale
from tfstiff.stiffness.critical_length.lack_of_fit import lack_of_fit
from tfstiff.stiffness.intervals import quantile, zero_of_a_line
from tfstiff.stiffness.lines import Lines


class Zeros(NamedTuple):
    """Where L lines reach 0; members as in `CriticalLength`."""

    value: np.ndarray
    status: list[str]
    low: np.ndarray
    high: np.ndarray
    interval: list[str]


def zeros(lines: Lines, smallest: np.ndarray, furthest: np.ndarray, scale: Scale) -> Zeros:
    """Where lines reach 0.

    A slope whose error cannot be estimated, for want of examples, is taken as it is.

    Args:
        lines: L lines.
        smallest: (L,) smallest distance of each one's pairs.
        furthest: (L,) largest distance of each one's pairs.
        scale: What the distance says.
    """
    slope, mixed = scale.direction * lines.slope, scale.direction * lines.covariance[:, 0, 1]
    value = np.divide(-lines.intercept, slope, out=np.full_like(slope, np.nan), where=slope < 0)
    variances = lines.covariance[:, 0, 0], mixed, lines.covariance[:, 1, 1]
    low, high, interval = zero_of_a_line(lines.intercept, slope, variances, lines.degrees)
    error = quantile(lines.degrees) * np.sqrt(variances[2])
    falls = np.where(np.isnan(error), 0, error) < -slope
    undefined = np.isnan(value)
    low[undefined] = high[undefined] = np.nan
    interval = ["unavailable" if nothing else kind for nothing, kind in zip(undefined.tolist(), interval, strict=True)]
    if scale.direction < 0:
        smallest, furthest = -furthest, -smallest
    possible = 2 * furthest if scale.largest is None else np.full_like(furthest, scale.direction * scale.largest)
    each = (array.tolist() for array in (value, slope, falls, smallest, furthest, possible))
    status = [_status(*one) for one in zip(*each, strict=True)]
    if scale.direction < 0:
        value, low, high = -value, -high, -low
    return Zeros(value, status, low, high, interval)


def _status(value: float, slope: float, falls: bool, smallest: float, furthest: float, possible: float) -> str:
    if math.isnan(slope):
        return "too_few_pairs"
    if not falls:
        return "no_decay"
    if value < smallest:
        return "all_nonpositive"
    if value <= furthest:
        return "ok"
    return "extrapolated" if value <= possible else "beyond"


def of_line(
    curve: Curve,
    lines: Lines,
    found: Zeros,
    place: int,
    method: str,
    *,
    by_group: bool = False,
    num_pairs: int | None = None,
) -> CriticalLength:
    """The critical length of one of several lines.

    Args:
        curve: What they were fitted to.
        lines: L lines.
        found: Where they reach 0.
        place: Which of them.
        method: The rule's name.
        by_group: Whether each class has an intercept of its own.
        num_pairs: That it was fitted to; None means all compared.
    """
    return CriticalLength(
        value=float(found.value[place]),
        status=found.status[place],
        low=float(found.low[place]),
        high=float(found.high[place]),
        interval=found.interval[place],
        intercept=float(lines.intercept[place]),
        slope=float(lines.slope[place]),
        covariance=lines.covariance[place],
        distance_min=curve.ends[0],
        distance_max=curve.ends[1],
        num_pairs=int(curve.sums.group_moments[:, 0].sum()) if num_pairs is None else num_pairs,
        method=method,
        metric=curve.metric,
        lack_of_fit=lack_of_fit(curve, by_group=by_group),
    )
