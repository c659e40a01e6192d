"""What a measurement takes of memory beside gradients: examples, distances, tiles, sums, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np

from tfstiff.gradients.options import NONE
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.measuring.summation.representations import INPUT
from tfstiff.stiffness.batches import NUM_BATCHES
from tfstiff.stiffness.pairs import KEPT_PAIRS, DistanceOptions
from tfstiff.stiffness.pairwise import ROWS_TOGETHER
from tfstiff.stiffness.sums import HALVES
from tfstiff.stiffness.tile_pairs import PIECE

_DOUBLE = 8  # bytes of a float64
# Most bytes of inputs as tensors, and of products of fixed rows, that are kept from one measurement to the next.
_KEPT_INPUTS, _KEPT_PRODUCTS = 256 * 2**20, 64 * 2**20
_BYTES_OF_PRODUCT = 2  # of one pair of n², as half of them are kept, in float32
_PAIR = 72  # bytes of a pair compared by distance: `TilePairs` with all that it computes once, and indices as tensors
_PAIR_IN_PASSING = 80  # where it is not kept: as listed and as joined, while those of the tile before are added up
_PAIR_IN_SUM = 120  # what adding up its cosines takes besides, of the pairs of a piece of a tile
_MATRICES = 6  # of distances, of some rows to all others, that are alive while pairs are chosen
# Matrices of cosines, of a panel of rows by all columns, that are alive in a tile; and how many panels are at a time.
_IN_PANEL, _PANEL_ROWS, _PANELS = 8, 250, 4
_KEPT_MATRICES = 6  # of a tile's cosines, in float32, where they leave it: themselves, their signs, masks, copies


class Kept(NamedTuple):
    """What is kept from one measurement to the next.

    Attributes:
        inputs: Whether inputs and targets are kept as tensors.
        pairs: The most pairs compared by distance that are kept, of each pair set and space; None means as many as
            there ever are, `KEPT_PAIRS`.
        products: Whether products of rows that no weight changes are kept.
    """

    inputs: bool
    pairs: int | None
    products: bool


KEEP_ALL = Kept(True, None, True)


@dataclass(frozen=True)
class Footprint:
    """Bytes that a measurement takes beside the factors of gradients.

    Attributes:
        num_examples: n, of both halves.
        sums: Of all that is added up, whatever the blocks.
        example: Of one example's inputs and targets.
        width: Numbers of one example as a point, in the widest space.
        largest_class: The most examples of a half that are compared by distance with one example.
        num_spaces: Spaces in which examples are compared.
        num_pair_sets: Pair sets.
        keeps_cosines: Whether the matrix of cosines leaves a tile.
    """

    num_examples: int
    sums: int
    example: int
    width: int
    largest_class: int
    num_spaces: int
    num_pair_sets: int
    keeps_cosines: bool

    def __call__(self, block_size: int) -> int:
        """Bytes that are taken at a time, where blocks have so many examples."""
        alike = min(block_size, self.largest_class)
        examples = 2 * block_size * self.example  # as gathered, and as a tensor
        points = 2 * alike * self.width * _DOUBLE
        distances = _MATRICES * min(alike, ROWS_TOGETHER) * alike * _DOUBLE
        pairs = block_size * alike
        pairs = pairs * _PAIR_IN_PASSING * self.num_spaces + min(pairs, PIECE) * _PAIR_IN_SUM
        panels = _PANELS * _IN_PANEL * min(block_size, _PANEL_ROWS) * block_size * 4
        cosines = _KEPT_MATRICES * block_size**2 * 4 * self.keeps_cosines
        return self.sums + examples + pairs + points + distances + panels + cosines  # one tile listed, one computed

    def kept(self, num_spare: int) -> Kept:
        """What may be kept within some bytes: inputs first, then pairs, then products."""
        inputs = self.num_examples * self.example
        keeps_inputs = inputs <= min(_KEPT_INPUTS, num_spare)
        left = num_spare - inputs * keeps_inputs
        fitting = left // (_PAIR * self.num_spaces * self.num_pair_sets)
        # In steps, so that limits that are much alike share what is kept.
        pairs = None if fitting >= KEPT_PAIRS else 2 ** int(math.log2(fitting)) if fitting else 0
        left -= (KEPT_PAIRS if pairs is None else pairs) * _PAIR * self.num_spaces * self.num_pair_sets
        products = _BYTES_OF_PRODUCT * self.num_examples**2
        return Kept(keeps_inputs, pairs, products <= min(_KEPT_PRODUCTS, left))


def footprint(
    probe: Probe, options: MeasureOptions, pair_sets: Sequence[str], widths: Mapping[str, int], num_layers: int
) -> Footprint:
    """What a measurement takes.

    Args:
        probe: The examples.
        options: What is measured.
        pair_sets: Of those asked for, what the probe has.
        widths: By space in which examples are compared: numbers of one example.
        num_layers: Layers with trainable weights, whose cosines are summed too where options say so.
    """
    sizes = (len(probe.train), len(probe.validation))
    count, num_classes = sum(sizes), probe.num_classes or 1
    arrays = [array for half in (probe.train, probe.validation) for array in keras.tree.flatten((half.x, half.y))]
    sides = sum(sum(sizes[half] for half in set(HALVES[name])) for name in pair_sets)
    num_bins = DistanceOptions().num_bins
    num_sums = 1 + num_layers * options.per_layer + (options.preconditioner != NONE)
    by_class = sides * 6 * num_classes * num_sums  # of three values, and of their squares
    by_bin = sides * len(widths) * (2 * (num_bins + 2) * num_sums + 2 * num_bins + 3)
    gram = 4 * count**2 * options.keep_gram
    vectors = 4 * count * sum(width for space, width in widths.items() if space != INPUT)
    is_within = options.distance_pairs == "within" and probe.num_classes is not None
    classes = [half.classes for half in (probe.train, probe.validation) if half.classes is not None]
    largest = max((int(np.bincount(of).max(initial=0)) for of in classes), default=0) if is_within else max(sizes)
    batches = 2 * 4 * count * NUM_BATCHES  # one-hot, as blocks hold them and as tiles take them
    return Footprint(
        num_examples=count,
        sums=_DOUBLE * (by_class + by_bin) + gram + vectors + batches,
        example=sum(array.nbytes for array in arrays) // max(count, 1),
        width=max(widths.values(), default=0),
        largest_class=largest,
        num_spaces=max(len(widths), 1),
        num_pair_sets=len(pair_sets),
        keeps_cosines=options.keep_gram or options.preconditioner != NONE,
    )
