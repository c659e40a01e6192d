"""A probe made ready for measuring: its examples in blocks, and what no measurement changes."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.measuring.arrays import flattened
from tfstiff.measuring.probe import Probe
from tfstiff.measuring.summation.footprint import KEEP_ALL, Kept
from tfstiff.stiffness.batches import NUM_BATCHES, random_batches
from tfstiff.stiffness.pair_sample import dealt, steps_of
from tfstiff.stiffness.pairs import ComparedPairs, DistanceOptions, Points
from tfstiff.stiffness.sums import HALVES


class Block(NamedTuple):
    """Examples of one half whose gradients are computed together.

    Attributes:
        half: 0 for training, 1 for validation.
        indices: (b,) places of the examples in their half, ordered by class.
        classes: The classes from the first to the last that occurs, in between all.
        one_hot: (b, classes in the slice) float32.
        batches: (b, S) float32, one-hot mini-batches; all zeros for examples in none.
        subset: That they are all of.
    """

    half: int
    indices: np.ndarray
    classes: slice
    one_hot: np.ndarray
    batches: np.ndarray
    subset: int


class PreparedProbe:
    """The examples of a probe in blocks of at most `block_size`, by half, by subset and by class.

    Ordered by class, the examples of a block are of few classes, so that sums by class are short, and the pairs of the
    same class lie together.

    Args:
        probe: The probe.
        block_size: Examples of a block.
        num_subsets: G of a sample of the pairs, see `tfstiff.stiffness.pair_sample`; 1 means all.
        may_keep: What may be kept from one measurement to the next.

    Attributes:
        blocks: All blocks, those of the training half first.
        classes: By half: (n,) classes; all 0 for regression targets.
        num_classes: C; 1 for regression targets.
        batches: By half: (n,) mini-batch of each example, as `random_batches` draws them.
        subsets: By half: (n,) subset of each example; None where there is one.
        kept: Whatever else is the same at every measurement, by a key of its maker's choice.
        may_keep: What of it may be kept.
    """

    def __init__(self, probe: Probe, block_size: int, num_subsets: int = 1, may_keep: Kept = KEEP_ALL) -> None:
        self._halves = (probe.train, probe.validation)
        self.num_classes = probe.num_classes or 1
        self.classes = tuple(
            np.zeros(len(half), np.int64) if half.classes is None else half.classes for half in self._halves
        )
        self.batches = tuple(random_batches(len(classes)) for classes in self.classes)
        dealt_into = tuple(dealt(classes, num_subsets) for classes in self.classes)
        self._ring = num_subsets
        self.subsets = None if num_subsets == 1 else dealt_into
        self.blocks: list[Block] = []
        for half, (classes, subsets) in enumerate(zip(self.classes, dealt_into, strict=True)):
            for subset in range(num_subsets):
                members = np.flatnonzero(subsets == subset)
                order = members[np.argsort(classes[members], kind="stable")]
                bounds = np.linspace(0, len(order), -(-len(order) // block_size) + 1).astype(int)
                self.blocks += [self._block(half, order[start:stop], subset) for start, stop in pairwise(bounds)]
        self.kept: dict[Any, Any] = {}
        self.may_keep = may_keep

    def examples(self, index: int) -> Any:
        """(x, y) of a block, as tensors."""
        if ("examples", index) in self.kept:
            return self.kept["examples", index]
        half, indices = self._halves[self.blocks[index].half], self.blocks[index].indices
        made = tf.nest.map_structure(lambda array: tf.constant(array[indices]), (half.x, half.y))
        if self.may_keep.inputs:
            self.kept["examples", index] = made
        return made

    def tiles(self, pair_set: str) -> list[tuple[int, int]]:
        """Pairs of blocks that make up a pair set; of a symmetric one those on and above the diagonal."""
        rows, columns = HALVES[pair_set]
        steps = steps_of(self._ring, is_symmetric=rows == columns)
        numbered = list(enumerate(self.blocks))
        return [
            (i, j)
            for i, first in numbered
            for j, second in numbered[i:]
            if (first.half, second.half) == (rows, columns) and (second.subset - first.subset) % self._ring in steps
        ]

    def compared(self, pair_set: str, vectors: Sequence[np.ndarray] | None, options: DistanceOptions) -> ComparedPairs:
        """The pairs of a pair set that are compared by distance in a space.

        Args:
            pair_set: Its name.
            vectors: By half: the examples in that space, (n, d); None means their inputs, of which it is kept.
            options: Which distance, pairs and bins.
        """
        if vectors is not None:
            return self.compared_in(self.tiles(pair_set), pair_set, vectors, options)
        key = (pair_set, options)
        if key not in self.kept:
            self.kept[key] = self.compared_in(self.tiles(pair_set), pair_set, None, options)
        return self.kept[key]

    def compared_in(
        self,
        tiles: Sequence[tuple[int, int]],
        pair_set: str,
        vectors: Sequence[np.ndarray] | None,
        options: DistanceOptions,
        edges: np.ndarray | None = None,
    ) -> ComparedPairs:
        """The same of some tiles alone; in bins of given edges (B + 1,), or None: in those of these pairs."""
        first, second = HALVES[pair_set]
        points = []
        for half in (first, second):
            found = flattened(self._halves[half].x) if vectors is None else vectors[half]
            points.append(Points(found, self.classes[half], np.full(len(found), found.shape[1] > 0)))
        indices = [(self.blocks[i].indices, self.blocks[j].indices) for i, j in tiles]
        columns = None if first == second else points[1]
        most = self.may_keep.pairs
        return ComparedPairs(points[0], columns, self.num_classes, indices, options, edges, most)

    def _block(self, half: int, indices: np.ndarray, subset: int) -> Block:
        classes = self.classes[half][indices]
        present = slice(int(classes[0]), int(classes[-1]) + 1)
        batches = self.batches[half][indices]
        return Block(
            half,
            indices,
            present,
            (classes[:, None] == np.arange(present.start, present.stop)).astype(np.float32),
            (batches[:, None] == np.arange(NUM_BATCHES)).astype(np.float32),
            subset,
        )


_prepared: weakref.WeakKeyDictionary[Probe, dict[tuple[int, int, Kept], PreparedProbe]] = weakref.WeakKeyDictionary()


def prepared(probe: Probe, block_size: int, num_subsets: int = 1, may_keep: Kept = KEEP_ALL) -> PreparedProbe:
    """The probe made ready, once for each size of blocks, number of subsets and what may be kept."""
    found, how = _prepared.setdefault(probe, {}), (block_size, num_subsets, may_keep)
    if how not in found:
        found[how] = PreparedProbe(probe, *how)
    return found[how]
