"""The dynamical critical length ξ from straight lines: where stiffness against distance reaches 0, and how surely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tfstiff.records.pair_set import ClassCriticalLengths, CriticalLength, DistanceProfile
from tfstiff.stiffness.binned_line import fit_binned_line
from tfstiff.stiffness.intervals import quantile, zero_of_a_line
from tfstiff.stiffness.lines import Lines, fit_lines
from tfstiff.stiffness.strata import Strata
from tfstiff.stiffness.sums import DistanceSums

_UNDEFINED = float("nan")


@dataclass(frozen=True)
class Scale:
    """What a kind of distance says.

    Attributes:
        largest: The largest one possible; None where there is no bound, and ξ is far away past twice the largest
            observed.
        direction: -1 for similarities, of which the largest is that of the nearest pairs.
    """

    largest: float | None
    direction: int = 1


SCALES = {
    "cosine": Scale(2.0),
    "cosine_similarity": Scale(-1.0, direction=-1),
    "l1": Scale(None),
    "l2": Scale(None),
}


def line_lengths(
    sums: DistanceSums, strata: Strata, metric: str, scale: Scale
) -> tuple[CriticalLength, CriticalLength | None, ClassCriticalLengths | None]:
    """ξ from straight lines through pairs: of all, with fixed effects of classes, and of each class.

    The paper (Fort et al., section 4.2) fits a linear function to same-class pairs and calls the distance at which it
    is 0 the dynamical critical length. Nothing is clipped: `status` says where ξ lies among the distances observed, and
    the interval is Fieller's.

    Pooling classes mixes how stiffness falls within a class with how classes differ, since in compact classes pairs are
    both nearer and stiffer. The line with fixed effects keeps to the first: one slope for all, an intercept for each
    class, and ξ at the mean intercept, in which classes count alike.

    Args:
        sums: Against distance.
        strata: Their groups.
        metric: `sign` or `cosine`.
        scale: What the distance says.

    Returns:
        The last two are None where pairs are not compared class by class.
    """
    lines = fit_lines(sums, strata, metric)
    count = sums.group_moments[:, 0].astype(np.int64)
    smallest, furthest = extremes(sums)
    found = zeros(
        lines,
        np.array([smallest, smallest, *sums.smallest]),
        np.array([furthest, furthest, *sums.largest]),
        scale,
    )
    ends, number = (smallest, furthest), int(count.sum())
    first = _length(lines, found, 0, ends, number, "linear", metric)
    if len(count) == 1:
        return first, None, None
    by_class = ClassCriticalLengths(
        value=found.value[2:],
        status=tuple(found.status[2:]),
        low=found.low[2:],
        high=found.high[2:],
        interval=tuple(found.interval[2:]),
        intercept=lines.intercept[2:],
        slope=lines.slope[2:],
        covariance=lines.covariance[2:],
        num_pairs=count,
    )
    return first, _length(lines, found, 1, ends, number, "fixed_effects", metric), by_class


def binned_length(
    sums: DistanceSums, strata: Strata, profile: DistanceProfile, metric: str, scale: Scale
) -> CriticalLength:
    """ξ from a straight line through the means of bins; see `fit_binned_line`.

    Args:
        sums: Against distance.
        strata: Their groups.
        profile: The bins.
        metric: `sign` or `cosine`.
        scale: What the distance says.
    """
    lines = fit_binned_line(sums, strata, profile, metric)
    ends = extremes(sums)
    found = zeros(lines, np.array(ends[:1]), np.array(ends[1:]), scale)
    return _length(lines, found, 0, ends, int(profile.count.sum()), "linear_binned", metric)


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


def extremes(sums: DistanceSums) -> tuple[float, float]:
    """The smallest and the largest distance of any pair; NaN where there is none."""
    present = sums.group_moments[:, 0] > 0
    if not present.any():
        return _UNDEFINED, _UNDEFINED
    return float(sums.smallest[present].min()), float(sums.largest[present].max())


def _length(
    lines: Lines, found: Zeros, place: int, ends: tuple[float, float], num_pairs: int, method: str, metric: str
) -> CriticalLength:
    return CriticalLength(
        value=float(found.value[place]),
        status=found.status[place],
        low=float(found.low[place]),
        high=float(found.high[place]),
        interval=found.interval[place],
        intercept=float(lines.intercept[place]),
        slope=float(lines.slope[place]),
        covariance=lines.covariance[place],
        distance_min=ends[0],
        distance_max=ends[1],
        num_pairs=num_pairs,
        method=method,
        metric=metric,
    )
