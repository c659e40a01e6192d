"""What the proof compares: projections of gradients, and products of a few of them, in two ways each.

All of it is computed by NumPy from what the traced model returns: a function that is traced to run twice costs more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.gradients import sketches
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
        pairs: For each pair of factors: products of m gradients with a combination of them, as they are made for
            measurements, and as they should be, (2, m).
        lengths: Squared lengths of these gradients, in both ways, (2, m).
        excess: For each formed block: the largest entry behind its gradients.
    """

    pairs: list[np.ndarray]
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

    def gradients(self, traced: Trace, weights: np.ndarray) -> Gradients:
        """The gradients of `traced`, those of the examples times `weights`."""
        batch = {
            index: self._on_host(gradient)
            for index, gradient in zip(self._part.differentiated, traced.batch, strict=True)
        }
        projected = sketches.of_batch(batch, self._widths, self._shapes, self._directions)
        return Gradients(self.combined(traced.factors.formed, traced.factors.outers, weights), projected)

    def combined(self, formed: Any, outers: Any, weights: np.ndarray) -> dict[int, np.ndarray]:
        """By weight: projections of the combination of the per-example gradients with `weights`."""
        formed, outers = tf.nest.map_structure(self._on_host, (formed, outers))
        weights = weights.astype(self._directions.dtype)
        found = sketches.of_combination(formed, outers, self._part.layout, self._shapes, weights, self._directions)
        return {index: sketch.astype(np.float64) for index, sketch in found.items()}

    def products(self, traced: Trace, weights: np.ndarray) -> Products:
        """The products of a few gradients of `traced` with their combination with `weights`."""
        factors, layout = traced.factors, self._part.layout
        positions = max((columns.shape[1] for _, columns in factors.outers), default=1)
        some = slice(max(2, min(len(weights), _MAX_ROWS // positions)))
        weights = weights[some]
        lengths = np.zeros(len(weights))
        excess, pairs = [], []
        for indices, block in zip(layout.formed, factors.formed, strict=True):
            rows = self._on_host(block[some])
            lengths += np.einsum("ip,ip->i", rows, rows, dtype=np.float64)  # which makes no copy
            width = sum(layout.sizes[weight] for weight in indices) or block.shape[1]
            excess.append(float(np.abs(self._on_host(block)[:, width:]).max(initial=0)))
        for indices, (all_rows, all_columns) in zip(layout.outers, factors.outers, strict=True):
            rows, columns = tf.nest.map_structure(lambda tensor: tensor[some], (all_rows, all_columns))
            made = np.asarray(products(((), ((rows, columns),)), ((), ((rows, columns),))), np.float64)
            lengths += np.diag(made)
            size = sum(layout.sizes[index] for index in indices) // columns.shape[-1]
            parts = [tuple(map(self._on_host, part)) for part in parts_of(rows, columns)]
            pairs.append(np.stack([made @ weights, _with_combination(parts, weights, size)]))
        return Products(pairs, np.stack([self._on_host(factors.squared_norms[some]), lengths]), excess)

    def _on_host(self, tensor: tf.Tensor) -> np.ndarray:
        """The numbers of a tensor; not a copy, unless they are of a precision in which NumPy is slow."""
        values = np.asarray(tensor)
        return values if values.dtype.kind == "i" else values.astype(self._directions.dtype, copy=False)


def _with_combination(parts: Sequence[tuple[np.ndarray, ...]], weights: np.ndarray, size: int) -> np.ndarray:
    """(m,): the products of m gradients, of rows of `size` entries, with their combination, which is formed."""
    total = np.zeros((size, parts[0][1].shape[-1]))
    for rows, columns in parts:
        weighted = (columns * weights[:, None, None]).reshape(-1, columns.shape[-1])
        if rows.dtype.kind == "i":
            np.add.at(total, rows.reshape(-1), weighted)
        else:
            total += rows.reshape(len(weighted), -1).T @ weighted
    found = np.zeros(len(weights))
    for rows, columns in parts:
        seen = total[rows] if rows.dtype.kind == "i" else rows @ total
        found += (seen * columns).sum((1, 2))
    return found
