"""Distances between examples as points of a space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SCIPY = {"l1": "cityblock", "l2": "euclidean"}  # what SciPy calls them
DISTANCES = ("cosine", "cosine_similarity", *_SCIPY)
_COSINE_STEPS = 2.0**40  # to one; their products round by some 2⁻⁵³·√width, far below a step


def distances_and_nearness(kind: str, x: np.ndarray, x2: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) distances, and the same as a share by which near duplicates are known; NaN where a point is not finite.

    Args:
        kind: One of `DISTANCES`.
        x: (n, d) points.
        x2: (m, d) points.
        unit: `mean_length` of all.
    """
    if kind in _SCIPY:
        from scipy.spatial.distance import cdist  # not above: few need it, and it takes long to load

        distances = cdist(x, x2, _SCIPY[kind])
        return distances, distances / unit
    distances = cosine_distance(x, x2)
    return (1.0 - distances if kind == "cosine_similarity" else distances), distances


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
    cosines = unit_rows(finite_rows(x)) @ unit_rows(finite_rows(x2)).T
    return np.clip(1.0 - np.rint(cosines * _COSINE_STEPS) / _COSINE_STEPS, 0.0, 2.0)


def finite_rows(x: np.ndarray) -> np.ndarray:
    """(n, d) float64 with NaN for what is not finite."""
    return np.where(np.isfinite(x), x, np.nan).astype(np.float64)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """(n, d): the rows at length 1; zero rows stay zero."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm != 0)
