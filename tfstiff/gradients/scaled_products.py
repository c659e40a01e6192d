"""Products `g_iᵀ D g_j` of per-example gradients with a diagonal D between them, from their factors.

Of gradients `a_i ⊗ d_i` the product without D is `(a_i·a_j)(d_i·d_j)`; with D it is `Σ_pq a_ip d_iq D_pq a_jp d_jq`,
which does not factor. So gradients are formed, weight by weight and a few entries of a weight at a time, scaled by D on
one side, multiplied and dropped: never more is held than a few megabytes. Of one-hot rows, those of a table that is
looked up, D picks the rows that are met, so that it goes into the columns and nothing is formed.

For n and m examples and P weights that makes n·m·P multiply-adds, as the matrix product of formed gradients has, and
for each panel of k rows (`tiles`) (2 m + k)·P entries that are formed or scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.gradients.gradient_factors import GradientFactors, Layout
from tfstiff.gradients.products import Sides, products
from tfstiff.gradients.rows import MixedRows, Rows, formed_entries, own_row_products, size_of

_Entries = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_BYTES_IN_TURN = 8 * 2**20  # of gradients of each side that are formed at a time; fastest where a cache holds them


class Diagonals(NamedTuple):
    """D, arranged as the factors are.

    Attributes:
        formed: For each formed block: (size,), 0 where the block has columns of zeros.
        outers: For each pair of rows and columns: (p, q).
    """

    formed: tuple[tf.Tensor, ...]
    outers: tuple[tf.Tensor, ...]


def arranged(
    diagonals: Sequence[np.ndarray], factors: GradientFactors, layout: Layout, chosen: Collection[int] | None = None
) -> Diagonals:
    """D for the factors of all weights, or for those that `of_weights` makes of them for some.

    Args:
        diagonals: For each weight, in order: an array of its shape.
        factors: Of all weights.
        layout: Theirs.
        chosen: Indices of some weights; None means all.
    """
    dtype = factors.losses.dtype

    def joined(weights: Sequence[int], columns: int, rows: int | None) -> tf.Tensor:
        parts = [diagonals[weight].reshape(-1, columns) for weight in weights]
        found = np.concatenate([*parts, np.zeros((0, columns))])
        return tf.constant(found if rows is None else np.pad(found, [(0, rows - len(found)), (0, 0)]), dtype)

    formed, outers = [], []
    for weights, block in zip(layout.formed, factors.formed, strict=True):
        for group in _groups(weights, chosen):
            formed.append(joined(group, 1, block.shape[1] if group == weights else None)[:, 0])
    for weights, (_, columns) in zip(layout.outers, factors.outers, strict=True):
        outers += [joined(group, columns.shape[-1], None) for group in _groups(weights, chosen)]
    if not formed and not outers:
        formed.append(tf.zeros([1], dtype))  # of `no_gradients`
    return Diagonals(tuple(formed), tuple(outers))


def _groups(weights: tuple[int, ...], chosen: Collection[int] | None) -> list[tuple[int, ...]]:
    if chosen is None or all(weight in chosen for weight in weights):
        return [weights]
    return [(weight,) for weight in weights if weight in chosen]


def scaled_products(first: Sides, second: Sides | None = None, *, diagonals: Diagonals) -> tf.Tensor:
    """(n, m): `g_iᵀ D g_j` of every gradient of the first factors with every gradient of the second.

    Args:
        first: Formed blocks and outers of n examples.
        second: Of m examples; None means the first.
        diagonals: D.
    """
    (formed, outers), (formed2, outers2) = first, second or first
    parts = [_of_blocks(*blocks) for blocks in zip(formed, formed2, diagonals.formed, strict=True)]
    parts += [_of_outers(*pairs) for pairs in zip(outers, outers2, diagonals.outers, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def scaled_squared_norms(factors: GradientFactors, diagonals: Diagonals) -> tf.Tensor:
    """(n,): `g_iᵀ D g_i`."""
    total = tf.zeros_like(factors.losses)
    for block, diagonal in zip(factors.formed, diagonals.formed, strict=True):
        total += _squares(partial(_entries, block), diagonal[:, None], tf.shape(block)[0])
    for (rows, columns), diagonal in zip(factors.outers, diagonals.outers, strict=True):
        if _is_one_hot(rows):
            pairs = tf.matmul(columns * tf.gather(diagonal, rows), columns, transpose_b=True)
            total += tf.reduce_sum(pairs * tf.cast(own_row_products(rows), pairs.dtype), [1, 2])
        elif not isinstance(rows, MixedRows) and rows.shape[1] == 1:
            total += tf.reduce_sum(tf.matmul(rows[:, 0] ** 2, diagonal) * columns[:, 0] ** 2, 1)
        else:
            total += _squares(partial(formed_entries, rows, columns), diagonal, tf.shape(columns)[0])
    return total


def _of_blocks(block: tf.Tensor, block2: tf.Tensor, diagonal: tf.Tensor) -> tf.Tensor:
    entries, entries2 = (partial(_entries, side) for side in (block, block2))
    return _in_turn(entries, entries2, diagonal[:, None], tf.shape(block)[0], tf.shape(block2)[0])


def _of_outers(first: tuple[Rows, tf.Tensor], second: tuple[Rows, tf.Tensor], diagonal: tf.Tensor) -> tf.Tensor:
    (rows, columns), (_, columns2) = first, second
    if _is_one_hot(rows):
        return products(((), ((rows, columns * tf.gather(diagonal, rows)),)), ((), (second,)))
    entries, entries2 = (partial(formed_entries, *side) for side in (first, second))
    return _in_turn(entries, entries2, diagonal, tf.shape(columns)[0], tf.shape(columns2)[0])


def _is_one_hot(rows: Rows) -> bool:
    return not isinstance(rows, MixedRows) and rows.dtype.is_integer


def _entries(block: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
    return block[:, start:stop]


def _in_turn(
    entries: _Entries, entries2: _Entries, diagonal: tf.Tensor, count: tf.Tensor, count2: tf.Tensor
) -> tf.Tensor:
    """(n, m): the products of gradients of which some entries are formed at a time.

    Args:
        entries: From the first and the last of some rows of the diagonal to these entries of the n gradients.
        entries2: Of the m gradients.
        diagonal: (p, q).
        count: n.
        count2: m.
    """

    def product(start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        scaled = entries(start, stop) * tf.reshape(diagonal[start:stop], [-1])
        return tf.matmul(scaled, entries2(start, stop), transpose_b=True)

    return _summed(product, diagonal, tf.maximum(count, count2), [count, count2])


def _squares(entries: _Entries, diagonal: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """(n,): the squared lengths of gradients of which some entries are formed at a time."""

    def squares(start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matvec(entries(start, stop) ** 2, tf.reshape(diagonal[start:stop], [-1]))

    return _summed(squares, diagonal, count, [count])


def _summed(part: _Entries, diagonal: tf.Tensor, count: tf.Tensor, shape: Sequence[tf.Tensor]) -> tf.Tensor:
    """The sum of `part` over the rows of the diagonal, as many at a time as `_BYTES_IN_TURN` holds of n gradients."""
    size = tf.shape(diagonal)[0]
    together = tf.maximum(_BYTES_IN_TURN // (count * size_of(diagonal, 1) * diagonal.dtype.size), 1)

    def add(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stop = tf.minimum(start + together, size)
        return stop, total + part(start, stop)

    _, total = tf.while_loop(
        lambda start, _: start < size,
        add,
        (0, tf.zeros(shape, diagonal.dtype)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None] * len(shape))),
        parallel_iterations=1,
    )
    return total
