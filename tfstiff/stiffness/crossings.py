"""The critical length without a straight line: where a curve first falls to 0. Intervals need every pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tfstiff.records.pair_set import CriticalLength, DistanceProfile
from tfstiff.stiffness.distance import LEAST_EXAMPLES, LEAST_PAIRS
from tfstiff.stiffness.resampling import PairValues, bootstrap

# Where a curve lies that crosses 0 nowhere: below it from the beginning, or above to the end.
BELOW, ABOVE = -np.inf, np.inf
_Estimate = Callable[[np.ndarray], np.ndarray]  # from weights of pairs (R, N) to crossings (R,)


def first_crossing(
    profile: DistanceProfile, metric: str, pairs: PairValues | None, *, direction: int = 1, replicates: int = 1000
) -> CriticalLength:
    """ξ where the binned curve first crosses 0, walking out from the nearest pairs.

    It crosses where two consecutive bins lie below 0, by a straight line from the bin before them. Bins with too few
    pairs or examples are passed over. (Version 1 of Fort et al. takes the first zero crossing of such curves.)

    Args:
        profile: Stiffness against distance.
        metric: `sign` or `cosine`.
        pairs: Every pair, from which examples are drawn again for the interval; None for no interval.
        direction: -1 where the largest "distance" is that of the nearest pairs, as of similarities.
        replicates: How often examples are drawn.
    """
    mean = profile.mean if metric == "cosine" else profile.mean_sign
    usable = (profile.count >= LEAST_PAIRS) & (profile.num_examples >= LEAST_EXAMPLES)
    centres = (direction * (profile.edges[:-1] + profile.edges[1:]) / 2)[usable][::direction]
    value = float(crossing_of_curve(centres, mean[usable][::direction])) if usable.any() else np.nan
    filled = profile.edges[:-1][profile.count > 0], profile.edges[1:][profile.count > 0]
    ends = (float(filled[0].min(initial=np.inf)), float(filled[1].max(initial=-np.inf)))
    limits = None
    if pairs is not None and usable.any():
        limits = bootstrap(pairs, _curves(pairs, profile.edges, usable, direction), replicates)
    ends = ends if profile.count.any() else (np.nan, np.nan)
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

    def estimate(weights: np.ndarray) -> np.ndarray:
        found = []
        for row in weights[:, order]:
            kept = row > 0
            found.append(isotonic_crossing(distance[kept], values[kept], row[kept]) if kept.any() else ABOVE)
        return np.array(found)

    ends = (float(pairs.distance.min()), float(pairs.distance.max()))
    limits = bootstrap(pairs, estimate, replicates)
    return _length(isotonic_crossing(distance, values), limits, ends, len(order), direction, "isotonic", metric)


def crossing_of_curve(places: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Where curves first cross 0, for good: with two points below in a row.

    Args:
        places: (B,) increasing.
        means: (…, B) the curves' points; NaN are passed over.

    Returns:
        (…,) places; `BELOW` where a curve begins below 0, `ABOVE` where it crosses nowhere.
    """
    flat = np.reshape(means, (-1, means.shape[-1]))
    found = np.full(len(flat), ABOVE)
    for place, curve in enumerate(flat):
        known = ~np.isnan(curve)
        x, y = places[known], curve[known]
        crossings = np.flatnonzero((y[:-1] < 0) & (y[1:] < 0))
        if len(crossings):
            after = crossings[0]
            share = y[after - 1] / (y[after - 1] - y[after])
            found[place] = BELOW if after == 0 else x[after - 1] + share * (x[after] - x[after - 1])
    return found.reshape(means.shape[:-1])


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


def _curves(pairs: PairValues, edges: np.ndarray, usable: np.ndarray, direction: int) -> _Estimate:
    """What `bootstrap` estimates for `first_crossing`."""
    bins = np.clip(np.searchsorted(edges, pairs.distance, "right") - 1, 0, len(usable) - 1)
    order = np.argsort(bins, kind="stable")
    filled, starts = np.unique(bins[order], return_index=True)
    kept = usable[filled]
    centres = (direction * (edges[:-1] + edges[1:]) / 2)[filled][kept][::direction]

    def estimate(weights: np.ndarray) -> np.ndarray:
        weights = weights[:, order]
        count = np.add.reduceat(weights, starts, axis=1)
        total = np.add.reduceat(weights * pairs.values[order], starts, axis=1)
        means = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return crossing_of_curve(centres, means[:, kept][:, ::direction])

    return estimate


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
