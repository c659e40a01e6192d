"""Straight lines through pairs, from sums over them: of all pairs, of each class, and of all classes with one slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfstiff.stiffness.strata import Strata
from tfstiff.stiffness.sums import DistanceSums

_ROUNDING = 1e-12  # distances that differ by less, of the largest, are equal


@dataclass(frozen=True)
class Lines:
    """Lines `s = intercept + slope · d`, NaN where none can be fitted.

    The first is of all pairs; the second has one slope for all groups and an intercept for each, of which it holds the
    mean; one for each group follows.

    Attributes:
        intercept: (2 + K,) α.
        slope: (2 + K,) β.
        covariance: (2 + K, 2, 2) of the two; NaN where it cannot be estimated.
        degrees: (2 + K,) degrees of freedom of the covariance.
    """

    intercept: np.ndarray
    slope: np.ndarray
    covariance: np.ndarray
    degrees: np.ndarray


def fit_lines(sums: DistanceSums, strata: Strata, metric: str) -> Lines:
    """Fits lines by ordinary least squares to pairs, each pair counted alike.

    A line without the pairs of one example follows from the sums less those of the example, so that its change δ_i is
    exact, and `strata` tells the covariance. To first order the line changes by A⁻¹ x_p e_p with each pair, for x_p =
    (1, d_p), residuals e_p and A = Σ x_p x_pᵀ; that gives the noise of pairs.

    Args:
        sums: Against distance.
        strata: Their groups.
        metric: `sign` or `cosine`.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _fit(sums, strata, metric)


def _fit(sums: DistanceSums, strata: Strata, metric: str) -> Lines:
    pairs = sums.group_moments[:, 0]
    # Σ s, Σ s d, Σ 1, Σ d, Σ d² of all pairs and of each group, (5, 1 + K), and of both without an example, (5, 2, E).
    by_group = np.concatenate([sums.group_sums[metric][:, :2], sums.group_moments[:, :3]], 1).T
    by_set = np.concatenate([by_group.sum(1, keepdims=True), by_group], 1)
    by_example = np.concatenate([sums.line_sums[metric].T, sums.moments.T])
    # To which line of which kind (of all pairs, with a common slope, of the group) groups and examples belong.
    line_of_group = np.stack([np.zeros(len(pairs), int), np.ones(len(pairs), int), np.arange(2, len(pairs) + 2)])
    line_of_example = line_of_group[:, sums.groups]
    left = by_set[:, line_of_example[::2] - np.array([[0], [1]])] - by_example[:, None]

    sets, sets_left = _sets(by_set), _sets(left)
    has_spread = sums.largest - sums.smallest > _ROUNDING * sums.largest
    present = pairs > 0
    num_present = max(int(present.sum()), 1)
    # A common slope follows from the sums of spread and shared over groups, the mean intercept from the means of means.
    weights = np.array([[1 / num_present], [1 / num_present], [1.0], [1.0]])
    own = np.where(present, sets[:, 1:] * weights, 0)
    own[2:] *= has_spread
    own_of_example = own[:, sums.groups]
    own_left = np.where(np.isfinite(sets_left[2, 1]), sets_left[:, 1] * weights, own_of_example * (weights < 1))
    common = own.sum(1)
    common_left = common[:, None] - own_of_example + own_left
    sets = np.concatenate([sets[:, :1], common[:, None], sets[:, 1:]], 1)
    sets_left = np.stack([sets_left[:, 0], common_left, sets_left[:, 1]], 1)
    line = _line(sets)
    changes = _line(sets_left) - line[:, line_of_example]  # (2, 3, E)

    length = np.fmax.reduce(sums.largest) - np.fmin.reduce(sums.smallest)
    possible = np.append([length > _ROUNDING * np.fmax.reduce(sums.largest), has_spread.any()], has_spread)
    line[:, ~possible] = np.nan
    noise = _noise(sums, strata, metric, line[:, line_of_group], sets[:, line_of_group])
    covariance, degrees = _covariance(strata, sums.groups, pairs, (line, line_of_example), changes, noise)
    known = np.isfinite(covariance).all((1, 2)) & possible & (degrees > 0)
    covariance[~known] = degrees[~known] = np.nan
    return Lines(line[0], line[1], covariance, degrees)


def _sets(sums: np.ndarray) -> np.ndarray:
    """(4, …) mean d, mean s, Σ (d - mean d)² and Σ (d - mean d) s, from (5, …) Σ s, Σ s d, Σ 1, Σ d, Σ d²."""
    means = sums[[3, 0]] / sums[2]
    return np.concatenate([means, sums[[4, 1]] - sums[[3, 0]] * means[0]])


def _line(sets: np.ndarray) -> np.ndarray:
    """(2, …) intercepts and slopes of `_sets`."""
    slope = sets[3] / sets[2]
    return np.stack([sets[1] - slope * sets[0], slope])


