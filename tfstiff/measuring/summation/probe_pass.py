"""The sums over all pairs of a probe's gradients: a tile at a time, within a limit of memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from threadpoolctl import ThreadpoolController

from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.gradients.preconditioner import Diagonal
from tfstiff.gradients.scaled_products import Diagonals, arranged
from tfstiff.gradients.tiles import NO_DIAGONALS, Side
from tfstiff.gradients.tracing import compiled
from tfstiff.measuring.summation.held import Held, held, lengths_of
from tfstiff.measuring.summation.pair_totals import PairTotals
from tfstiff.measuring.summation.parts import Part, whole
from tfstiff.measuring.summation.prepared import PreparedProbe
from tfstiff.measuring.summation.probe_sums import PLAIN, WHOLE, ProbeSums, ProbeTotals, probe_sums
from tfstiff.stiffness.pairs import ComparedPairs
from tfstiff.stiffness.tile_pairs import TilePairs


class _Gradients(NamedTuple):
    """The gradients of one block with respect to some weights.

    Attributes:
        factors: Their factors.
        sizes: (b,) float64 lengths of the gradients as the factors are scaled.
        norms: (b,) float64 lengths of the gradients themselves.
    """

    factors: GradientFactors
    sizes: np.ndarray
    norms: np.ndarray


@cache
def _numpy_threads() -> ThreadpoolController:
    """Limits the threads of NumPy's matrix products.

    With several, those that wait for the next product do so by spinning, and take the processors that the device, if it
    is the same machine, computes tiles on: a sixth of the time.
    """
    return ThreadpoolController()


class ProbePass:
    """One pass over all pairs of a probe.

    Args:
        plan: Computes the gradients.
        probe: The examples.
        memory: How many of them at a time.
        pair_sets: Names of the pair sets.
        compared: By space and pair set: the pairs compared by distance.
        per_layer: Whether to sum the gradients of each layer's weights by themselves too.
        keep_gram: Whether to keep the products of all gradients.
        diagonal: D of products `g_iᵀ D g_j`, beside which those without it are summed too; None means without alone.
        part: The tiles to sum, with the pairs of `compared` theirs alone; None means all.
        show: Called with the number of each block and its gradients, each time that they are computed.
    """

    def __init__(  # noqa: PLR0913  # one for each choice
        self,
        plan: GradientPlan,
        probe: PreparedProbe,
        memory: MemoryPlan,
        pair_sets: Sequence[str],
        compared: Mapping[str, Mapping[str, ComparedPairs]],
        *,
        per_layer: bool = False,
        keep_gram: bool = False,
        diagonal: Diagonal | None = None,
        part: Part | None = None,
        show: Callable[[int, GradientFactors], object] | None = None,
    ) -> None:
        self._plan, self._probe, self._compared = plan, probe, compared
        self._diagonal, self._show = diagonal, show
        self._diagonals: dict[str, Diagonals] = {}  # by layer
        self._part = part or whole(probe, pair_sets)
        self._sizes = tuple(map(len, probe.classes))
        is_resident = memory.num_resident >= sum(self._sizes)
        self._window = len(probe.blocks) if is_resident else max(memory.num_resident // memory.block_size, 1)
        self._keeps_products = part is None and is_resident and probe.may_keep.products
        # By pair of blocks: its pair set, and its place among the pair set's tiles.
        self._tiles = {tile: (name, place) for name in pair_sets for place, tile in enumerate(self._part.tiles[name])}
        self._totals = {
            layer: {
                name: PairTotals(probe, name, {space: sets[name] for space, sets in compared.items()})
                for name in pair_sets
            }
            for layer in (WHOLE, *(plan.layers if per_layer else ()), *((PLAIN,) if diagonal else ()))
        }
        self._norms = {layer: tuple(np.full(size, -1.0) for size in self._sizes) for layer in self._totals}
        self._outputs: dict[int, tuple[np.ndarray, Any]] = {}
        self._gram = np.zeros((sum(self._sizes),) * 2, np.float32) if keep_gram else None

    def run(self) -> ProbeSums:
        """Computes everything."""
        found = probe_sums(self.totals(), self._probe, self._outputs[0][1])
        return replace(found, gram=self._gram)

    @compiled()
    def totals(self) -> ProbeTotals:
        """Adds up the tiles: for each set of blocks that is held at a time, all those of its rows."""
        # Subset by subset, whose rows are columns too.
        rows = sorted({i for i, _ in self._tiles}, key=lambda i: (self._probe.blocks[i].subset, i))
        windows = [rows[first : first + self._window] for first in range(0, len(rows), self._window)]
        turns = [(window, j) for window in windows for j in sorted({j for i, j in self._tiles if i in window})]
        order = [(i, j) for window, j in turns for i in window if (i, j) in self._tiles]
        ready: dict[int, dict[str, Held]] = {}
        # The host adds up a tile and lists the pairs of another while the device is at one.
        with _numpy_threads().limit(limits=1, user_api="blas"), ThreadPoolExecutor(1) as host:
            listed = self._listed_ahead(host, order)
            added: Future[None] | None = None
            for window, j in turns:
                if window[0] not in ready:
                    ready.clear()  # before those that take their place are made
                    for index in window:
                        ready[index] = self._held(index, self._gradients(index))
                columns = ready[j] if j in ready else self._held(j, self._gradients(j))
                for i in window:
                    if (i, j) in self._tiles:
                        add = self._reduced(i, j, ready[i], columns, next(listed))
                        if added is not None:
                            added.result()
                        added = host.submit(add)
                del columns
            if added is not None:
                added.result()
        ready.clear()
        for index in self._part.blocks:
            if index not in self._outputs:
                self._gradients(index)
        return ProbeTotals(
            {
                (layer, name): pair_totals.arrays(self._norms[layer])
                for layer, sets in self._totals.items()
                for name, pair_totals in sets.items()
            },
            {(layer, half): found for layer, norms in self._norms.items() for half, found in enumerate(norms)},
            {
                index: (losses, *map(np.asarray, tf.nest.flatten(predictions)))
                for index, (losses, predictions) in self._outputs.items()
                if index in self._part.blocks
            },
        )

    def _gradients(self, index: int) -> dict[str, _Gradients]:
        """The gradients of a block, by layer; notes losses, predictions and norms."""
        factors = self._plan.factors(*self._probe.examples(index))
        if self._show is not None:
            self._show(index, factors)
        block = self._probe.blocks[index]
        self._outputs[index] = (factors.losses.numpy(), factors.predictions)
        layers = self._totals.keys() - {WHOLE, PLAIN}
        parts = dict.fromkeys(self._totals, factors) | (self._plan.by_layer(factors) if layers else {})
        if self._diagonal is not None and not self._diagonals:
            chosen = {WHOLE: None} | {layer: self._plan.layers[layer] for layer in layers}
            self._diagonals = {
                layer: arranged(self._diagonal.parts, factors, self._plan.layout, weights)
                for layer, weights in chosen.items()
            }
        unit = 1.0 if self._diagonal is None else self._diagonal.unit
        found = {}
        for layer, part in parts.items():
            scaling = (self._diagonals[layer], unit) if layer in self._diagonals else ()
            sizes, norms = lengths_of(part, *scaling)
            self._norms[layer][block.half][block.indices] = norms
            found[layer] = _Gradients(part, sizes, norms)
        return found

    def _held(self, index: int, gradients: dict[str, _Gradients]) -> dict[str, Held]:
        block = self._probe.blocks[index]
        return {layer: held(*found, block.one_hot, block.batches) for layer, found in gradients.items()}

    def _listed_ahead(self, host: Executor, order: Sequence[tuple[int, int]]) -> Iterator[dict[str, TilePairs]]:
        """The compared pairs of each tile, by space; those of the next are listed meanwhile."""

        def listed(tile: tuple[int, int]) -> dict[str, TilePairs]:
            pair_set, place = self._tiles[tile]
            return {space: sets[pair_set].tile(place) for space, sets in self._compared.items()}

        ahead = [host.submit(listed, tile) for tile in order[:1]]
        for tile in [*order[1:], None]:
            found = ahead.pop().result()
            if tile is not None:
                ahead.append(host.submit(listed, tile))
            yield found

    def _reduced(
        self, i: int, j: int, rows: dict[str, Held], columns: dict[str, Held], pairs: Mapping[str, TilePairs]
    ) -> Callable[[], None]:
        """Sums over the tile of two blocks; returns what adds them to the totals of its pair set."""
        pair_set, place = self._tiles[i, j]
        first, second = self._probe.blocks[i], self._probe.blocks[j]
        tiles, parts = {}, []
        for layer, totals in self._totals.items():
            one, other = rows[layer], columns[layer]
            listed = [
                self._without(some, space, pair_set, place, one.is_finite, other.is_finite)
                for space, some in pairs.items()
            ]
            diagonals = self._diagonals.get(layer, NO_DIAGONALS)
            is_whole = layer in (WHOLE, PLAIN)
            known = self._known_products(i, j, one.side, other.side) if is_whole and not any(diagonals) else ()
            tile = tiles[layer] = self._plan.reduce_tile(
                one.side,
                other.side,
                known,
                tuple(tensors for _, tensors in listed),
                diagonals,
                fixed=self._plan.layout.fixed if known else (False,) * len(one.side.outers),
                is_diagonal=i == j,
                keep_cosines=(self._gram is not None and layer == WHOLE) or (is_whole and self._diagonal is not None),
            )
            sums = first, second, one.lengths, (one.largest, other.largest), [some for some, _ in listed], tile
            parts.append(partial(totals[pair_set].add, *sums))
        if self._gram is not None:
            lengths = rows[WHOLE].lengths, columns[WHOLE].lengths
            parts.append(partial(self._fill_gram, self._gram, i, j, tiles[WHOLE].cosines, *lengths))
        if PLAIN in tiles:
            cosines = tiles[WHOLE].cosines, tiles[PLAIN].cosines
            counted = np.outer(rows[PLAIN].is_finite, columns[PLAIN].is_finite)
            parts.append(partial(self._add_disagreement, i, j, *cosines, np.triu(counted, 1) if i == j else counted))

        def add() -> None:
            for part in parts:
                part()

        return add

    def _add_disagreement(self, i: int, j: int, cosines: tf.Tensor, plain: tf.Tensor, counted: np.ndarray) -> None:
        differ = (np.sign(cosines.numpy()) != np.sign(plain.numpy())) & counted
        totals = self._totals[WHOLE][self._tiles[i, j][0]]
        totals.add_disagreement(self._probe.blocks[i], self._probe.blocks[j], differ.astype(np.float32))

    def _without(
        self, pairs: TilePairs, space: str, pair_set: str, place: int, kept: np.ndarray, kept2: np.ndarray
    ) -> tuple[TilePairs, tuple[tf.Tensor, tf.Tensor]]:
        """Pairs of a tile, without those of examples left out; their rows and columns as tensors too."""
        compared = self._compared[space][pair_set]
        if not (kept.all() and kept2.all()):
            pairs = pairs.where(kept[pairs.rows] & kept2[pairs.columns])
        elif compared.keeps_tiles:
            known = self._probe.kept.setdefault("pairs", weakref.WeakKeyDictionary()).setdefault(compared, {})
            if place not in known:
                known[place] = (tf.constant(pairs.rows), tf.constant(pairs.columns))
            return pairs, known[place]
        return pairs, (tf.constant(pairs.rows), tf.constant(pairs.columns))

    def _known_products(self, i: int, j: int, rows: Side, columns: Side) -> tuple[tf.Tensor, ...]:
        """The products of rows that depend on the examples alone, which are the same at every measurement."""
        if not self._keeps_products:
            return ()
        known = self._probe.kept.setdefault("products", weakref.WeakKeyDictionary()).setdefault(self._plan, {})
        if (i, j) not in known:
            known[i, j] = self._plan.fixed_products(columns.outers, rows.outers)
        return known[i, j]

    def _fill_gram(
        self, gram: np.ndarray, i: int, j: int, cosines: tf.Tensor, lengths: np.ndarray, lengths2: np.ndarray
    ) -> None:
        places = [
            block.indices + sum(self._sizes[: block.half]) for block in (self._probe.blocks[i], self._probe.blocks[j])
        ]
        tile = cosines.numpy() * np.outer(lengths, lengths2)
        if i == j:
            tile = np.triu(tile, 1)
            tile += tile.T + np.diag(lengths**2)
        gram[np.ix_(*places)] = tile
        gram[np.ix_(*places[::-1])] = tile.T
