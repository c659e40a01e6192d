"""Which pairs of probe examples are compared, and how far apart they are: everything that no measurement changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_BINS = 20


@dataclass(frozen=True)
class Pairs:
    """The pairs of one pair set: every example of one half of the probe with every example of a half.

    Attributes:
        classes_rows: (n, C) float32, one-hot classes of the rows' examples; (n, 0) for regression targets.
        classes_columns: (m, C) float32, of the columns' examples.
        is_symmetric: Whether rows and columns are the same examples. Self pairs are left out then, and a pair and its
            mirror image count once where pairs are counted without order.
        near: (N,) int64, flat indices into the (n, m) block of the pairs compared by distance: those of the same class
            (all of them for regression targets), each once; without those whose inputs are not finite.
        distance: (N,) float64, their distance `1 − cos` of the inputs.
        edges: (B + 1,) float64, bin edges from the smallest to the largest distance.
        bins: (N,) int64, the bin of each.
    """

    classes_rows: np.ndarray
    classes_columns: np.ndarray
    is_symmetric: bool
    near: np.ndarray
    distance: np.ndarray
    edges: np.ndarray
    bins: np.ndarray


def make_pairs(
    rows: tuple[np.ndarray, np.ndarray | None],
    columns: tuple[np.ndarray, np.ndarray | None] | None,
    num_classes: int | None,
) -> Pairs:
    """Prepares the pairs of one pair set.

    Args:
        rows: (inputs (n, d), classes (n,) or None) of the rows' examples; inputs flattened.
        columns: The same of the columns' examples; None means the rows again.
        num_classes: C; None for regression targets.
    """
    x, y = rows
    x2, y2 = rows if columns is None else columns
    classes_rows, classes_columns = _one_hot(y, len(x), num_classes), _one_hot(y2, len(x2), num_classes)
    compared = np.ones((len(x), len(x2)), bool) if y is None or y2 is None else y[:, None] == y2
    if columns is None:
        compared = np.triu(compared, 1)
    distances = cosine_distance(x, x2)
    near = np.flatnonzero(compared & np.isfinite(distances))
    distance = distances.ravel()[near]
    edges = np.linspace(distance.min(), distance.max(), NUM_BINS + 1) if len(near) else np.full(NUM_BINS + 1, np.nan)
    bins = np.clip(np.searchsorted(edges, distance, "right") - 1, 0, NUM_BINS - 1)
    return Pairs(classes_rows, classes_columns, columns is None, near, distance, edges, bins)


def cosine_distance(x: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """(n, m) float64: `1 − x·x' / (|x| |x'|)`, between 0 and 2 (equation 8 of the paper); 1 where one is zero.

    NaN where a vector is not finite.
    """
    return np.clip(1.0 - _unit(x) @ _unit(x2).T, 0.0, 2.0)  # rounding leaves it by 1e-16


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.where(np.isfinite(x), x, np.nan).astype(np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm != 0)


def _one_hot(classes: np.ndarray | None, count: int, num_classes: int | None) -> np.ndarray:
    if classes is None or num_classes is None:
        return np.zeros((count, 0), np.float32)
    return np.eye(num_classes, dtype=np.float32)[classes]
