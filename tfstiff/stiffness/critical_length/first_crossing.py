"""ξ without a straight line: where the curve of binned means first falls to 0."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfstiff.records.pair_set import CriticalLength
from tfstiff.stiffness.critical_length.curve import Curve
from tfstiff.stiffness.distance import LEAST_EXAMPLES, LEAST_PAIRS
from tfstiff.stiffness.resampling import bootstrap

# Where a curve lies that crosses 0 nowhere: below it from the beginning, or above to the end.
BELOW, ABOVE = -np.inf, np.inf
_REPLICATES = 1000


def first_crossing(curve: Curve) -> CriticalLength:
    """ξ where the binned curve first crosses 0, walking out from the nearest pairs.

    It crosses where two consecutive bins lie below 0, by a straight line from the bin before them. Bins with too few
    pairs or examples are passed over. (Version 1 of Fort et al. takes the first zero crossing of such curves.)

    The interval comes from drawing examples again, class by class: one drawn w times moves a bin's mean m by (w - 1)
    (T - m c) / N, with T the sum over its c pairs in the bin, of N pairs in all. That is a bootstrap to first order,
    which needs sums by example alone. It counts the noise of pairs twice, so each bin's moves are scaled to the bin's
    standard error, in which that noise is once.
    """
    sums, profile, sides, direction = curve.sums, curve.profile, curve.sides, curve.scale.direction
    means, errors = curve.means
    usable = np.flatnonzero((profile.count >= LEAST_PAIRS) & (profile.num_examples >= LEAST_EXAMPLES))[::direction]
    filled = profile.count > 0
    ends = (
        float(profile.edges[:-1][filled].min(initial=np.inf)) if filled.any() else np.nan,
        float(profile.edges[1:][filled].max(initial=-np.inf)) if filled.any() else np.nan,
    )
    value, limits = np.nan, None
    if len(usable):
        centres = (direction * (profile.edges[:-1] + profile.edges[1:]) / 2)[usable]
        value = float(crossing_of_curve(centres, means[usable]))
        moves = (sums.bin_sums[curve.metric] - means * sums.bin_counts)[:, usable] / profile.count[usable]
        first_order = _scatter(moves, sides)
        known = np.isfinite(errors[usable]) & (first_order > 0)
        moves *= np.divide(errors[usable], first_order, out=np.ones(len(usable)), where=known)

        def estimate(*weights: np.ndarray) -> np.ndarray:
            return crossing_of_curve(centres, means[usable] + (np.hstack(weights) - 1) @ moves)

        limits = bootstrap(sides, estimate, _REPLICATES)
    return _length(curve, value, limits, ends)


def crossing_of_curve(places: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Where curves first cross 0, for good: with two points below in a row.

    Args:
        places: (B,) increasing.
        means: (…, B) the curves' points.

    Returns:
        (…,) places; `BELOW` where a curve begins below 0, `ABOVE` where it crosses nowhere.
    """
    below = (means[..., :-1] < 0) & (means[..., 1:] < 0)
    if not below.shape[-1]:
        return np.full(below.shape[:-1], ABOVE)
    after = below.argmax(-1)[..., None]
    before = np.maximum(after - 1, 0)
    above_0, below_0 = np.take_along_axis(means, before, -1), np.take_along_axis(means, after, -1)
    share = np.divide(above_0, above_0 - below_0, out=np.zeros(after.shape), where=after > 0)
    crossing = places[before] + share * (places[after] - places[before])
    return np.where(below.any(-1), np.where(after == 0, BELOW, crossing)[..., 0], ABOVE)


def _scatter(moves: np.ndarray, sides: Sequence[np.ndarray]) -> np.ndarray:
    """(B,) standard deviation of Σ w moves (E, B), with w how often an example is drawn."""
    variance = np.zeros(moves.shape[1])
    for part, classes in zip(np.split(moves, [len(sides[0])]), sides, strict=False):
        variance += (part * part).sum(0)
        for label in np.unique(classes[classes >= 0]):
            inside = part[classes == label]
            variance -= inside.sum(0) ** 2 / len(inside)
    return np.sqrt(np.maximum(variance, 0))


def _length(
    curve: Curve, crossing: float, limits: tuple[float, float] | None, ends: tuple[float, float]
) -> CriticalLength:
    """A record of a crossing at `direction * crossing`; NaN means that there were too few pairs to see one."""
    direction, nan = curve.scale.direction, float("nan")
    status = {BELOW: "all_nonpositive", ABOVE: "beyond"}.get(crossing, "ok")
    low, high = (np.nan, np.nan) if limits is None else sorted(direction * limit for limit in limits)
    return CriticalLength(
        value=direction * crossing if np.isfinite(crossing) else nan,
        status="too_few_pairs" if np.isnan(crossing) else status,
        low=float(low),
        high=float(high),
        interval="unavailable" if limits is None else "bounded",
        intercept=nan,
        slope=nan,
        covariance=np.full((2, 2), np.nan),
        distance_min=ends[0],
        distance_max=ends[1],
        num_pairs=int(curve.profile.count.sum()),
        method="first_crossing",
        metric=curve.metric,
    )
