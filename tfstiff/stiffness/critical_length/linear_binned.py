"""The critical length from a straight line through bin means, each weighted by how surely it is known."""

from __future__ import annotations

import numpy as np

from tfstiff.records.pair_set import CriticalLength
from tfstiff.stiffness.critical_length.curve import Curve
from tfstiff.stiffness.critical_length.zeros import of_line, zeros
from tfstiff.stiffness.lines import Lines, at_least


def linear_binned(curve: Curve) -> CriticalLength:
    """ξ where the line of `fit_binned_line` reaches 0."""
    lines, ends = fit_binned_line(curve), curve.ends
    found = zeros(lines, np.array(ends[:1]), np.array(ends[1:]), curve.scale)
    return of_line(curve, lines, found, 0, "linear_binned", num_pairs=int(curve.profile.count.sum()))


def fit_binned_line(curve: Curve) -> Lines:
    """Fits one line to the means of bins at their centres, with weights `1 / V` of the bins' variances V.

    Weights of 1 / N would take pairs for independent. Bins share examples, too: the covariance is that of `strata` of
    what each example changes in the weighted sum, all bins together. Bins that have no standard error, or one of 0, are
    left out; with fewer than two, everything is NaN.
    """
    sums, strata, profile, metric = curve.sums, curve.strata, curve.profile, curve.metric
    mean, se = curve.means
    usable = np.flatnonzero(se > 0)
    nan = np.full(1, np.nan)
    if len(usable) < 2:
        return Lines(nan, nan, np.full((1, 2, 2), np.nan), nan)
    centres = (profile.edges[:-1] + profile.edges[1:])[usable] / 2
    design = np.stack([np.ones_like(centres), centres])
    weighted = design / se[usable] ** 2
    to_line = np.linalg.solve(weighted @ design.T, weighted)  # (2, bins)
    line = to_line @ mean[usable]

    count = profile.count[usable]
    counts = sums.bin_counts[:, usable]
    changes = (sums.bin_sums[metric][:, usable] - mean[usable] * counts) / (count - counts) @ to_line.T  # (E, 2)
    noise = sums.bin_squares[metric][usable] - mean[usable] ** 2 * count
    floor = (to_line * (noise / count**2)) @ to_line.T
    pairs = sums.group_moments[:, 0]
    kappa = (strata.kappa * pairs).sum() / pairs.sum()
    variance = -kappa * floor
    factors = strata.factors(pairs / pairs.sum())
    for side, factor, inverse in zip(strata.sides, factors, strata.inverse_counts, strict=True):
        members = strata.members[side]
        centred = changes[side] - members @ ((members.T @ changes[side]) * inverse[:, None])
        variance += (centred * (members @ factor)[:, None]).T @ centred
    degrees = np.array([strata.degrees.sum() - 1.0])
    return Lines(line[:1], line[1:], at_least(variance[None], floor[None]), degrees)
