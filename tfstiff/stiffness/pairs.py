"""The pairs that are compared by distance, a tile at a time: everything that the gradients do not change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.stiffness.pairwise import DISTANCES, distances_and_nearness, mean_length
from tfstiff.stiffness.tile_pairs import PairSums, PairSumsSoFar, TilePairs

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


class _Strip(NamedTuple):
    """The N compared pairs in some rows of a tile: (N,) each, as in `TilePairs`; and how many are duplicates."""

    rows: np.ndarray
    columns: np.ndarray
    distances: np.ndarray
    groups: np.ndarray
    num_duplicates: int


_NO_PAIRS = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int32))
_NARROWEST = 1e-9  # of bins, as a share of the distances, that are told apart by multiplication

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
        self._kept: list[tuple[TilePairs, int]] | None = None
        if edges is None:
            self.edges, found = self._edges_and_strips()
            self._kept = None if found is None else list(map(self._binned, found))
        else:
            self.edges = edges
        self._begin_sums()

    def without(self, left_out: Sequence[np.ndarray]) -> PairSums:
        """`sums` in the same bins, without some of the rows' (n,) and of the columns' (m,) examples."""
        rows, columns = (
            side._replace(counted=side.counted & ~some) for side, some in zip(self._sides, left_out, strict=True)
        )
        others = None if self._is_symmetric else columns
        return ComparedPairs(rows, others, self._num_classes, self._tiles, self._options, self.edges).sums

    @property
    def keeps_tiles(self) -> bool:
        """Whether the pairs are few enough to be kept."""
        return self._kept is not None

    @property
    def num_examples(self) -> int:
        """E: n, or n + m where columns are others."""
        return len(self._sides[0].classes) + (0 if self._is_symmetric else len(self._sides[1].classes))

    def tile(self, index: int) -> TilePairs:
        """The compared pairs of a tile, by its place among the tiles; the same object each time where they are kept."""
        if self._kept is not None:
            return self._kept[index][0]
        pairs, num_duplicates = self._binned(self._strips(self._tiles[index]))
        self._sum_up(index, pairs, num_duplicates)
        return pairs

    @property
    def sums(self) -> PairSums:
        """What is summed over the pairs without regard to gradients."""
        for index in sorted(self._not_summed):
            if self._kept is None:
                self.tile(index)
            else:
                self._sum_up(index, *self._kept[index])
        return self._sums_so_far.found()

    def _begin_sums(self) -> None:
        self._sums_so_far = PairSumsSoFar(self.edges, self._groups_of_examples(), self.num_groups)
        self._not_summed = set(range(len(self._tiles)))

    def _sum_up(self, index: int, pairs: TilePairs, num_duplicates: int) -> None:
        """Adds a tile to the sums when it is first met, so that pairs that are not kept are not computed for these."""
        if index not in self._not_summed:
            return
        rows, columns = self._tiles[index]
        first_column = 0 if self._is_symmetric else len(self._sides[0].classes)
        try:
            self._sums_so_far.add((rows, columns + first_column), pairs, num_duplicates)
            self._not_summed.remove(index)
        except BaseException:  # half a tile may be in them, and the user may go on after Ctrl-C
            self._begin_sums()
            raise

    def _groups_of_examples(self) -> np.ndarray:
        """(E,) group of each example's pairs; -1 for examples that are left out."""
        sides = self._sides[:1] if self._is_symmetric else self._sides
        return np.concatenate([np.where(side.counted, self._groups(side.classes), -1) for side in sides])

    def _edges_and_strips(self) -> tuple[np.ndarray, list[list[_Strip]] | None]:
        """(B + 1,) edges of the bins, and the pairs of each tile where they are few enough to be kept."""
        low, high, count = np.inf, -np.inf, 0
        found: list[list[_Strip]] | None = []
        for tile in self._tiles:
            strips = []
            for strip in self._strips(tile):
                if len(d := strip.distances):
                    low, high, count = min(low, d.min()), max(high, d.max()), count + len(d)
                if count > self._most_kept:
                    found = None
                if found is not None:
                    strips.append(strip)
            if found is not None:
                found.append(strips)
        if count == 0:
            return np.full(self.num_bins + 1, np.nan), found
        if self._options.binning == "equal_width":
            return np.linspace(low, high, self.num_bins + 1), found
        shares = np.linspace(0, 1, self.num_bins + 1)
        if found is not None:
            return np.quantile(np.concatenate([strip.distances for strips in found for strip in strips]), shares), found
        counts = sum(
            np.histogram(strip.distances, _HISTOGRAM_BINS, (low, high))[0]
            for tile in self._tiles
            for strip in self._strips(tile)
        )
        cumulated = np.concatenate([[0.0], np.cumsum(counts)]) / count
        return np.interp(shares, cumulated, np.linspace(low, high, _HISTOGRAM_BINS + 1)), None

    def _binned(self, strips: Iterable[_Strip]) -> tuple[TilePairs, int]:
        """The pairs of a tile, and how many are left out as duplicates."""
        found = [(strip, self._bins(strip.distances)) for strip in strips]
        rows, columns, distances, groups = (
            np.concatenate([_NO_PAIRS[place], *(strip[place] for strip, _ in found)]) for place in range(4)
        )
        bins = np.concatenate([np.zeros(0, np.int32), *(bins for _, bins in found)])
        return TilePairs(rows, columns, distances, bins, groups, self.num_bins), sum(s.num_duplicates for s, _ in found)

    def _bins(self, distances: np.ndarray) -> np.ndarray:
        """(N,) int32: the bin of each distance, which holds its lower edge; the last one its upper edge too."""
        edges, last = self.edges, self.num_bins - 1
        width = (edges[-1] - edges[0]) / self.num_bins
        if self._options.binning != "equal_width" or not width > _NARROWEST * abs(edges).max():
            return np.clip(np.searchsorted(edges, distances, "right") - 1, 0, last).astype(np.int32)
        found = ((distances - edges[0]) * (1 / width)).astype(np.int32)  # right, or one off for rounding
        np.clip(found, 0, last, out=found)
        lower, upper = np.append(-np.inf, edges[1:-1]), np.append(edges[1:-1], np.inf)
        too_high, too_low = distances < lower[found], distances >= upper[found]
        found -= too_high
        found += too_low
        return found

    def _strips(self, tile: Tile) -> Iterator[_Strip]:
        """The compared pairs of a tile, some rows at a time."""
        sides = tuple(zip(self._sides, tile, strict=True))
        classes, classes2 = (side.classes[indices] for side, indices in sides)
        counted, counted2 = (side.counted[indices] for side, indices in sides)
        on_diagonal = self._is_symmetric and tile[0] is tile[1]
        for part, part2 in self._candidates(classes, classes2):
            points = sides[0][0].vectors[tile[0][part]]
            points2 = points if on_diagonal else sides[1][0].vectors[tile[1][part2]]
            for start, distances, nearness in distances_and_nearness(
                self._options.distance, points, points2, self._unit
            ):
                rows = np.arange(part.start + start, part.start + start + len(distances), dtype=np.int32)
                columns = np.arange(part2.stop - distances.shape[1], part2.stop, dtype=np.int32)
                compared = np.isfinite(distances)
                if not (counted[rows].all() and counted2[columns].all()):
                    compared &= np.logical_and.outer(counted[rows], counted2[columns])
                if self._options.compared == "between":
                    compared &= np.not_equal.outer(classes[rows], classes2[columns])
                if on_diagonal:
                    compared &= np.less.outer(rows, columns)
                chosen = compared & (nearness >= self._options.duplicate_tolerance)
                groups = self._groups(classes[rows]).astype(np.int32)
                num_chosen = np.count_nonzero(chosen, axis=1)
                yield _Strip(
                    np.repeat(rows, num_chosen),
                    np.broadcast_to(columns, chosen.shape)[chosen],
                    distances[chosen],
                    np.repeat(groups, num_chosen),
                    int(np.count_nonzero(compared)) - int(num_chosen.sum()),
                )

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
