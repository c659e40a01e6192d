"""The pairs that are compared by distance, a tile at a time: everything that the gradients do not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.stiffness.pairwise import DISTANCES, distances_and_nearness, mean_length

COMPARED = ("within", "between", "all")
BINNINGS = ("equal_width", "quantile")
KEPT_PAIRS = 2_000_000  # more than this many are computed anew at each measurement, not kept
_HISTOGRAM_BINS = 4096  # from which quantiles of more pairs than that are read


@dataclass(frozen=True)
class DistanceOptions:
    """Which pairs are compared by which distance, in which bins.

    Attributes:
        distance: `cosine` (1 − cos, equation 8 of the paper), `cosine_similarity` (cos, what the first version of the
            paper calls a distance), `l1` or `l2`.
        compared: Pairs of the same class (`within`), of different classes (`between`), or `all`.
        binning: Bins of `equal_width`, or `quantile`: of equally many pairs.
        num_bins: Number of bins, B.
        duplicate_tolerance: Pairs nearer than this, in 1 − cos, or in L1 or L2 as a share of the mean length of the
            examples, are near duplicates: counted, and left out. 0 leaves none out.

    Raises:
        InvalidInput: A choice is unknown, or a number out of range.
    """

    distance: str = "cosine"
    compared: str = "within"
    binning: str = "equal_width"
    num_bins: int = 20
    duplicate_tolerance: float = 1e-6

    def __post_init__(self) -> None:
        for name, known in (("distance", DISTANCES), ("compared", COMPARED), ("binning", BINNINGS)):
            if getattr(self, name) not in known:
                raise unknown_name(f"Unknown {name}.", getattr(self, name), known)
        if self.num_bins < 1 or not self.duplicate_tolerance >= 0:
            raise InvalidInput(
                "Distances cannot be binned so.",
                expected="at least 1 bin, and a tolerance for duplicates of 0 or more",
                received=(self.num_bins, self.duplicate_tolerance),
            )


@dataclass(frozen=True, eq=False)
class TilePairs:
    """The N compared pairs of a tile, ordered by row; rows and columns counted within the tile.

    Attributes:
        rows: (N,) int32.
        columns: (N,) int32.
        distances: (N,) float64.
        bins: (N,) int32.
        groups: (N,) int32, in blocks of equal ones.
        num_bins: B.
    """

    rows: np.ndarray
    columns: np.ndarray
    distances: np.ndarray
    bins: np.ndarray
    groups: np.ndarray
    num_bins: int

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, chosen: np.ndarray) -> TilePairs:
        """The pairs of which `chosen` (N,) is true."""
        arrays = {name: array[chosen] for name, array in vars(self).items() if name in _BY_PAIR}
        return replace(self, **arrays)

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) `row · B + bin`, and (N,) `column · B + bin`."""
        return self.rows * self.num_bins + self.bins, self.columns * self.num_bins + self.bins

    @cached_property
    def powers(self) -> np.ndarray:
        """(4, N) float64: 1, d, d², d³."""
        return np.stack([np.ones_like(self.distances), self.distances, self.distances**2, self.distances**3])

    @cached_property
    def blocks(self) -> list[tuple[int, slice]]:
        """Each group that occurs, with the pairs that are of it."""
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        return [(int(self.groups[start]), slice(start, stop)) for start, stop in pairwise([*starts, len(self)])]


class PairSums(NamedTuple):
    """What is summed over the compared pairs of a pair set without regard to gradients; see `DistanceSums`."""

    edges: np.ndarray
    groups: np.ndarray
    bin_counts: np.ndarray
    bin_distances: np.ndarray
    moments: np.ndarray
    group_moments: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    num_duplicates: int


class Points(NamedTuple):
    """Examples as points of a space.

    Attributes:
        vectors: (n, d) inputs, or outputs of a layer, flattened.
        classes: (n,) int64 classes; all 0 for regression targets.
        counted: (n,) whether the example takes part.
    """

    vectors: np.ndarray
    classes: np.ndarray
    counted: np.ndarray


_BY_PAIR = ("rows", "columns", "distances", "bins", "groups")  # what `TilePairs` holds of each pair

