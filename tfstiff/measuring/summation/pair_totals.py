"""The sums of one pair set, added up from the sums of its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfstiff.gradients.tiles import TileSums
from tfstiff.measuring.summation.prepared import HALVES, Block, PreparedProbe
from tfstiff.stiffness.batches import NUM_BATCHES
from tfstiff.stiffness.pairs import ComparedPairs
from tfstiff.stiffness.sums import DISAGREEMENT, DistanceSums, PairSetSums, ValueSums
from tfstiff.stiffness.tile_pairs import TilePairs

Arrays = dict[tuple[str, ...], np.ndarray]

_METRICS = ("cosine", "sign")  # in the order in which tiles hold them
# How totals of two parts make one, where they do not add up. Of examples left out (-1) a part knows its own.
_ADDITION = {"smallest": np.fmin, "largest": np.fmax, "edges": np.fmax, "groups": np.minimum}
_BY_METRIC = ("bin_sums", "bin_squares", "line_sums", "group_sums", "group_squares")  # of `DistanceSums`


class PairTotals:
    """Adds up the sums of the tiles of one pair set.

    Args:
        probe: The examples.
        pair_set: Its name.
        compared: By space: the pairs compared by distance.
    """

    def __init__(self, probe: PreparedProbe, pair_set: str, compared: Mapping[str, ComparedPairs]) -> None:
        self._halves = HALVES[pair_set]
        self._is_symmetric = self._halves[0] == self._halves[1]
        sizes, num_classes = [len(probe.classes[half]) for half in self._halves], probe.num_classes
        self._rows = np.zeros((sizes[0], 3, num_classes))
        self._columns = self._rows if self._is_symmetric else np.zeros((sizes[1], 3, num_classes))
        self._row_squares = np.zeros_like(self._rows)
        self._column_squares = self._row_squares if self._is_symmetric else np.zeros_like(self._columns)
        self._batches = np.zeros((NUM_BATCHES, NUM_BATCHES))
        self._smallest = np.inf
        self._num_certain = 0
        self._disagreements: tuple[np.ndarray, np.ndarray] | None = None  # of rows and columns
        self._compared = compared
        first_column = 0 if self._is_symmetric else sizes[0]
        self._spaces = {name: _SpaceTotals(pairs, first_column) for name, pairs in compared.items()}

    def add(
        self,
        first: Block,
        second: Block,
        lengths: np.ndarray,
        scales: tuple[float, float],
        pairs: Sequence[TilePairs],
        tile: TileSums,
    ) -> None:
        """Adds a tile.

        Args:
            first: The rows' examples.
            second: The columns' examples.
            lengths: (b,) lengths of the rows' gradients.
            scales: The units of the lengths of rows and of columns in the tile's sums.
            pairs: The compared pairs of each space.
            tile: Its sums, and the cosines of those pairs.
        """
        for power, by_row, by_column in (
            (1, (tile.rows, self._rows), (tile.columns, self._columns)),
            (2, (tile.row_squares, self._row_squares), (tile.column_squares, self._column_squares)),
        ):
            for (part, whole), block, other, scale in (
                (by_row, first, second, scales[1]),
                (by_column, second, first, scales[0]),
            ):
                sums = np.array(part, np.float64).reshape(len(part), 3, -1)
                sums[:, 1] *= scale**power
                whole[block.indices, :, other.classes] += sums
        by_batch = np.array(tile.batches, np.float64) * (lengths[:, None] * scales[1])
        self._batches += first.batches.T.astype(np.float64) @ by_batch
        self._smallest = min(self._smallest, float(tile.smallest))
        self._num_certain += round(float(tile.num_certain))
        for space, listed, cosines in zip(self._spaces.values(), pairs, tile.compared, strict=True):
            space.add(first.indices, second.indices, listed, cosines.numpy())

    def add_disagreement(
        self,
        first: Block,
        second: Block,
        differ: np.ndarray,
    ) -> None:
        """Adds the pairs of a tile whose products have another sign with a preconditioner than without.

        Args:
            first: The rows' examples.
            second: The columns' examples.
            differ: (b, c) float32, 1 for such pairs, 0 for others; of a tile on the diagonal each pair once.
        """
        if self._disagreements is None:
            rows = np.zeros_like(self._rows[:, 0])
            self._disagreements = (rows, rows if self._is_symmetric else np.zeros_like(self._columns[:, 0]))
        rows, columns = self._disagreements
        rows[first.indices, second.classes] += differ @ second.one_hot
        columns[second.indices, first.classes] += differ.T @ first.one_hot

    def arrays(self, norms: Sequence[np.ndarray]) -> Arrays:
        """The sums so far, by name; those against distance by space and name.

        Args:
            norms: By half: lengths of the gradients; NaN or infinite for the examples that are left out.
        """
        left_out = [~np.isfinite(norms[half]) for half in self._halves]
        found: Arrays = {
            ("rows",): self._rows,
            ("row_squares",): self._row_squares,
            **({} if self._is_symmetric else {("columns",): self._columns, ("column_squares",): self._column_squares}),
            ("batches",): self._batches,
            ("smallest",): np.array(self._smallest),
            ("num_certain",): np.array(self._num_certain),
        }
        if self._disagreements is not None:
            found |= {("disagreements",): self._disagreements[0], ("column_disagreements",): self._disagreements[1]}
        for space, totals in self._spaces.items():
            found |= {(space, name): array for name, array in totals.arrays(self._compared[space], left_out).items()}
        return found


def pair_set_sums(arrays: Arrays, probe: PreparedProbe, pair_set: str, norms: Sequence[np.ndarray]) -> PairSetSums:
    """The sums of a pair set, from its totals.

    Args:
        arrays: As `PairTotals.arrays` gives them.
        probe: The examples.
        pair_set: Its name.
        norms: By half: lengths of the gradients; NaN or infinite for the examples that are left out.
    """
    halves = HALVES[pair_set]
    is_symmetric = halves[0] == halves[1]
    finite = tuple(np.isfinite(norms[half]) for half in halves)
    lengths = tuple(np.where(np.isfinite(norms[half]), norms[half], 0.0) for half in halves)
    sides = ("row", "row") if is_symmetric else ("row", "column")
    sums, squares = ([arrays[f"{side}{end}",] for side in sides] for end in ("s", "_squares"))
    unit = max(float(length.max(initial=0)) for length in lengths) or 1.0
    classes = tuple(np.where(kept, probe.classes[half], -1) for kept, half in zip(finite, halves, strict=True))
    members = (classes[0][:, None] == np.arange(probe.num_classes)).astype(np.float64)

    def value_sums(place: int, *, with_lengths: bool = False) -> ValueSums:
        parts = []
        for power, kind in enumerate((sums, squares), start=1):
            found = [part[:, place] for part in kind[: 1 if is_symmetric else 2]]
            if with_lengths:
                found = [
                    part * ((length / unit)[:, None] / unit) ** power
                    for part, length in zip(found, lengths, strict=False)
                ]
            parts += [found[0], found[-1]]
        return ValueSums(parts[0], parts[1], parts[2], parts[3], members.T @ parts[2])

    values = {metric: value_sums(place) for metric, place in (("sign", 2), ("cosine", 0))}
    if ("disagreements",) in arrays:  # each is 0 or 1, its own square
        rows, columns = arrays["disagreements",], arrays["column_disagreements",]
        values[DISAGREEMENT] = ValueSums(rows, columns, rows, columns, members.T @ rows)
    spaces = dict.fromkeys(name[0] for name in arrays if len(name) > 1)
    found = PairSetSums(
        is_symmetric=is_symmetric,
        classes_rows=classes[0],
        classes_columns=classes[1],
        norms_rows=lengths[0],
        norms_columns=lengths[1],
        values=values,
        products=value_sums(1, with_lengths=True),
        batches_rows=np.where(classes[0] < 0, -1, probe.batches[halves[0]]),
        batch_products=(arrays["batches",] + arrays["batches",].T * is_symmetric) / unit**2,
        unit=unit,
        smallest_cosine=float("nan"),
        num_zero=0,
        num_uncertain_signs=0,
        distance={
            space: _distance_sums(
                {name[1]: array for name, array in arrays.items() if name[0] == space and len(name) > 1}
            )
            for space in spaces
        },
        subsets_rows=None if probe.subsets is None else probe.subsets[halves[0]],
        subsets_columns=None if probe.subsets is None else probe.subsets[halves[1]],
    )
    orders = 2 if is_symmetric else 1  # in which each pair is in the cells
    num_pairs = int(found.pair_counts().sum()) // orders
    num_nonzero = round(float(values["sign"].squares.sum())) // orders
    return replace(
        found,
        smallest_cosine=float(arrays["smallest",]) if num_pairs else float("nan"),
        num_zero=num_pairs - num_nonzero,
        num_uncertain_signs=num_nonzero - int(arrays["num_certain",]),
    )


def _distance_sums(arrays: Mapping[str, np.ndarray]) -> DistanceSums:
    made: dict[str, Any] = {
        name: dict(zip(_METRICS, array, strict=True)) if name in _BY_METRIC else array for name, array in arrays.items()
    }
    return DistanceSums(**made | {"num_duplicates": int(arrays["num_duplicates"])})


def added(first: Arrays, second: Arrays) -> Arrays:
    """The totals of a pair set, from those of two parts that share no pair, each an array for each name."""
    return {name: _ADDITION.get(name[-1], np.add)(array, second[name]) for name, array in first.items()}


class _SpaceTotals:
    """Adds up sums over the pairs compared by distance in one space."""

    def __init__(self, compared: ComparedPairs, first_column: int) -> None:
        size, num_groups = compared.num_examples, compared.num_groups
        self._first_column = first_column
        shapes = ((size, compared.num_bins), (compared.num_bins,), (size, 2), (num_groups, 4), (num_groups, 3))
        self._sums = {name: np.zeros((2, *shape)) for name, shape in zip(_BY_METRIC, shapes, strict=True)}

    def add(self, rows: np.ndarray, columns: np.ndarray, pairs: TilePairs, cosines: np.ndarray) -> None:
        """Adds the pairs of a tile.

        They are few beside all pairs, so that their sums cost less on the host than a scattered sum on the device.

        Args:
            rows: Places of the tile's rows' examples.
            columns: Places of its columns' examples, counted by themselves.
            pairs: The N compared pairs.
            cosines: (N,) their cosines.
        """
        start = 0
        for piece in pairs.pieces:
            self._add(rows, columns, piece, cosines[start : start + len(piece)])
            start += len(piece)

    def _add(self, rows: np.ndarray, columns: np.ndarray, pairs: TilePairs, cosines: np.ndarray) -> None:
        values = np.empty((2, len(pairs)))
        values[0] = cosines
        np.sign(values[0], out=values[1])
        moments = values * pairs.distances
        for cells, places, examples in zip(
            pairs.cells, (pairs.rows, pairs.columns), (rows, columns + self._first_column), strict=True
        ):
            size = len(examples)
            for metric, (value, moment) in enumerate(zip(values, moments, strict=True)):
                by_bin = np.bincount(cells, value, size * pairs.num_bins).reshape(size, -1)
                self._sums["bin_sums"][metric, examples] += by_bin
                self._sums["line_sums"][metric, examples, 0] += by_bin.sum(1)
                self._sums["line_sums"][metric, examples, 1] += np.bincount(places, moment, size)
        squares = values * values
        for metric, square in enumerate(squares):
            self._sums["bin_squares"][metric] += np.bincount(pairs.bins, square, pairs.num_bins)
        for group, part in pairs.blocks:
            self._sums["group_sums"][:, group] += values[:, part] @ pairs.powers[:, part].T
            self._sums["group_squares"][:, group] += squares[:, part] @ pairs.powers[:3, part].T

    def arrays(self, compared: ComparedPairs, left_out: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The sums, by their names in `DistanceSums`; those of values (2, …) by metric."""
        fixed = compared.without(left_out) if any(some.any() for some in left_out) else compared.sums
        return {name: np.asarray(value) for name, value in fixed._asdict().items()} | self._sums
