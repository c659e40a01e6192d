"""What the proof compares: projections of gradients, and products of a few of them, in two ways each.

All of it is computed by NumPy from what the traced model returns: a function that is traced to run twice costs more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.gradients import sketches
from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.products import products
from tfstiff.gradients.rows import parts_of
from tfstiff.gradients.structured import Structured, Trace

_MAX_ROWS = 256  # positions of the examples whose products are checked


class Gradients(NamedTuple):
    """The same gradients from the rules and from TensorFlow.

    Attributes:
        combined: By weight: projections of a combination of the per-example gradients.
        batch: By weight: projections of the gradient of the batch.
    """

    combined: dict[int, np.ndarray]
    batch: dict[int, np.ndarray]


class Products(NamedTuple):
    """Products of a few gradients.

    Attributes:
        pairs: By the weights of a pair of factors: products of m gradients with a combination of them, as they are made
            for measurements, and as they should be, (2, m).
        lengths: Squared lengths of these gradients, in both ways, (2, m).
        excess: For each formed block: the largest entry behind its gradients.
    """

    pairs: dict[tuple[int, ...], np.ndarray]
    lengths: np.ndarray
    excess: list[float]


class Examiner:
    """Computes the evidence from a traced model.

    Args:
        part: The traced model.
        shapes: Shapes of all weights.
    """

    def __init__(self, part: Structured, shapes: Sequence[tuple[int, ...]]) -> None:
        self._part, self._shapes = part, shapes
        factors, sizes = part.traced.factors, part.layout.sizes
        self._widths = {
            weight: columns.shape[-1]
            for weights, (_, columns) in zip(part.layout.outers, factors.outers, strict=True)
            for weight in weights
        }
        widths = {index: self._widths.get(index, sketches.width_of(shapes[index])) for index in range(len(sizes))}
        longest = max((max(width, sizes[index] // width) for index, width in widths.items()), default=1)
        dtype = np.float64 if factors.losses.dtype == tf.float64 else np.float32
        self._directions = sketches.directions(longest).astype(dtype)

    def gradients(self, traced: Trace, weights: np.ndarray, wanted: Collection[int]) -> Gradients:
        """Those of the batch of `traced`, and those of its examples times `weights`, these of `wanted` alone."""
        batch = {
            index: self._on_host(gradient)
            for index, gradient in zip(self._part.differentiated, traced.batch, strict=True)
        }
        projected = sketches.of_batch(batch, self._widths, self._shapes, self._directions)
        return Gradients(self.combined(traced.factors, weights, wanted), projected)

    def combined(self, factors: GradientFactors, weights: np.ndarray, wanted: Collection[int]) -> dict[int, np.ndarray]:
        """By weight, of those with which one of `wanted` lies: projections of the combination with `weights`."""
        layout = self._part.layout
        formed = _with(wanted, layout.formed, factors.formed)
        outers = _with(wanted, layout.outers, factors.outers)
        layout = layout._replace(formed=tuple(formed), outers=tuple(outers))
        blocks, pairs = tf.nest.map_structure(self._on_host, (list(formed.values()), list(outers.values())))
        weights = weights.astype(self._directions.dtype)
        found = sketches.of_combination(blocks, pairs, layout, self._shapes, weights, self._directions)
        return {index: sketch.astype(np.float64) for index, sketch in found.items()}

    def products(self, traced: Trace, weights: np.ndarray, wanted: Collection[int]) -> Products:
        """Of a few gradients of `traced`: the products with their combination with `weights`, for `wanted` alone."""
        factors, layout = traced.factors, self._part.layout
        positions = max((columns.shape[1] for _, columns in factors.outers), default=1)
        some = slice(max(2, min(len(weights), _MAX_ROWS // positions)))
        weights = weights[some]
        lengths = np.zeros(len(weights))
        excess: list[float] = []
        pairs: dict[tuple[int, ...], np.ndarray] = {}
        for indices, block in zip(layout.formed, factors.formed, strict=True):
            rows = self._on_host(block[some])
            lengths += np.einsum("ip,ip->i", rows, rows, dtype=np.float64)  # which makes no copy
            width = sum(layout.sizes[weight] for weight in indices) or block.shape[1]
            excess.append(float(np.abs(self._on_host(block)[:, width:]).max(initial=0)))
        for indices, (all_rows, all_columns) in zip(layout.outers, factors.outers, strict=True):
            rows, columns = tf.nest.map_structure(lambda tensor: tensor[some], (all_rows, all_columns))
            made = np.asarray(products(((), ((rows, columns),)), ((), ((rows, columns),))), np.float64)
            lengths += np.diag(made)
            if set(indices).isdisjoint(wanted):
                continue
            size = sum(layout.sizes[index] for index in indices) // columns.shape[-1]
            parts = [tuple(map(self._on_host, part)) for part in parts_of(rows, columns)]
            pairs[indices] = np.stack([made @ weights, _with_combination(parts, weights, size)])
        return Products(pairs, np.stack([self._on_host(factors.squared_norms[some]), lengths]), excess)

    def _on_host(self, tensor: tf.Tensor) -> np.ndarray:
        """The numbers of a tensor; not a copy, unless they are of a precision in which NumPy is slow."""
        values = np.asarray(tensor)
        return values if values.dtype.kind == "i" else values.astype(self._directions.dtype, copy=False)


def _with(
    wanted: Collection[int], places: Sequence[tuple[int, ...]], parts: Sequence[Any]
) -> dict[tuple[int, ...], Any]:
    """By the weights that it holds: each part that holds one of `wanted`."""
    return {weights: part for weights, part in zip(places, parts, strict=True) if not set(weights).isdisjoint(wanted)}


def _with_combination(parts: Sequence[tuple[np.ndarray, ...]], weights: np.ndarray, size: int) -> np.ndarray:
    """(m,): the products of m gradients, of rows of `size` entries, with their combination, which is formed."""
    total = np.zeros((size, parts[0][1].shape[-1]), parts[0][1].dtype)
    for rows, columns in parts:
        weighted = (columns * weights[:, None, None].astype(columns.dtype)).reshape(-1, columns.shape[-1])
        if rows.dtype.kind == "i":
            np.add.at(total, rows.reshape(-1), weighted)
        else:
            total += rows.reshape(len(weighted), -1).T @ weighted
    found = np.zeros(len(weights))
    for rows, columns in parts:
        seen = total[rows] if rows.dtype.kind == "i" else rows @ total
        found += np.einsum("ntq,ntq->n", seen, columns, dtype=np.float64)
    return found
