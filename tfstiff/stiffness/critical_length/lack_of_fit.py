"""Whether pairs lie on a straight line at all: what ξ, the zero of one, hangs on."""

from __future__ import annotations

import numpy as np

from tfstiff.stiffness.critical_length.curve import Curve
from tfstiff.stiffness.lines import at_least

_POWERS = (2, 3)  # what pairs may do other than lie on a line: bend one way, or one way and then the other
_ROUNDING = 1e-10


def lack_of_fit(curve: Curve, *, by_group: bool = False) -> float:
    """The p-value of the hypothesis that stiffness is a straight line in distance; examples are the unit.

    Let q_b be the square and the cube of the mean distances of the bins, less what a straight line through the pairs
    explains of them. Then Q = Σ_b q_b Σ_p s_p, over the pairs p of bin b, is 0 in expectation for any straight line. To
    first order, leaving out an example changes Q by the sum over its pairs of q_b e_p, with e_p what the line leaves.
    `strata` tells the covariance V of Q, and Qᵀ V⁻¹ Q is referred to Hotelling's distribution (Hotelling 1931).

    Args:
        curve: Stiffness against distance.
        by_group: Whether each class has an intercept of its own.

    Returns:
        NaN where there are too few bins or examples to tell, or nothing but rounding is left by the line.
    """
    sums, strata, metric = curve.sums, curve.strata, curve.metric
    members = strata.members if by_group else strata.members.sum(1, keepdims=True)
    parts = sums.bin_sums[metric], sums.bin_counts, sums.bin_distances
    values, counts, distances = (members.T @ part / 2 for part in parts)  # each pair stands with both of its examples
    cells = counts > 0  # (groups, bins)
    if np.count_nonzero(cells.any(0)) < len(_POWERS) + 2:
        return float("nan")
    group, weights = np.nonzero(cells)[0], np.sqrt(counts[cells])[:, None]
    at = distances[cells] / counts[cells]
    at = (at - distances.sum() / counts.sum()) / np.ptp(at)
    line = np.column_stack([group[:, None] == np.flatnonzero(cells.any(1)), at]) * weights
    seen = np.column_stack([*(at**power for power in _POWERS), values[cells] / counts[cells]]) * weights
    fitted = line @ np.linalg.lstsq(line, seen, rcond=None)[0]
    contrasts = np.linalg.qr((seen - fitted)[:, :-1])[0]  # of length 1, so that V is well conditioned
    found = contrasts.T @ seen[:, -1]

    scores = np.zeros((*counts.shape, len(_POWERS)))
    scores[cells] = contrasts / weights
    left = _left_by_line(curve, members, by_group)
    of_examples = (members @ scores.reshape(len(scores), -1)).reshape(*left.shape, -1)
    changes = np.einsum("ebk,eb->ek", of_examples, left)
    if not (np.abs(changes).max(0) > _ROUNDING * np.abs(sums.bin_sums[metric]).max()).all():
        return float("nan")
    return _p_value(curve, found, changes, _noise(curve, values, counts, scores))


def _left_by_line(curve: Curve, members: np.ndarray, by_group: bool) -> np.ndarray:
    """(E, B): by example and bin, the sum over pairs of what the line through all of them leaves."""
    sums = curve.sums
    slope = curve.lines.slope[int(by_group)]
    totals = sums.group_sums[curve.metric][:, 0], sums.group_moments[:, 1], sums.group_moments[:, 0]
    value, distance, pairs = totals if by_group else (np.array([total.sum()]) for total in totals)
    intercepts = np.divide(value - slope * distance, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    expected = (members @ intercepts)[:, None] * sums.bin_counts + slope * sums.bin_distances
    return sums.bin_sums[curve.metric] - expected


def _noise(curve: Curve, values: np.ndarray, counts: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(k, k): the covariance of Q if pairs were independent."""
    squares = np.divide(values**2, counts, out=np.zeros_like(values), where=counts > 0)
    spread = np.maximum(curve.sums.bin_squares[curve.metric] - squares.sum(0), 0)
    return np.einsum("gbk,gbl,gb->kl", scores, scores, counts * spread / np.maximum(counts.sum(0), 1))


def _p_value(curve: Curve, found: np.ndarray, changes: np.ndarray, noise: np.ndarray) -> float:
    from scipy.special import fdtrc  # not above: commands that only read records start without it

    strata, pairs = curve.strata, curve.sums.group_moments[:, 0]
    factors = strata.factors(pairs / pairs.sum())
    centred = changes.copy()
    for side, factor, inverse in zip(strata.sides, factors, strata.inverse_counts, strict=True):
        members, part = strata.members[side], changes[side]
        centred[side] = (part - members @ ((members.T @ part) * inverse[:, None])) * np.sqrt(members @ factor)[:, None]
    kappa = (strata.kappa * pairs).sum() / pairs.sum()
    covariance = at_least((centred.T @ centred - kappa * noise)[None], noise[None])[0]
    # Satterthwaite's degrees of freedom, as of lines: few where few examples decide.
    squares = centred * centred
    decisive = 3 * squares.sum(0) ** 2 / (squares * squares).sum(0)
    size = len(found)
    degrees = min(decisive.min(), strata.degrees.sum() - 1 - size) - size + 1
    if degrees < 1:
        return float("nan")
    statistic = found @ np.linalg.solve(covariance, found)
    return float(fdtrc(size, degrees, statistic * degrees / (size * (degrees + size - 1))))
