"""Stiffness against distance: binned means, and the straight line whose zero is the dynamical critical length ξ."""

from __future__ import annotations

import numpy as np

from tfstiff.records.measurement import CriticalLength, DistanceProfile

_LARGEST_DISTANCE = 2.0  # of 1 − cos
_ROUNDING = 1e-12  # distances that differ by less are equal


def distance_profile(edges: np.ndarray, bins: np.ndarray, values: np.ndarray) -> DistanceProfile:
    """Means of `values` (N,) in the bins (N,) between `edges` (B + 1,)."""
    num_bins = len(edges) - 1
    count = np.bincount(bins, minlength=num_bins)
    total = np.bincount(bins, values, minlength=num_bins)
    return DistanceProfile(edges, np.divide(total, count, out=np.full(num_bins, np.nan), where=count > 0), count)


def critical_length(distance: np.ndarray, values: np.ndarray) -> CriticalLength:
    """Fits `value = intercept + slope · distance` to pairs by least squares; ξ is where it reaches 0.

    The paper (section 4.2) fits a linear function to same-class pairs and calls the distance at which it is 0 the
    dynamical critical length. Nothing is clipped: `status` says where ξ lies among the distances observed.

    Args:
        distance: (N,) distances.
        values: (N,) cosines of the pairs.
    """
    undefined = float("nan")
    if len(distance) < 2 or np.ptp(distance) < _ROUNDING:
        limits = (float(distance.min()), float(distance.max())) if len(distance) else (undefined, undefined)
        return CriticalLength(undefined, "too_few_pairs", undefined, undefined, *limits, len(distance))
    centred = distance - distance.mean()
    slope = float(centred @ values / (centred @ centred))
    intercept = float(values.mean() - slope * distance.mean())
    smallest, largest = float(distance.min()), float(distance.max())
    value = -intercept / slope if slope < 0 else undefined
    return CriticalLength(
        value, _status(value, slope, smallest, largest), intercept, slope, smallest, largest, len(distance)
    )


def _status(value: float, slope: float, smallest: float, largest: float) -> str:
    if not slope < 0:
        return "no_decay"
    if value < smallest:
        return "all_nonpositive"
    if value <= largest:
        return "ok"
    return "extrapolated" if value <= _LARGEST_DISTANCE else "beyond"
