"""What a pass over a probe gives: totals that add up over parts of its pairs, and the sums made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff.measuring.summation.pair_totals import Arrays, added, pair_set_sums
from tfstiff.measuring.summation.prepared import PreparedProbe
from tfstiff.stiffness.sums import PairSetSums

WHOLE = ""  # names the gradients with respect to all weights, beside those of layers
PLAIN = "/"  # the same without the preconditioner, where there is one; no layer's path


@dataclass(frozen=True)
class ProbeSums:
    """What one pass over a probe gives.

    Attributes:
        pair_sets: By layer (`WHOLE` for all weights, `PLAIN` without the preconditioner) and pair set: the sums.
        losses: By half: (n,) losses.
        predictions: By half: the model's output or outputs.
        norms: By half: (n,) float64 lengths of the gradients of all weights, as they are without a preconditioner; NaN
            or infinite where not finite.
        gram: (n, n) float32 products of the gradients of both halves, training first, where they were asked for.
    """

    pair_sets: Mapping[str, Mapping[str, PairSetSums]]
    losses: tuple[np.ndarray, ...]
    predictions: tuple[Any, ...]
    norms: tuple[np.ndarray, ...]
    gram: np.ndarray | None = None


@dataclass(frozen=True)
class ProbeTotals:
    """What a pass over some tiles of a probe adds up. Totals of disjoint tiles add up to those of all of them.

    Attributes:
        sums: By layer and pair set: its totals, as `PairTotals.arrays` gives them.
        norms: By layer and half: (n,) float64 lengths of the gradients; -1 of examples that are in no tile.
        outputs: By block: its losses, then the model's outputs, flattened. Each is of one part alone.
    """

    sums: Mapping[tuple[str, str], Arrays]
    norms: Mapping[tuple[str, int], np.ndarray]
    outputs: Mapping[int, tuple[np.ndarray, ...]]


def added_totals(parts: Iterable[ProbeTotals]) -> ProbeTotals:
    """The totals of all tiles, from those of parts that share none and together hold all, read one at a time."""

    def both(first: ProbeTotals, second: ProbeTotals) -> ProbeTotals:
        return ProbeTotals(
            {key: added(arrays, second.sums[key]) for key, arrays in first.sums.items()},
            {key: np.maximum(norms, second.norms[key]) for key, norms in first.norms.items()},
            {**first.outputs, **second.outputs},
        )

    return reduce(both, parts)


def probe_sums(totals: ProbeTotals, probe: PreparedProbe, outputs: Any) -> ProbeSums:
    """The sums that estimators start from.

    Args:
        totals: Of all tiles.
        probe: The examples.
        outputs: Anything of the structure of the model's output.
    """
    halves = range(len(probe.classes))
    joined = []
    for half in halves:
        blocks = [index for index, block in enumerate(probe.blocks) if block.half == half]
        if not blocks:  # a half without examples
            joined.append([part[:0] for part in next(iter(totals.outputs.values()))])
            continue
        order = np.argsort(np.concatenate([probe.blocks[index].indices for index in blocks]))
        joined.append(
            [np.concatenate(parts)[order] for parts in zip(*(totals.outputs[b] for b in blocks), strict=True)]
        )
    pair_sets: dict[str, dict[str, PairSetSums]] = {}
    for (layer, name), arrays in totals.sums.items():
        norms = [totals.norms[layer, half] for half in halves]
        pair_sets.setdefault(layer, {})[name] = pair_set_sums(arrays, probe, name, norms)
    return ProbeSums(
        pair_sets,
        losses=tuple(losses for losses, *_ in joined),
        predictions=tuple(tf.nest.pack_sequence_as(outputs, predictions) for _, *predictions in joined),
        norms=tuple(totals.norms.get((PLAIN, half), totals.norms[WHOLE, half]) for half in halves),
    )