Tile = tuple[np.ndarray, np.ndarray]  # indices of its rows' and of its columns' examples


class ComparedPairs:
    """The pairs of one pair set that are compared by distance.

    Args:
        rows: The rows' examples.
        columns: The columns' examples; None means the rows again.
        num_classes: C.
        tiles: The tiles that the pair set is measured by, on and above the diagonal where `columns` is None; the
            examples of each side ordered by class.
        options: Which distance, pairs and bins.
        edges: (B + 1,) edges of the bins; None means that they follow from the distances.
        most_kept: Pairs that may be kept; None means `KEPT_PAIRS`, more than which never are.

    Attributes:
        edges: (B + 1,) edges of the bins.
        num_groups: K: C where pairs of the same class are compared, else 1.
        num_bins: B.
    """

    def __init__(
        self,
        rows: Points,
        columns: Points | None,
        num_classes: int,
        tiles: Sequence[Tile],
        options: DistanceOptions,
        edges: np.ndarray | None = None,
        most_kept: int | None = None,
    ) -> None:
        self._is_symmetric = columns is None
        self._most_kept = KEPT_PAIRS if most_kept is None else min(most_kept, KEPT_PAIRS)
        self._sides = (rows, rows if columns is None else columns)
        self._options = options
        self._tiles = tiles
        self._num_classes = num_classes
        self.num_groups = num_classes if options.compared == "within" else 1
        self.num_bins = options.num_bins
        self._unit = mean_length(options.distance, [side.vectors for side in self._sides])
        self._keeps_tiles = edges is None
        self.edges = self._found_edges() if edges is None else edges

    def without(self, left_out: Sequence[np.ndarray]) -> PairSums:
        """`sums` in the same bins, without some of the rows' (n,) and of the columns' (m,) examples."""
        rows, columns = (
            side._replace(counted=side.counted & ~some) for side, some in zip(self._sides, left_out, strict=True)
        )
        others = None if self._is_symmetric else columns
        return ComparedPairs(rows, others, self._num_classes, self._tiles, self._options, self.edges).sums

    def tile(self, index: int) -> TilePairs:
        """The compared pairs of a tile, by its place among the tiles; the same object each time where they are kept."""
        return self._kept[index][0] if self._keeps_tiles else self._binned(self._tiles[index])[0]

    @property
    def keeps_tiles(self) -> bool:
        """Whether the pairs are few enough to be kept."""
        return self._keeps_tiles

    @cached_property
    def _kept(self) -> list[tuple[TilePairs, int]]:
        return [self._binned(tile) for tile in self._tiles]

    @cached_property
    def sums(self) -> PairSums:
        """What is summed over the pairs without regard to gradients."""
        sides = self._sides[:1] if self._is_symmetric else self._sides
        groups = np.concatenate([np.where(side.counted, self._groups(side.classes), -1) for side in sides])
        size, first_column = len(groups), 0 if self._is_symmetric else len(sides[0].classes)
        bin_counts, bin_distances = np.zeros((2, size, self.num_bins))
        moments = np.zeros((size, 3))
        group_moments = np.zeros((self.num_groups, 5))
        smallest, largest = np.full((2, self.num_groups), np.nan)
        num_duplicates = 0
        binned = self._kept if self._keeps_tiles else map(self._binned, self._tiles)
        for tile, (pairs, duplicates) in zip(self._tiles, binned, strict=True):
            num_duplicates += duplicates
            d = pairs.distances
            for side, (place, shift) in enumerate(((pairs.rows, 0), (pairs.columns, first_column))):
                examples = tile[side] + shift
                cells = place * self.num_bins + pairs.bins
                for total, weights in ((bin_counts, None), (bin_distances, d)):
                    found = np.bincount(cells, weights, len(examples) * self.num_bins)
                    total[examples] += found.reshape(-1, self.num_bins)
                moments[examples] += np.stack([np.bincount(place, d**k, len(examples)) for k in range(3)], 1)
            group_moments += np.stack([np.bincount(pairs.groups, d**k, self.num_groups) for k in range(5)], 1)
            for group in np.unique(pairs.groups):
                inside = d[pairs.groups == group]
                smallest[group] = np.fmin(smallest[group], inside.min())
                largest[group] = np.fmax(largest[group], inside.max())
        return PairSums(
            self.edges, groups, bin_counts, bin_distances, moments, group_moments, smallest, largest, num_duplicates
        )

    def _found_edges(self) -> np.ndarray:
        """(B + 1,) edges of the bins; decides whether the pairs are few enough to be kept."""
        low, high, count = np.inf, -np.inf, 0
        for d in self._all_distances():
            low, high, count = min(low, d.min()), max(high, d.max()), count + len(d)
        if count > self._most_kept:
            self._keeps_tiles = False
        if count == 0:
            return np.full(self.num_bins + 1, np.nan)
        if self._options.binning == "equal_width":
            return np.linspace(low, high, self.num_bins + 1)
        shares = np.linspace(0, 1, self.num_bins + 1)
        if self._keeps_tiles:
            return np.quantile(np.concatenate(list(self._all_distances())), shares)
        counts = sum(np.histogram(d, _HISTOGRAM_BINS, (low, high))[0] for d in self._all_distances())
        cumulated = np.concatenate([[0.0], np.cumsum(counts)]) / count
        return np.interp(shares, cumulated, np.linspace(low, high, _HISTOGRAM_BINS + 1))

    def _all_distances(self) -> Iterator[np.ndarray]:
        for tile in self._tiles:
            d = self._pairs(tile)[2]
            if len(d):
                yield d

    def _binned(self, tile: Tile) -> tuple[TilePairs, int]:
        rows, columns, d, duplicates = self._pairs(tile)
        bins = np.clip(np.searchsorted(self.edges, d, "right") - 1, 0, self.num_bins - 1)
        groups = self._groups(self._sides[0].classes[tile[0]])[rows]
        return TilePairs(rows, columns, d, bins.astype(np.int32), groups.astype(np.int32), self.num_bins), duplicates

    def _pairs(self, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Rows, columns and distances of the compared pairs of a tile, and how many are left out as duplicates."""
        sides = tuple(zip(self._sides, tile, strict=True))
        classes, classes2 = (side.classes[indices] for side, indices in sides)
        counted, counted2 = (side.counted[indices] for side, indices in sides)
        on_diagonal = self._is_symmetric and tile[0] is tile[1]
        found, duplicates = [], 0
        for part, part2 in self._candidates(classes, classes2):
            points = sides[0][0].vectors[tile[0][part]]
            points2 = points if on_diagonal else sides[1][0].vectors[tile[1][part2]]
            for start, distances, nearness in distances_and_nearness(
                self._options.distance, points, points2, self._unit
            ):
                some = slice(part.start + start, part.start + start + len(distances))
                compared = np.isfinite(distances) & counted[some, None] & counted2[part2]
                if self._options.compared == "between":
                    compared &= classes[some][:, None] != classes2[part2]
                if on_diagonal:
                    compared &= np.arange(some.start, some.stop)[:, None] < np.arange(part2.start, part2.stop)
                is_near = compared & (nearness < self._options.duplicate_tolerance)
                duplicates += int(is_near.sum())
                rows, columns = np.nonzero(compared & ~is_near)
                values = distances[rows, columns]
                found.append(((rows + some.start).astype(np.int32), (columns + part2.start).astype(np.int32), values))
        if not found:
            return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), 0
        rows, columns, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return rows, columns, distances, duplicates

    def _candidates(self, classes: np.ndarray, classes2: np.ndarray) -> Iterator[tuple[slice, slice]]:
        """Parts of a tile that hold all compared pairs: of one class each, or the whole tile."""
        if self._options.compared != "within":
            yield slice(0, len(classes)), slice(0, len(classes2))
            return
        for label in np.intersect1d(classes, classes2):
            first, second = (
                slice(*np.searchsorted(labels, [label, label + 1]).tolist()) for labels in (classes, classes2)
            )
            yield first, second

    def _groups(self, classes: np.ndarray) -> np.ndarray:
        return classes if self.num_groups > 1 else np.zeros_like(classes)
