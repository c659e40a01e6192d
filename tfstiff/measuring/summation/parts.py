"""A division of the pairs of a probe into parts, each to be summed by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from tfstiff.measuring.summation.prepared import PreparedProbe

Tile = tuple[int, int]  # the blocks of its rows and of its columns


class Part(NamedTuple):
    """Some tiles of a probe.

    Attributes:
        tiles: By pair set: pairs of blocks, in their order in the whole.
        blocks: The blocks whose losses and outputs this part tells.
    """

    tiles: Mapping[str, Sequence[Tile]]
    blocks: frozenset[int]


def whole(probe: PreparedProbe, pair_sets: Sequence[str]) -> Part:
    """All tiles of the pair sets, as one part."""
    return Part({name: probe.tiles(name) for name in pair_sets}, frozenset(range(len(probe.blocks))))


def divided(probe: PreparedProbe, pair_sets: Sequence[str], num_bands: int) -> list[Part]:
    """All tiles of the pair sets in parts that share none.

    The blocks fall into bands, neighbours together, and the tiles of two bands are a part, so that each of B bands is
    needed by B of the B (B + 1) / 2 parts. Parts with many tiles come first.

    Args:
        probe: The examples.
        pair_sets: Names of the pair sets.
        num_bands: B; fewer where there are not so many blocks.
    """
    all_tiles = whole(probe, pair_sets).tiles
    bands = np.array_split(range(len(probe.blocks)), min(num_bands, len(probe.blocks)))
    band = {int(block): number for number, blocks in enumerate(bands) for block in blocks}
    parts: list[Part] = []
    told: set[int] = set()
    for place in combinations_with_replacement(range(len(bands)), 2):
        tiles = {name: [(i, j) for i, j in some if (band[i], band[j]) == place] for name, some in all_tiles.items()}
        blocks = {block for some in tiles.values() for tile in some for block in tile}
        if place[0] == place[1]:
            blocks.update(map(int, bands[place[0]]))  # which may be in no tile of these pair sets
        if blocks:
            parts.append(Part(tiles, frozenset(blocks - told)))
            told |= blocks
    return sorted(parts, key=lambda part: -sum(map(len, part.tiles.values())))
