"""What is computed once per example so that products of gradients are cheap afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

Outers = tuple[tuple[tf.Tensor, tf.Tensor], ...]


class Features(NamedTuple):
    """The per-example gradients of n examples, in a form that need not be the gradients themselves.

    The product of the gradients of i and j is
    `formed[i]·formed[j] + Σ_w Σ_{t,s} (rows_w[i,t]·rows_w[j,s]) (columns_w[i,t]·columns_w[j,s])`.

    Attributes:
        formed: (n, P_formed): the gradients of all weights whose gradients were formed, side by side.
        outers: A pair (rows (n, T, p), columns (n, T, q)) for each weight whose gradients were not formed.
        losses: (n,) per-example losses.
        predictions: The model's output, first axis the examples.
    """

    formed: tf.Tensor
    outers: Outers
    losses: tf.Tensor
    predictions: tf.Tensor


class Layout(NamedTuple):
    """Which weight's gradient is where in `Features`.

    Attributes:
        formed: For each block of `Features.formed`, in order: the weight's index.
        outers: For each pair of `Features.outers`: the weight's index.
        sizes: Number of entries of every weight.
    """

    formed: tuple[int, ...]
    outers: tuple[int, ...]
    sizes: tuple[int, ...]


def join_formed(blocks: Sequence[tf.Tensor], losses: tf.Tensor) -> tf.Tensor:
    """Formed gradients (n, size) side by side; (n, 0) where there are none."""
    return tf.concat(blocks, 1) if blocks else tf.zeros([tf.shape(losses)[0], 0], losses.dtype)


def gradients_by_weight(features: Features, layout: Layout) -> list[tf.Tensor]:
    """The per-example gradients (n, size) of every weight, all of them formed, in the order of the weights."""
    found: dict[int, tf.Tensor] = {}
    for weight, (rows, columns) in zip(layout.outers, features.outers, strict=True):
        gradient = tf.matmul(rows, columns, transpose_a=True)
        found[weight] = tf.reshape(gradient, [rows.shape[0], layout.sizes[weight]])
    start = 0
    for weight in layout.formed:
        found[weight] = features.formed[:, start : start + layout.sizes[weight]]
        start += layout.sizes[weight]
    nothing = tf.zeros_like(features.losses)[:, None]
    return [
        found[weight] if weight in found else tf.repeat(nothing, size, 1) for weight, size in enumerate(layout.sizes)
    ]


def products(formed: tf.Tensor, outers: Outers, formed2: tf.Tensor, outers2: Outers) -> tf.Tensor:
    """(n, m): the product of every gradient of the first features with every gradient of the second."""
    result = tf.matmul(formed, formed2, transpose_b=True)
    for (rows, columns), (rows2, columns2) in zip(outers, outers2, strict=True):
        n, m = tf.shape(rows)[0], tf.shape(rows2)[0]
        positions, positions2 = rows.shape[1], rows2.shape[1]
        pairs = tf.matmul(_merged(rows), _merged(rows2), transpose_b=True)
        pairs *= tf.matmul(_merged(columns), _merged(columns2), transpose_b=True)
        if (positions, positions2) != (1, 1):
            pairs = tf.reduce_sum(tf.reshape(pairs, [n, positions, m, positions2]), [1, 3])
        result += pairs
    return result


def _merged(factor: tf.Tensor) -> tf.Tensor:
    """(n, T, p) to (n·T, p)."""
    return tf.reshape(factor, [-1, factor.shape[-1]])


def gram_of(
    multiply: Callable[..., tf.Tensor], chunks: Sequence[Features], others: Sequence[Features] | None = None
) -> np.ndarray:
    """Assembles the Gram matrix from the features of chunks of examples, tile by tile.

    Args:
        multiply: `products`, traced.
        chunks: Features of the first set of examples, in order.
        others: Of the second set; None means the first again, of which only the tiles on and above the diagonal are
            computed.

    Returns:
        (n, m) array, exactly symmetric where `others` is None.
    """
    columns = chunks if others is None else others
    row_ends = np.cumsum([0, *(int(chunk.losses.shape[0]) for chunk in chunks)])
    column_ends = np.cumsum([0, *(int(chunk.losses.shape[0]) for chunk in columns)])
    gram = np.empty((row_ends[-1], column_ends[-1]), chunks[0].losses.dtype.as_numpy_dtype)
    for i, first in enumerate(chunks):
        for j, second in enumerate(columns):
            if others is None and j < i:
                continue
            tile = multiply(first.formed, first.outers, second.formed, second.outers).numpy()
            row, column = slice(*row_ends[i : i + 2]), slice(*column_ends[j : j + 2])
            if others is None and i == j:
                tile = (tile + tile.T) / 2
            gram[row, column] = tile
            if others is None and j > i:
                gram[column, row] = tile.T
    return gram