def _noise(sums: DistanceSums, strata: Strata, metric: str, line: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """(3, K, 2, 2): the covariance of (α, β) that each group adds to each kind of line if pairs were independent.

    Args:
        sums: Against distance.
        strata: Their groups.
        metric: `sign` or `cosine`.
        line: (2, 3, K) intercepts and slopes.
        sets: (4, 3, K) what they follow from.
    """
    powers, products, squares = sums.group_moments, sums.group_sums[metric], sums.group_squares[metric]
    count = powers[:, 0]
    intercept, slope = line[0].copy(), line[1]
    intercept[1] = sets[1, 2] - slope[1] * sets[0, 2]  # each group's own
    # β changes by (d - centre) e / spread with each pair, α by e / pairs - middle · that.
    middle, spread = sets[0], sets[2]
    centre = sets[0, [0, 2, 2]]
    pairs = np.stack([np.full_like(count, count.sum()), count * np.count_nonzero(count), count])
    to_line = np.stack([1 / pairs + middle * centre / spread, -middle / spread, -centre / spread, 1 / spread], -1)
    to_line = to_line.reshape(*slope.shape, 2, 2)
    a, b = intercept[..., None], slope[..., None]
    errors = products[:, :2] - a * powers[:, :2] - b * powers[:, 1:3]  # Σ e d^k for k = 0, 1
    moments = squares - 2 * (a * products[:, :3] + b * products[:, 1:])  # Σ e² d^k for k = 0, 1, 2
    moments += a * a * powers[:, :3] + 2 * a * b * powers[:, 1:4] + b * b * powers[:, 2:]
    mean = errors[..., None] * errors[..., None, :] / np.maximum(strata.all_pairs, 1)[:, None, None]
    of_sums = moments[..., [0, 1, 1, 2]].reshape(to_line.shape) - mean
    return np.where((count > 0)[:, None, None], to_line @ of_sums @ to_line.swapaxes(-1, -2), 0)


def _covariance(
    strata: Strata,
    groups: np.ndarray,
    pairs: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
    changes: np.ndarray,
    noise: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(2 + K, 2, 2) covariances and (2 + K,) degrees of freedom.

    Degrees of freedom are Satterthwaite's for changes that are normal with a variance of their own each, `(Σ σ²)² /
    Σ σ⁴ = 3 (Σ δ²)² / Σ δ⁴`, of the line's value at its zero: few where few examples decide. At most there are as many
    as examples, less strata, less one.

    Args:
        strata: The groups.
        groups: (E,) the group of each example.
        pairs: (K,) pairs in each.
        lines: (2, 2 + K) intercepts and slopes, and (3, E) which of them each example belongs to.
        changes: (2, 3, E) of the lines without each example; changed in place.
        noise: (3, K, 2, 2) of pairs.
    """
    line, line_of_example = lines
    flat = changes.reshape(6, -1)
    share = pairs / max(pairs.sum(), 1)
    factors = np.sqrt(strata.factors(np.stack([share, share, np.ones_like(share)])))
    for side, inverse, factor in zip(strata.sides, strata.inverse_counts, factors, strict=True):
        part, place = flat[:, side], groups[side]
        part -= (part @ strata.members[side] * inverse)[:, place]
        part *= np.concatenate([factor, factor])[:, place]
    flat[:, groups < 0] = 0
    zero = np.where(line[1] != 0, -line[0] / line[1], 0)[line_of_example]
    alpha, beta = changes
    squared = (alpha + zero * beta) ** 2
    sums = np.concatenate([alpha * alpha, alpha * beta, beta * beta, squared, squared * squared]) @ strata.members
    sums = sums.reshape(5, 3, -1)
    first_order = sums[[0, 1, 1, 2]].transpose(1, 2, 0).reshape(noise.shape)
    variance = first_order - strata.kappa[:, None, None] * noise
    variance, floor, squares, fourths = (
        np.concatenate([part[:2].sum(1), part[2]]) for part in (variance, noise, sums[3], sums[4])
    )
    most = np.append([strata.degrees.sum() - 1] * 2, strata.degrees - 1)
    degrees = np.where(fourths > 0, np.minimum(3 * squares * squares / fourths, most), most)
    return at_least(variance, floor), degrees


def at_least(variance: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """(L, 2, 2) `floor` and what `variance` exceeds it by, without the directions in which it falls short.

    In the basis in which the floor is 1 (its Cholesky factor), so that it matters not in which units and from which
    origin distances are counted, the excess E has eigenvalues λ and μ, and its part of positive eigenvalues is
    `(max(λ, 0) (E - μ) - max(μ, 0) (E - λ)) / (λ - μ)`.
    """
    first = np.sqrt(np.maximum(floor[:, 0, 0], 0))
    first[first == 0] = 1
    mixed = floor[:, 0, 1] / first
    second = np.sqrt(np.maximum(floor[:, 1, 1] - mixed * mixed, 0))
    second[second == 0] = 1
    nothing = np.zeros_like(first)
    factor = np.stack([first, nothing, mixed, second], 1).reshape(-1, 2, 2)
    inverse = np.stack([second, nothing, -mixed, first], 1).reshape(-1, 2, 2) / (first * second)[:, None, None]
    excess = inverse @ (variance - floor) @ inverse.swapaxes(1, 2)
    middle, half = (excess[:, 0, 0] + excess[:, 1, 1]) / 2, (excess[:, 0, 0] - excess[:, 1, 1]) / 2
    half = np.sqrt(half * half + excess[:, 0, 1] ** 2)
    larger, smaller = np.maximum(middle + half, 0), np.maximum(middle - half, 0)
    slope = np.where(half > 0, (larger - smaller) / np.where(half > 0, 2 * half, 1), 0)
    excess *= slope[:, None, None]
    diagonal = np.einsum("lii->li", excess)  # a view
    diagonal += (larger - slope * (middle + half))[:, None]
    found = floor + factor @ excess @ factor.swapaxes(1, 2)
    diagonal = np.einsum("lii->li", found)
    np.maximum(diagonal, 0, out=diagonal)  # perfect fits leave rounding, of either sign
    return found
