"""Products of per-example gradients, from their factors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff.gradients.factors import ELEMENTWISE_COST
from tfstiff.gradients.gradient_factors import Outers
from tfstiff.gradients.rows import MixedRows, dots, formed_entries, merged, num_entries, parts_of, row_products, size_of

Sides = tuple[tuple[tf.Tensor, ...], Outers]  # formed blocks and outers, as in `GradientFactors`

_LONG = 2**18  # entries of a gradient: their products summed in float32 are right to about 1e-5
_BYTES_IN_TURN = 128 * 2**20  # of gradients that are formed, multiplied and dropped, on each side


def products(first: Sides, second: Sides | None = None, known: Sequence[tf.Tensor | None] = ()) -> tf.Tensor:
    """(n, m): the product of every gradient of the first factors with every gradient of the second.

    Args:
        first: Formed blocks and outers of n examples.
        second: Of m examples; None means the first, whose gradients are then formed once where they are formed in turn.
        known: For the outers, in order: the products of their rows, (n, m), where they were computed before.
    """
    (formed, outers), (formed2, outers2) = first, second or first
    parts = [_block_products(block, block2) for block, block2 in zip(formed, formed2, strict=True)]
    known = known or (None,) * len(outers)
    parts += [
        _outer_products(outer, outer2, found, second is None)
        for outer, outer2, found in zip(outers, outers2, known, strict=True)
    ]
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _block_products(block: tf.Tensor, block2: tf.Tensor) -> tf.Tensor:
    """(n, m): of formed gradients; of long ones in pieces, as sums of millions in single precision lose digits."""
    width = block.shape[1]
    if width is None or width <= _LONG:
        return tf.matmul(block, block2, transpose_b=True)
    pieces = [slice(start, start + _LONG) for start in range(0, width, _LONG)]
    return tf.add_n([tf.matmul(block[:, piece], block2[:, piece], transpose_b=True) for piece in pieces])


def _outer_products(
    first: tuple[tf.Tensor, tf.Tensor],
    second: tuple[tf.Tensor, tf.Tensor],
    known: tf.Tensor | None,
    are_same: bool,
) -> tf.Tensor:
    """(n, m): `Σ_{t,s} (rows[i,t]·rows2[j,s]) (columns[i,t]·columns2[j,s])`."""
    if known is not None:
        return _by_pairs(first, second, known)

    (rows, columns), (_, columns2) = first, second
    if not isinstance(rows, MixedRows) and (rows.dtype.is_integer or columns.shape[1] == columns2.shape[1] == 1):
        return _all_pairs(first, second)
    for_pair, entries = _costs(first, second)
    if not tf.is_tensor(for_pair) and for_pair <= entries:
        return _all_pairs(first, second)
    cheaper: tf.Tensor = _cheaper(first, None if are_same else second)
    return cheaper


def _costs(
    first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor]
) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Multiply-adds of a pair of examples from the products of all rows, and entries of a gradient."""
    (rows, columns), (_, columns2) = first, second
    size, size2 = num_entries(rows), size_of(columns, 2)
    return size_of(columns, 1) * size_of(columns2, 1) * (size + size2 + ELEMENTWISE_COST), size * size2


# One function for all layers of the same sizes, in eager code and in traces: it is traced and made ready to run once.
@partial(quietly_traced, experimental_attributes={"_noinline": True})
def _cheaper(first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor] | None) -> tf.Tensor:
    """In the form that is cheaper for as many examples as there are."""
    others, second = second, second or first
    for_pair, entries = _costs(first, second)
    (count, positions), (count2, positions2) = (
        [size_of(columns, axis) for axis in (0, 1)] for _, columns in (first, second)
    )
    sizes = [count, count2, positions, positions2, for_pair, entries]
    if any(map(tf.is_tensor, sizes)):  # of which products may be more than an integer holds
        count, count2, positions, positions2, for_pair, entries = (tf.cast(size, tf.float32) for size in sizes)
    is_cheaper = (
        count * count2 * for_pair
        < (count * positions + (others is not None) * count2 * positions2 + count * count2) * entries
    )
    if tf.is_tensor(is_cheaper):
        return tf.cond(is_cheaper, lambda: _all_pairs(first, second), lambda: _in_turn(first, others))
    return _all_pairs(first, second) if is_cheaper else _in_turn(first, others)


def _all_pairs(first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """From the products of all rows, and of all columns; of mixed rows those of each kind with each."""
    return sum(_by_pairs(part, part2, None) for part in parts_of(*first) for part2 in parts_of(*second))


def _by_pairs(
    first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor], known: tf.Tensor | None
) -> tf.Tensor:
    """From the products of all rows, and of all columns."""
    (rows, columns), (rows2, columns2) = first, second
    pairs = dots(merged(columns), merged(columns2))
    pairs *= tf.cast(row_products(rows, rows2) if known is None else known, pairs.dtype)
    if rows.shape[1] == rows2.shape[1] == 1:
        return pairs
    shape = [tf.shape(rows)[0], size_of(rows, 1), tf.shape(rows2)[0], size_of(rows2, 1)]
    return tf.reduce_sum(tf.reshape(pairs, shape), [1, 3])


def _in_turn(first: tuple[tf.Tensor, tf.Tensor], others: tuple[tf.Tensor, tf.Tensor] | None) -> tf.Tensor:
    """From the gradients, of which some entries are formed at a time; None for the first with themselves."""
    columns, columns2 = first[1], (others or first)[1]
    count, count2 = tf.shape(columns)[0], tf.shape(columns2)[0]
    size = num_entries(first[0])
    bytes_of_entry = tf.maximum(count, count2) * size_of(columns, 2) * columns.dtype.size
    together = tf.maximum(_BYTES_IN_TURN // bytes_of_entry, 1)

    def add(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stop = tf.minimum(start + together, size)
        some = formed_entries(*first, start, stop)
        some2 = formed_entries(*others, start, stop) if others else some
        return stop, total + tf.matmul(some, some2, transpose_b=True)

    _, total = tf.while_loop(
        lambda start, _: start < size,
        add,
        (0, tf.zeros([count, count2], columns.dtype)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None])),
        parallel_iterations=1,
    )
    return total
