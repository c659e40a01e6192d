"""Stiffness against distance, in bins."""

from __future__ import annotations

import numpy as np

from tfstiff.records.pair_set import DistanceProfile
from tfstiff.stiffness.strata import Strata
from tfstiff.stiffness.sums import DistanceSums

# A bin with less has no standard error: few pairs make a bad estimate of it, and few examples a worse one.
LEAST_PAIRS, LEAST_EXAMPLES = 30, 10


def distance_profile(sums: DistanceSums, strata: Strata) -> DistanceProfile:
    """Mean sign and cosine of the pairs in each bin, with standard errors over examples.

    Let e_p be the deviation of a pair from the mean of its bin of N pairs, and T_i the sum of e over the c_i pairs that
    hold example i. Without the example the mean is less by `T_i / (N - c_i)`, and `strata` tells the variance. It is at
    least Σ e_p² / N², what it would be if pairs were independent.

    Args:
        sums: Against distance.
        strata: Their groups.
    """
    counts, share = sums.bin_counts, sums.group_moments[:, 0] / max(sums.group_moments[:, 0].sum(), 1)
    factors = strata.factors(share)
    count = np.ones(len(counts)) @ counts / 2  # each pair stands with both of its examples
    num_examples = np.ones(len(counts)) @ np.minimum(counts, 1)
    enough = (count >= LEAST_PAIRS) & (num_examples >= LEAST_EXAMPLES)
    if (enough & (num_examples == count + 1)).any():  # one example may be in all pairs of a bin: no error then
        enough &= counts.max(0) < count
    some = np.maximum(count, 1)
    kappa = (strata.members @ strata.kappa) @ counts / (2 * some)  # the noise is known of all groups together only
    # Σ δ of a side of a group is the group's Σ e over N (1 - held); of a symmetric pair set, twice that.
    between = (len(strata.sides) / 2) ** 2 * (factors[-1] * strata.inverse_kappa / np.maximum(strata.all_pairs, 1))
    left = 1 / np.maximum(some - counts, 1)
    means, errors = {}, {}
    for metric, by_example in sums.bin_sums.items():
        mean = np.ones(len(counts)) @ by_example / (2 * some)
        noise = np.maximum(sums.bin_squares[metric] - mean * mean * count, 0) / (some * some)
        changes = mean * counts
        np.subtract(by_example, changes, out=changes)
        changes *= left
        variance = np.zeros_like(mean)
        for side, factor, inverse in zip(strata.sides, factors, strata.inverse_counts, strict=True):
            members, change = strata.members[side], changes[side]
            total = members.T @ change
            total *= total
            variance += (members @ factor) @ (change * change) - (factor * inverse) @ total
        noise -= between @ total  # what the means of the groups differ by
        variance -= kappa * noise
        means[metric] = np.where(count > 0, mean, np.nan)
        errors[metric] = np.where(enough, np.sqrt(np.maximum(variance, noise)), np.nan)
    return DistanceProfile(
        edges=sums.edges,
        count=count.astype(np.int64),
        num_examples=num_examples.astype(np.int64),
        mean=means["cosine"],
        mean_se=errors["cosine"],
        mean_sign=means["sign"],
        mean_sign_se=errors["sign"],
        num_duplicates=sums.num_duplicates,
    )
