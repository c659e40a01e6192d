"""Distances between examples as points of a space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_SCIPY = {"l1": "cityblock", "l2": "euclidean"}  # what SciPy calls them
DISTANCES = ("cosine", "cosine_similarity", *_SCIPY)
ROWS_TOGETHER = 256  # of which distances to all others are computed
_COSINE_STEPS = 2.0**40  # to one; their products round by some 2⁻⁵³·√width, far below a step


def distances_and_nearness(
    kind: str, x: np.ndarray, x2: np.ndarray, unit: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Distances, and the same as a share by which near duplicates are known; NaN where a point is not finite.

    Args:
        kind: One of `DISTANCES`.
        x: (n, d) points.
        x2: (m, d) points.
        unit: `mean_length` of all.

    Yields:
        For some rows of `x` at a time: the first of them, their distances (r, m), and these as shares (r, m); where
        `x2` is `x`, to the points from the first of these rows on, (r, m - first). So what it takes to find the pairs
        that count does not grow as the number of all, and stays in a processor's cache.
    """
    points = finite_rows(x)
    points2 = points if x2 is x else finite_rows(x2)
    if kind not in _SCIPY:
        unit_rows(points)
        if points2 is not points:
            unit_rows(points2)
    for first in range(0, len(points), ROWS_TOGETHER):
        some = points[first : first + ROWS_TOGETHER]
        others = points[first:] if points2 is points else points2
        if kind in _SCIPY:
            from scipy.spatial.distance import cdist  # not above: few need it, and it takes long to load

            distances = cdist(some, others, _SCIPY[kind])
            yield first, distances, distances / unit
            continue
        distances = _distances_of_cosines(some @ others.T)
        yield first, (1.0 - distances if kind == "cosine_similarity" else distances), distances


def mean_length(kind: str, sides: Sequence[np.ndarray]) -> float:
    """Mean L1 or L2 length of all points; 1 where it is not needed, or zero."""
    if kind not in _SCIPY:
        return 1.0
    lengths = np.concatenate([np.linalg.norm(side, int(kind[1:]), axis=1) for side in sides])
    return float(np.mean(lengths[np.isfinite(lengths)])) or 1.0


def cosine_distance(x: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """(n, m) float64: `1 − x·x' / (|x| |x'|)`, between 0 and 2 (equation 8 of the paper); 1 where one is zero.

    NaN where a vector is not finite. In steps of 2⁻⁴⁰: pairs equally far apart, as many are where inputs are discrete,
    must have one distance, and duplicates 0, in whichever order products are added up; else noise orders and bins them.
    """
    return _distances_of_cosines(unit_rows(finite_rows(x)) @ unit_rows(finite_rows(x2)).T)


def finite_rows(x: np.ndarray) -> np.ndarray:
    """(n, d) float64, new, with NaN for what is not finite."""
    found = np.array(x, np.float64)
    found[~np.isfinite(found)] = np.nan
    return found


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Brings the rows of `x` (n, d) to length 1, in place; zero rows stay zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    x /= np.where(lengths == 0, 1.0, lengths)
    return x


def _distances_of_cosines(cosines: np.ndarray) -> np.ndarray:
    """The distances, in place of the cosines."""
    cosines *= _COSINE_STEPS
    np.rint(cosines, out=cosines)
    cosines /= -_COSINE_STEPS
    cosines += 1.0
    return np.clip(cosines, 0.0, 2.0, out=cosines)
