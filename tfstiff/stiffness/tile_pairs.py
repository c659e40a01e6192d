"""Compared pairs of a tile, and what is summed over them without regard to gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

PIECE = 2**17  # pairs that are added up at a time, so that what is computed of them stays in a processor's cache


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

    def where(self, chosen: np.ndarray | slice) -> TilePairs:
        """The pairs that are chosen: those of which (N,) is true, or of a slice."""
        arrays = {name: array[chosen] for name, array in vars(self).items() if name in _BY_PAIR}
        return replace(self, **arrays)

    @property
    def pieces(self) -> list[TilePairs]:
        """The same, few enough at a time to be added up."""
        return [self] if len(self) <= PIECE else self._parts  # not kept: it would hold itself in memory

    @cached_property
    def _parts(self) -> list[TilePairs]:
        return [self.where(slice(first, first + PIECE)) for first in range(0, len(self), PIECE)]

    @cached_property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) `row · B + bin`, and (N,) `column · B + bin`."""
        return self.rows * self.num_bins + self.bins, self.columns * self.num_bins + self.bins

    @cached_property
    def powers(self) -> np.ndarray:
        """(4, N) float64: 1, d, d², d³."""
        found = np.empty((4, len(self)))
        found[0], found[1] = 1.0, self.distances
        np.multiply(self.distances, self.distances, out=found[2])
        np.multiply(found[2], self.distances, out=found[3])
        return found

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


class PairSumsSoFar:
    """Adds up `PairSums`, a tile at a time.

    Args:
        edges: (B + 1,) edges of the bins.
        groups: (E,) group of each example's pairs.
        num_groups: K.
    """

    def __init__(self, edges: np.ndarray, groups: np.ndarray, num_groups: int) -> None:
        by_bin = (len(groups), len(edges) - 1)
        nothing = np.full(num_groups, np.nan)
        self._sums = PairSums(
            edges,
            groups,
            np.zeros(by_bin),
            np.zeros(by_bin),
            np.zeros((len(groups), 3)),
            np.zeros((num_groups, 5)),
            nothing,
            nothing.copy(),
            0,
        )

    def add(self, sides: Sequence[np.ndarray], pairs: TilePairs, num_duplicates: int) -> None:
        """Adds a tile.

        Args:
            sides: Places of its rows' and of its columns' examples among the E.
            pairs: Its pairs.
            num_duplicates: Pairs that were left out as duplicates.
        """
        self._sums = self._sums._replace(num_duplicates=self._sums.num_duplicates + num_duplicates)
        for piece in pairs.pieces:
            self._add(sides, piece)

    def _add(self, sides: Sequence[np.ndarray], pairs: TilePairs) -> None:
        sums, d, num_bins = self._sums, pairs.distances, pairs.num_bins
        _, _, squares, cubes = pairs.powers
        for examples, cells, places in zip(sides, pairs.cells, (pairs.rows, pairs.columns), strict=True):
            counts, distances = (
                np.bincount(cells, weights, len(examples) * num_bins).reshape(-1, num_bins) for weights in (None, d)
            )
            sums.bin_counts[examples] += counts
            sums.bin_distances[examples] += distances
            sums.moments[examples] += np.stack(
                [counts.sum(1), distances.sum(1), np.bincount(places, squares, len(examples))], 1
            )
        for group, part in pairs.blocks:
            inside, square = d[part], squares[part]
            sums.group_moments[group] += [len(inside), inside.sum(), square.sum(), cubes[part].sum(), square @ square]
            sums.smallest[group] = np.fmin(sums.smallest[group], inside.min())
            sums.largest[group] = np.fmax(sums.largest[group], inside.max())

    def found(self) -> PairSums:
        """The sums so far."""
        return self._sums


_BY_PAIR = ("rows", "columns", "distances", "bins", "groups")  # what `TilePairs` holds of each pair
