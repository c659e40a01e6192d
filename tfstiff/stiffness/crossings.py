"""The critical length without a straight line: where a curve first falls to 0."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfstiff.records.pair_set import CriticalLength, DistanceProfile
from tfstiff.stiffness.distance import LEAST_EXAMPLES, LEAST_PAIRS
from tfstiff.stiffness.resampling import PairValues, bootstrap
from tfstiff.stiffness.sums import DistanceSums

# Where a curve lies that crosses 0 nowhere: below it from the beginning, or above to the end.
BELOW, ABOVE = -np.inf, np.inf


def first_crossing(
    sums: DistanceSums,
    profile: DistanceProfile,
    sides: Sequence[np.ndarray],
    metric: str,
    *,
    direction: int = 1,
    replicates: int = 1000,
) -> CriticalLength:
    """ξ where the binned curve first crosses 0, walking out from the nearest pairs.

    It crosses where two consecutive bins lie below 0, by a straight line from the bin before them. Bins with too few
    pairs or examples are passed over. (Version 1 of Fort et al. takes the first zero crossing of such curves.)

    The interval comes from drawing examples again, class by class: one drawn w times moves a bin's mean m by (w - 1)
    (T - m c) / N, with T the sum over its c pairs in the bin, of N pairs in all. That is a bootstrap to first order,
    which needs sums by example alone. It counts the noise of pairs twice, so each bin's moves are scaled to the bin's
    standard error, in which that noise is once.

    Args:
        sums: Against distance.
        profile: The bins.
        sides: Classes of the rows' examples, and of the columns' where they are others; -1 for those left out.
        metric: `sign` or `cosine`.
        direction: -1 where the largest "distance" is that of the nearest pairs, as of similarities.
        replicates: How often examples are drawn.
    """
    means, errors = (profile.mean, profile.mean_se) if metric == "cosine" else (profile.mean_sign, profile.mean_sign_se)
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
        moves = (sums.bin_sums[metric] - means * sums.bin_counts)[:, usable] / profile.count[usable]
        first_order = _scatter(moves, sides)
        known = np.isfinite(errors[usable]) & (first_order > 0)
        moves *= np.divide(errors[usable], first_order, out=np.ones(len(usable)), where=known)

        def estimate(*weights: np.ndarray) -> np.ndarray:
            return crossing_of_curve(centres, means[usable] + (np.hstack(weights) - 1) @ moves)

        limits = bootstrap(sides, estimate, replicates)
    return _length(value, limits, ends, int(profile.count.sum()), direction, "first_crossing", metric)


def isotonic_length(
    pairs: PairValues | None, metric: str, *, direction: int = 1, replicates: int = 1000
) -> CriticalLength:
    """ξ where the decreasing curve that fits pairs best falls to 0; `unavailable` without the pairs.

    Args:
        pairs: Every pair.
        metric: `sign` or `cosine`, of which `pairs` has the values.
        direction: -1 where the largest "distance" is that of the nearest pairs, as of similarities.
        replicates: How often examples are drawn for the interval.
    """
    if pairs is None:
        empty = _length(np.nan, None, (np.nan, np.nan), 0, direction, "isotonic", metric)
        return dataclasses.replace(empty, status="unavailable")
    if not len(pairs.rows):
        return _length(np.nan, None, (np.nan, np.nan), 0, direction, "isotonic", metric)
    order = np.argsort(direction * pairs.distance, kind="stable")
    distance, values = direction * pairs.distance[order], pairs.values[order]

    def estimate(*weights: np.ndarray) -> np.ndarray:
        found = []
        for row in (weights[0][:, pairs.rows] * weights[-1][:, pairs.columns])[:, order]:
            kept = row > 0
            found.append(isotonic_crossing(distance[kept], values[kept], row[kept]) if kept.any() else ABOVE)
        return np.array(found)

    ends = (float(pairs.distance.min()), float(pairs.distance.max()))
    limits = bootstrap(pairs.sides, estimate, replicates, numbers_each=len(order))
    return _length(isotonic_crossing(distance, values), limits, ends, len(order), direction, "isotonic", metric)


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


def isotonic_crossing(distance: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Where the decreasing curve that fits pairs best in squares falls to 0.

    It is a step function (by pooling adjacent violators; Barlow et al. 1972), and its crossing is taken in the middle
    between the last pair above 0 and the first that is not.

    Args:
        distance: (N,) increasing.
        values: (N,) values.
        weights: (N,) weights above 0; None means that pairs count alike.
    """
    from scipy.optimize import isotonic_regression  # not above: hardly anyone needs it, and it takes long to load

    curve = isotonic_regression(values, weights=weights, increasing=False).x
    above = np.count_nonzero(curve > 0)
    if above == len(curve):
        return ABOVE
    return BELOW if above == 0 else float(distance[above - 1] + distance[above]) / 2


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
    crossing: float,
    limits: tuple[float, float] | None,
    ends: tuple[float, float],
    num_pairs: int,
    direction: int,
    method: str,
    metric: str,
) -> CriticalLength:
    """A record of a crossing at `direction * crossing`; NaN means that there were too few pairs to see one."""
    status = {BELOW: "all_nonpositive", ABOVE: "beyond"}.get(crossing, "ok")
    low, high = (np.nan, np.nan) if limits is None else sorted(direction * limit for limit in limits)
    nan = float("nan")
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
        num_pairs=num_pairs,
        method=method,
        metric=metric,
    )
