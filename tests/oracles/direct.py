"""The sums over pairs, directly from a whole matrix of products: what sums made in any other way must equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.batches import NUM_BATCHES, random_batches
from tfstiff.stiffness.pairs import COMPARED
from tfstiff.stiffness.sums import DistanceSums, PairSetSums, ValueSums

NUM_BINS = 20
SINGLE_PRECISION = 1e-6  # a float32 product of gradients does not resolve a smaller cosine


@dataclass(frozen=True)
class Space:
    """Distances between the examples of a pair set, and what is asked about them.

    Attributes:
        distances: (n, m) distances; pairs whose distance is not finite are not compared.
        compared: One of `COMPARED`.
        edges: (B + 1,) edges of the bins; None means 20 bins of equal width over the distances compared.
        duplicate_tolerance: Pairs nearer than this are counted as duplicates and left out.
    """

    distances: np.ndarray
    compared: str = "within"
    edges: np.ndarray | None = None
    duplicate_tolerance: float = -np.inf


def sums_of(
    products: np.ndarray,
    classes_rows: np.ndarray,
    classes_columns: np.ndarray | None = None,
    *,
    norms: tuple[np.ndarray, np.ndarray] | None = None,
    num_classes: int | None = None,
    spaces: Mapping[str, Space] | None = None,
    subsets: tuple[np.ndarray, np.ndarray] | None = None,
) -> PairSetSums:
    """Sums over the pairs of a pair set, in float64.

    Args:
        products: (n, m) products of gradients, or their cosines.
        classes_rows: (n,) class of each row's example; all 0 for regression targets, -1 to leave an example out.
        classes_columns: (m,) class of each column's example. None means that the columns are the rows again.
        norms: (n,) and (m,) lengths of the gradients; an example is left out where it is not finite. None means that
            `products` holds cosines.
        num_classes: C; None means one more than the largest class.
        spaces: Distances, by name.
        subsets: (n,) and (m,) subsets in a ring: only pairs of neighbours are summed where rows and columns are the
            same, else those of a row's and the same or the next one. None means that all pairs are.

    Raises:
        InvalidInput: The pairs to compare are none of `COMPARED`.
    """
    is_symmetric = classes_columns is None
    classes_columns = classes_rows if classes_columns is None else classes_columns
    norms = (np.ones(products.shape[0]), np.ones(products.shape[1])) if norms is None else norms
    classes, lengths = [], []
    for one, length in zip((classes_rows, classes_columns), norms, strict=True):
        kept = np.isfinite(length) & (np.asarray(one) >= 0)
        classes.append(np.where(kept, one, -1).astype(np.int64))
        lengths.append(np.where(kept, length, 0).astype(np.float64))
    counted = np.outer(classes[0] >= 0, classes[1] >= 0)
    if subsets is not None:
        num_subsets = 1 + max(int(part.max()) for part in subsets)
        ahead = (subsets[1] - subsets[0][:, None]) % num_subsets
        counted &= (ahead == 1) | (ahead == (num_subsets - 1 if is_symmetric else 0))
    if is_symmetric:
        np.fill_diagonal(counted, False)
    count = int(max(part.max(initial=0) for part in classes)) + 1 if num_classes is None else num_classes
    one_hots = tuple((part[:, None] == np.arange(count)).astype(np.float64) for part in classes)

    products = np.where(counted, products, 0).astype(np.float64)
    scale = np.outer(*lengths)
    cosine = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    values = {"sign": np.sign(products), "cosine": cosine}
    once = np.abs(cosine[np.triu(counted) if is_symmetric else counted])
    unit = float(max(part.max(initial=0) for part in lengths)) or 1.0
    batches = [np.where(part < 0, -1, random_batches(len(part))) for part in classes]
    return PairSetSums(
        is_symmetric=is_symmetric,
        classes_rows=classes[0],
        classes_columns=classes[1],
        norms_rows=lengths[0],
        norms_columns=lengths[1],
        values={metric: _value_sums(value, *one_hots) for metric, value in values.items()},
        products=_value_sums(products / unit**2, *one_hots),
        batches_rows=batches[0],
        batch_products=_by_batch(batches[0]) @ (products / unit**2) @ _by_batch(batches[1]).T,
        unit=unit,
        smallest_cosine=float(cosine[counted].min()) if counted.any() else float("nan"),
        num_zero=int((once == 0).sum()),
        num_uncertain_signs=int(((once > 0) & (once < SINGLE_PRECISION)).sum()),
        distance={
            name: _distance_sums(space, values, counted, classes, count, is_symmetric)
            for name, space in (spaces or {}).items()
        },
        subsets_rows=None if subsets is None else subsets[0],
        subsets_columns=None if subsets is None else subsets[1],
    )


def _by_batch(batches: np.ndarray) -> np.ndarray:
    return (np.arange(NUM_BATCHES)[:, None] == batches).astype(np.float64)


def compared_pairs(
    space: Space, classes_rows: np.ndarray, classes_columns: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) and columns (N,) of the pairs that a space compares, each pair once, without duplicates.

    Args:
        space: Distances, and which of them are compared.
        classes_rows: (n,) class of each row's example; -1 for those that are left out.
        classes_columns: (m,) class of each column's example. None means that the columns are the rows again.

    Raises:
        InvalidInput: The pairs to compare are none of `COMPARED`.
    """
    other = classes_rows if classes_columns is None else classes_columns
    near = _compared(space, np.outer(classes_rows >= 0, other >= 0), classes_rows, other)
    if classes_columns is None:
        near = np.triu(near, 1)
    rows, columns = np.nonzero(near & (space.distances >= space.duplicate_tolerance))
    return rows, columns


