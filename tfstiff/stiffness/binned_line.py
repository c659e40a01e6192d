"""The critical length from a straight line through bin means, each weighted by how surely it is known."""

from __future__ import annotations

import numpy as np

from tfstiff.records.pair_set import DistanceProfile
from tfstiff.stiffness.lines import Lines, at_least
from tfstiff.stiffness.strata import Strata
from tfstiff.stiffness.sums import DistanceSums


def fit_binned_line(sums: DistanceSums, strata: Strata, profile: DistanceProfile, metric: str) -> Lines:
    """Fits one line to the means of bins at their centres, with weights `1 / V` of the bins' variances V.

    Weights of 1 / N would take pairs for independent. Bins share examples, too: the covariance is that of `strata` of
    what each example changes in the weighted sum, all bins together. Bins that have no standard error, or one of 0, are
    left out; with fewer than two, everything is NaN.

    Args:
        sums: Against distance.
        strata: Their groups.
        profile: The bins.
        metric: `sign` or `cosine`.
    """
    mean, se = (profile.mean, profile.mean_se) if metric == "cosine" else (profile.mean_sign, profile.mean_sign_se)
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
