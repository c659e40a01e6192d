"""Products of per-example gradients, from their factors."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfstiff.gradients.gradient_factors import Outers

Sides = tuple[tuple[tf.Tensor, ...], Outers]  # formed blocks and outers, as in `GradientFactors`


def products(first: Sides, second: Sides, known: Sequence[tf.Tensor | None] = ()) -> tf.Tensor:
    """(n, m): the product of every gradient of the first factors with every gradient of the second.

    Args:
        first: Formed blocks and outers of n examples.
        second: Of m examples.
        known: For the outers, in order: the products of their rows, (n, m), where they were computed before.
    """
    (formed, outers), (formed2, outers2) = first, second
    parts = [tf.matmul(block, block2, transpose_b=True) for block, block2 in zip(formed, formed2, strict=True)]
    known = known or (None,) * len(outers)
    parts += [
        _outer_products(outer, outer2, found) for outer, outer2, found in zip(outers, outers2, known, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def row_products(rows: tf.Tensor, rows2: tf.Tensor) -> tf.Tensor:
    """(n·T, m·S): the product of every row with every row; of one-hot rows, given as integers, whether they agree."""
    if rows.dtype.is_integer:
        return tf.reshape(rows, [-1, 1]) == tf.reshape(rows2, [1, -1])
    return tf.matmul(_merged(rows), _merged(rows2), transpose_b=True)


def _outer_products(
    first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor], known: tf.Tensor | None
) -> tf.Tensor:
    """(n, m): `Σ_{t,s} (rows[i,t]·rows2[j,s]) (columns[i,t]·columns2[j,s])`."""
    (rows, columns), (rows2, columns2) = first, second
    pairs = tf.matmul(_merged(columns), _merged(columns2), transpose_b=True)
    pairs *= tf.cast(row_products(rows, rows2) if known is None else known, pairs.dtype)
    if rows.shape[1] == rows2.shape[1] == 1:
        return pairs
    shape = [tf.shape(rows)[0], _size(rows, 1), tf.shape(rows2)[0], _size(rows2, 1)]
    return tf.reduce_sum(tf.reshape(pairs, shape), [1, 3])


def _merged(factor: tf.Tensor) -> tf.Tensor:
    """(n, T, p) to (n·T, p)."""
    return tf.reshape(factor, [-1, _size(factor, 2)])


def _size(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The size of an axis; a tensor where one trace serves factors of several sizes, as of several layers."""
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size