def _value_sums(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> ValueSums:
    return ValueSums(
        values @ columns, values.T @ rows, values**2 @ columns, (values**2).T @ rows, rows.T @ values**2 @ columns
    )


def _compared(space: Space, counted: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n, m) whether a pair is compared; its distance is finite then."""
    if space.compared not in COMPARED:
        raise InvalidInput("There is no such choice of pairs.", expected=", ".join(COMPARED), received=space.compared)
    same = rows[:, None] == columns
    chosen = {"within": same, "between": ~same, "all": np.ones_like(same)}[space.compared]
    return counted & chosen & np.isfinite(space.distances)


def _distance_sums(
    space: Space,
    values: Mapping[str, np.ndarray],
    counted: np.ndarray,
    classes: list[np.ndarray],
    num_classes: int,
    is_symmetric: bool,
) -> DistanceSums:
    near = _compared(space, counted, *classes)
    if is_symmetric:
        near = np.triu(near, 1)
    duplicate = near & (np.where(near, space.distances, np.inf) < space.duplicate_tolerance)
    near &= ~duplicate
    rows, columns = np.nonzero(near)
    d = space.distances[near].astype(np.float64)
    s = {metric: value[near] for metric, value in values.items()}

    by_class = space.compared == "within"
    groups = [np.where(part >= 0, part if by_class else 0, -1) for part in classes]
    group, num_groups = groups[0][rows], num_classes if by_class else 1
    num_rows, num_columns = near.shape
    size = num_rows if is_symmetric else num_rows + num_columns
    members = (rows, columns if is_symmetric else num_rows + columns)  # places of the two examples of each pair

    edges = space.edges
    if edges is None:
        edges = np.linspace(d.min(), d.max(), NUM_BINS + 1) if len(d) else np.full(NUM_BINS + 1, np.nan)
    num_bins = len(edges) - 1
    bins = np.clip(np.searchsorted(edges, d, "right") - 1, 0, num_bins - 1)

    def by_bin(weights: np.ndarray) -> np.ndarray:
        total = np.zeros((size, num_bins))
        for member in members:
            np.add.at(total, (member, bins), weights)
        return total

    def by_example(weights: np.ndarray) -> np.ndarray:
        return sum(np.bincount(member, weights, size) for member in members)  # type: ignore[return-value]

    def by_group(weights: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights, num_groups)

    extremes = [np.full(num_groups, np.nan) for _ in range(2)]
    for place in range(num_groups):
        inside = d[group == place]
        if len(inside):
            extremes[0][place], extremes[1][place] = inside.min(), inside.max()
    return DistanceSums(
        edges=np.asarray(edges, np.float64),
        groups=groups[0] if is_symmetric else np.concatenate(groups),
        bin_counts=by_bin(np.ones_like(d)),
        bin_distances=by_bin(d),
        bin_sums={metric: by_bin(value) for metric, value in s.items()},
        bin_squares={metric: np.bincount(bins, value**2, num_bins) for metric, value in s.items()},
        moments=np.stack([by_example(d**k) for k in range(3)], 1),
        line_sums={m: np.stack([by_example(v * d**k) for k in range(2)], 1) for m, v in s.items()},
        group_moments=np.stack([by_group(d**k) for k in range(5)], 1),
        group_sums={m: np.stack([by_group(v * d**k) for k in range(4)], 1) for m, v in s.items()},
        group_squares={m: np.stack([by_group(v**2 * d**k) for k in range(3)], 1) for m, v in s.items()},
        smallest=extremes[0],
        largest=extremes[1],
        num_duplicates=int(duplicate.sum()),
    )
