"""Variances of estimates over pairs, where examples are drawn group by group: the jackknife, without its bias.

Let δ_i be what an estimate changes by when example i, and all pairs that hold it, are left out. Σ (δ_i - mean δ)² over
a group of examples counts the noise of pairs twice, since each pair is left out with either of its examples. For the
mean of a quantity h_p over N pairs, N_g of them the pairs of one sample of n examples, the variance is without bias

    Σ_g κ (Σ_i (1 - 2 N_g / (n N))² (δ_i - mean δ)² - Σ_p (h_p - mean h)² / N²),      κ = n(n - 1) / ((n - 2)(n - 3)),

and for pairs of samples of n and m, with 1 / n or 1 / m in place of 2 / n, κ = nm / ((n - 1)(m - 1)); `cells` says why,
and what κ is of a sample of the pairs. Estimates that are smooth functions of such means, as those of bins and lines
are, get the same with the noise taken to first order. With δ to first order as well and κ = 1 it is the dyadic-robust
variance of Fafchamps and Gubert (2007) and of Aronow, Samii and Assenova (2015); that is too small where few examples
decide, which the jackknife mends (MacKinnon and White 1985, of ordinary regressions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfstiff.stiffness.sums import DistanceSums


@dataclass(frozen=True)
class Strata:
    """The groups that examples were drawn from; rows and columns are drawn apart where they differ.

    Attributes:
        members: (E, K) float64, one where the example is of the group.
        sides: The places of the rows' and of the columns' examples; one that holds all in a symmetric pair set.
        counts: (sides, K) float64, examples.
        kappa: (K,) float64, κ; 0 in groups with too few examples to tell their mean from noise. Of these neither is
            taken off: too much rather than too little.
        all_pairs: (K,) float64, pairs in a group, of which all or some are compared.
    """

    members: np.ndarray
    sides: tuple[slice, ...]
    counts: np.ndarray
    kappa: np.ndarray
    all_pairs: np.ndarray

    def factors(self, share: np.ndarray) -> np.ndarray:
        """What the squares of δ count for, (sides, …, K), by `share` (…, K), the groups' shares of all pairs."""
        held = (
            2
            / len(self.sides)
            * share
            / np.maximum(self.counts.reshape(len(self.sides), *[1] * (share.ndim - 1), -1), 1)
        )
        return np.where(self.kappa > 0, self.kappa * (1 - held) ** 2, 1)

    @property
    def inverse_counts(self) -> np.ndarray:
        """(sides, K) float64: what turns a sum of δ into the mean that is taken off."""
        return np.where(self.kappa > 0, 1 / np.maximum(self.counts, 1), 0)

    @property
    def inverse_kappa(self) -> np.ndarray:
        """(K,) float64: 1 / κ; 0 in groups with too few examples."""
        return np.where(self.kappa > 0, 1 / np.where(self.kappa > 0, self.kappa, 1), 0)

    @property
    def degrees(self) -> np.ndarray:
        """(K,) float64: degrees of freedom, examples less one for each stratum."""
        return np.maximum(self.counts - 1, 0).sum(0)


def strata_of(sums: DistanceSums, num_rows: int | None, pairs: np.ndarray | None = None) -> Strata:
    """The groups of a pair set.

    Args:
        sums: Its sums against distance.
        num_rows: The rows' examples, which come first; None in a symmetric pair set.
        pairs: (C, C) ordered pairs of each cell where they are a sample; None means all.
    """
    members = (sums.groups[:, None] == np.arange(len(sums.group_moments))).astype(np.float64)
    ones = np.ones(len(members))
    if num_rows is None:
        n = ones @ members
        all_pairs = n * (n - 1) / 2 if pairs is None else _of_groups(pairs, len(n)) / 2
        left = all_pairs - 4 * all_pairs / np.maximum(n, 1) + 1  # that share no example with one of them
        return Strata(members, (slice(None),), n[None], _kappa(all_pairs, left, n > 3), all_pairs)
    sides = (slice(num_rows), slice(num_rows, None))
    n, m = (ones[side] @ members[side] for side in sides)
    all_pairs = n * m if pairs is None else _of_groups(pairs, len(n))
    left = all_pairs - all_pairs / np.maximum(n, 1) - all_pairs / np.maximum(m, 1) + 1
    return Strata(members, sides, np.stack([n, m]), _kappa(all_pairs, left, (n > 1) & (m > 1)), all_pairs)


def _of_groups(pairs: np.ndarray, num_groups: int) -> np.ndarray:
    """(K,) float64: pairs of the groups, which are the classes, or one of all."""
    return (pairs.diagonal() if num_groups == len(pairs) else pairs.sum(keepdims=True)[0]).astype(np.float64)


def _kappa(all_pairs: np.ndarray, left: np.ndarray, enough: np.ndarray) -> np.ndarray:
    return np.where(enough, all_pairs / np.where(enough, np.maximum(left, 1), 1), 0)
