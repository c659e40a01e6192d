"""What is computed once per example so that products of gradients are cheap afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.gradients.factors import formed_outer

Outers = tuple[tuple[tf.Tensor, tf.Tensor], ...]


class Features(NamedTuple):
    """The per-example gradients of n examples, in a form that need not be the gradients themselves.

    The product of the gradients of i and j is
    `formed[i]·formed[j] + Σ_w Σ_{t,s} (rows_w[i,t]·rows_w[j,s]) (columns_w[i,t]·columns_w[j,s])`, divided by
    `scales[i] scales[j]`. The scales keep products of tiny gradients, as late in training, from underflowing; signs and
    cosines do not depend on them.

    Attributes:
        formed: (n, P_formed): the gradients of all weights whose gradients were formed, side by side.
        outers: A pair (rows (n, T, p), columns (n, T, q)) for each weight whose gradients were not formed; rows of
            integers, (n, T), stand for one-hot rows.
        scales: (n,) positive factors that the gradients of each example were multiplied by.
        losses: (n,) per-example losses.
        predictions: The model's output or outputs, first axis the examples.
    """

    formed: tf.Tensor
    outers: Outers
    scales: tf.Tensor
    losses: tf.Tensor
    predictions: Any


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


def inverse_scales(sizes: tf.Tensor) -> tf.Tensor:
    """Factors that bring the given sizes (n,) to 1; but 1 where a size is zero, too tiny to invert, or not finite."""
    inverse = tf.math.reciprocal_no_nan(sizes)
    return tf.where(tf.math.is_finite(inverse) & (inverse > 0), inverse, tf.ones_like(sizes))


def gradients_by_weight(features: Features, layout: Layout) -> list[tf.Tensor]:
    """The per-example gradients (n, size) of every weight, all of them formed, in the order of the weights."""
    found: dict[int, tf.Tensor] = {}
    for weight, (rows, columns) in zip(layout.outers, features.outers, strict=True):
        found[weight] = formed_outer(rows, columns, layout.sizes[weight] // columns.shape[-1])
    found.update(_formed_blocks(features, layout))
    nothing = tf.zeros_like(features.losses)[:, None]
    return [
        found[weight] / features.scales[:, None] if weight in found else tf.repeat(nothing, size, 1)
        for weight, size in enumerate(layout.sizes)
    ]


def of_weights(features: Features, layout: Layout, weights: Collection[int]) -> Features:
    """The features of some of the weights alone."""
    chosen = [block for weight, block in _formed_blocks(features, layout).items() if weight in weights]
    outers = tuple(outer for weight, outer in zip(layout.outers, features.outers, strict=True) if weight in weights)
    return features._replace(formed=join_formed(chosen, features.losses), outers=outers)


def _formed_blocks(features: Features, layout: Layout) -> dict[int, tf.Tensor]:
    """By weight: its block of `Features.formed`."""
    if not layout.formed:  # tf.split refuses to make no parts
        return {}
    widths = [layout.sizes[weight] for weight in layout.formed]
    return dict(zip(layout.formed, tf.split(features.formed, widths, 1), strict=True))


def products(formed: tf.Tensor, outers: Outers, formed2: tf.Tensor, outers2: Outers) -> tf.Tensor:
    """(n, m): the product of every gradient of the first features with every gradient of the second."""
    result = tf.matmul(formed, formed2, transpose_b=True)
    for (rows, columns), (rows2, columns2) in zip(outers, outers2, strict=True):
        n, m = tf.shape(rows)[0], tf.shape(rows2)[0]
        positions, positions2 = _size(rows, 1), _size(rows2, 1)
        if rows.dtype.is_integer:  # one-hot rows
            pairs = tf.cast(tf.reshape(rows, [-1, 1]) == tf.reshape(rows2, [1, -1]), result.dtype)
        else:
            pairs = tf.matmul(_merged(rows), _merged(rows2), transpose_b=True)
        pairs *= tf.matmul(_merged(columns), _merged(columns2), transpose_b=True)
        if not (rows.shape[1] == rows2.shape[1] == 1):
            pairs = tf.reduce_sum(tf.reshape(pairs, [n, positions, m, positions2]), [1, 3])
        result += pairs
    return result


def _merged(factor: tf.Tensor) -> tf.Tensor:
    """(n, T, p) to (n·T, p)."""
    return tf.reshape(factor, [-1, _size(factor, 2)])


def _size(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The size of an axis; a tensor where one trace serves factors of several sizes, as of several layers."""
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size


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
        (n, m) array of products of the scaled gradients, exactly symmetric where `others` is None.
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
