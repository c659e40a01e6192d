"""Sums over a tile of the matrix of cosines between gradients, made on the device: no matrix of pairs leaves it.

A tile is computed a panel of rows at a time, small enough to stay in a processor's cache; panels run in parallel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff.gradients.gradient_factors import Outers
from tfstiff.gradients.products import products
from tfstiff.gradients.scaled_products import Diagonals, scaled_products
from tfstiff.records.pair_set import SMALLEST_COSINE

# Of a tile on the diagonal, which has the smaller remainder the smaller its panels are, and of any other one: the rows
# of a panel, and how many panels are computed at a time.
_PANELS = {True: (250, 4), False: (500, 2)}
_KEPT = 16  # traced functions that are kept for the next model; a plan keeps its own


class Side(NamedTuple):
    """The examples along one side of a tile.

    Attributes:
        formed: Formed gradients, as in `GradientFactors`.
        outers: Factors, as in `GradientFactors`.
        inverse_norms: (n,) 1 / |g|; 0 for a gradient that is zero.
        classes: (n, C) one-hot classes; all zeros for an example that is left out.
        lengths: (n,) |g|, in whatever unit.
        batches: (n, S) one-hot mini-batches; all zeros for an example that is in none, or left out.
    """

    formed: tuple[tf.Tensor, ...]
    outers: Outers
    inverse_norms: tf.Tensor
    classes: tf.Tensor
    lengths: tf.Tensor
    batches: tf.Tensor


NO_DIAGONALS = Diagonals((), ())
Pairs = tuple[tf.Tensor, tf.Tensor]  # rows (N,) and columns (N,) int32 of some pairs of a tile, ordered by row


class TileSums(NamedTuple):
    """Sums over the pairs of an (n, m) tile, each pair once. c is the cosine, s the sign.

    Attributes:
        rows: (n, 3 C) Σ_j of c, c |g_j|, s, by class of j.
        columns: (m, 3 C) Σ_i of the same, by class of i. Of a tile on the diagonal these are the sums that `rows` do
            not hold: both added are the sums over all pairs with an example.
        row_squares: (n, 3 C) Σ_j of c², c² |g_j|², s², by class of j.
        column_squares: (m, 3 C) Σ_i of the same, by class of i; of a tile on the diagonal as `columns`.
        batches: (n, S) Σ_j of c |g_j|, by mini-batch of j.
        smallest: Smallest cosine.
        num_certain: Pairs whose cosine is at least 1e-6 in size.
        compared: For each of the lists of pairs asked for: their cosines, (N,).
        cosines: (n, m) the cosines, where they were asked for; else (0, m). Of a tile on the diagonal, only what is
            above it is sure to be there.
    """

    rows: tf.Tensor
    columns: tf.Tensor
    row_squares: tf.Tensor
    column_squares: tf.Tensor
    batches: tf.Tensor
    smallest: tf.Tensor
    num_certain: tf.Tensor
    compared: tuple[tf.Tensor, ...]
    cosines: tf.Tensor


def reduce_tile(
    first: Side,
    second: Side,
    known: tuple[tf.Tensor, ...],
    compared: tuple[Pairs, ...],
    diagonals: Diagonals = NO_DIAGONALS,
    *,
    fixed: tuple[bool, ...],
    is_diagonal: bool,
    keep_cosines: bool,
) -> TileSums:
    """Computes the cosines of an (n, m) tile and sums over them.

    Args:
        first: The rows' examples.
        second: The columns' examples; the same ones where `is_diagonal`.
        known: For each fixed outer the products of the columns' with the rows' rows, computed before: (m·S, n·T) where
            an example of the columns has S of them, and one of the rows T.
        compared: Lists of pairs whose cosines are wanted; above the diagonal where `is_diagonal`.
        diagonals: D, where gradients are multiplied as `g_iᵀ D g_j`; then no outer is fixed.
        fixed: For each outer: whether the products of its rows are known.
        is_diagonal: Whether the tile is on the diagonal, where self pairs are left out.
        keep_cosines: Whether to return the cosines.
    """
    count, width = tf.shape(first.classes)[0], tf.shape(second.classes)[0]
    dtype = first.classes.dtype
    panel_rows, num_parallel = _PANELS[is_diagonal]
    num_panels = -(-count // panel_rows)
    is_counted = tuple(tf.reduce_sum(side.classes, 1) > 0 for side in (first, second))
    are_all_counted = tf.reduce_all(is_counted[0]) & tf.reduce_all(is_counted[1])

    def panel(index: tf.Tensor, state: TileSums) -> tuple[tf.Tensor, TileSums]:
        start, stop = index * count // num_panels, (index + 1) * count // num_panels
        begin = start if is_diagonal else 0  # what is left of the diagonal is the mirror image of what is above it
        left, right = _part(first, start, stop), _part(second, begin, width)
        parts = iter(known)
        found = [
            _known_part(next(parts), rows, rows2, start, stop, begin) if is_fixed else None
            for is_fixed, (rows, _), (rows2, _) in zip(fixed, first.outers, second.outers, strict=True)
        ]
        # A panel lies on its side, (columns, rows): matrix products are faster with the longer side first.
        if any(diagonals):
            cosine = scaled_products(right[:2], left[:2], diagonals=diagonals)
        else:
            cosine = products(right[:2], left[:2], found)
        cosine *= right.inverse_norms[:, None] * left.inverse_norms
        counted = tuple(some[a:b] for some, a, b in zip(is_counted, (start, begin), (stop, width), strict=True))
        smallest = tf.cond(
            are_all_counted,
            lambda: tf.reduce_min(cosine),
            lambda: tf.reduce_min(tf.where(counted[1][:, None] & counted[0], cosine, tf.ones_like(cosine))),
        )
        once = tf.ones([width - begin], dtype)
        if is_diagonal:
            cosine = tf.linalg.set_diag(cosine, tf.zeros([stop - start], dtype))
            once -= tf.pad(tf.fill([stop - start], tf.constant(0.5, dtype)), [[0, width - stop]])
        sign = tf.sign(cosine)
        both = ((cosine, sign), (cosine * cosine, sign * sign))
        rows, columns = [], []
        for power, (cosines, signs) in enumerate(both, start=1):
            by_column = tf.concat([tf.matmul(cosines, _weights(left, power)), tf.matmul(signs, left.classes)], 1)
            if is_diagonal:  # of the square on the diagonal, rows hold both triangles
                by_column = tf.pad(by_column[stop - start :], [[stop, 0], [0, 0]])
            columns.append(by_column)
            rows.append(tf.concat([_by_row(cosines, _weights(right, power)), _by_row(signs, right.classes)], 1))
        batches = _by_row(cosine, right.batches * (right.lengths * once)[:, None])
        is_certain = tf.cast(tf.abs(cosine) >= SMALLEST_COSINE, dtype)
        num_certain = tf.cast(tf.reduce_sum(_by_row(is_certain, once[:, None])), tf.float64)
        values = [_values(cosine, pairs, start, stop, begin) for pairs in compared]
        kept = tf.pad(tf.transpose(cosine), [[0, 0], [begin, 0]]) if keep_cosines else tf.zeros([0, width], dtype)
        return index + 1, TileSums(
            state.rows.write(index, rows[0]),
            state.columns + columns[0],
            state.row_squares.write(index, rows[1]),
            state.column_squares + columns[1],
            state.batches.write(index, batches),
            tf.minimum(state.smallest, smallest),
            state.num_certain + num_certain,
            tuple(array.write(index, found) for array, found in zip(state.compared, values, strict=True)),
            state.cosines.write(index, kept),
        )

    def array(*shape: int | None) -> tf.TensorArray:
        return tf.TensorArray(dtype, num_panels, infer_shape=False, element_shape=[None, *shape])

    no_columns = tf.zeros([width, 3 * tf.shape(first.classes)[1]], dtype)
    start = TileSums(
        array(None),
        no_columns,
        array(None),
        no_columns,
        array(None),
        tf.constant(1, dtype),
        tf.constant(0, tf.float64),
        tuple(array() for _ in compared),
        array(None),
    )
    _, sums = tf.while_loop(lambda index, _: index < num_panels, panel, (0, start), parallel_iterations=num_parallel)
    return sums._replace(
        rows=sums.rows.concat(),
        row_squares=sums.row_squares.concat(),
        batches=sums.batches.concat(),
        compared=tuple(values.concat() for values in sums.compared),
        cosines=sums.cosines.concat(),
    )


def signature_of(
    first: Side, second: Side, known: tuple[tf.Tensor, ...], compared: tuple[Pairs, ...]
) -> tuple[Any, ...]:
    """What `reduce_tile` is traced for, so that one trace serves tiles of all sizes and any number of classes."""

    def any_size(tensors: Any, axes: int = 1) -> Any:
        return tf.nest.map_structure(
            lambda tensor: tf.TensorSpec([None] * axes + tensor.shape[axes:].as_list(), tensor.dtype), tensors
        )

    sides = (any_size(side)._replace(classes=any_size(side.classes, 2)) for side in (first, second))
    return (*sides, any_size(known, 2), any_size(compared))


@lru_cache(maxsize=_KEPT)
def traced_tile(signature: tuple[Any, ...], choices: tuple[tuple[str, Any], ...]) -> Callable[..., TileSums]:
    """`reduce_tile`, traced once for tiles of a signature, whosever gradients they are of.

    Args:
        signature: Of its arguments.
        choices: Its keyword arguments.
    """

    def reduce(*tile: Any) -> TileSums:
        return reduce_tile(*tile, **dict(choices))

    traced: Callable[..., TileSums] = quietly_traced(reduce, input_signature=signature)
    return traced


def _part(side: Side, start: tf.Tensor | int, stop: tf.Tensor) -> Side:
    return tf.nest.map_structure(lambda tensor: tensor[start:stop], side)


def _known_part(
    known: tf.Tensor, rows: tf.Tensor, rows2: tf.Tensor, start: tf.Tensor, stop: tf.Tensor, begin: tf.Tensor | int
) -> tf.Tensor:
    """Of known products (m·S, n·T), those of a panel, from the rows (n, T, …) and (m, S, …) of both sides."""
    size, size2 = tf.shape(rows)[1], tf.shape(rows2)[1]
    return known[begin * size2 :, start * size : stop * size]


def _weights(side: Side, power: int) -> tf.Tensor:
    """(n, 2 C): one-hot classes, and the same times a power of the lengths."""
    return tf.concat([side.classes, side.classes * (side.lengths**power)[:, None]], 1)


def _by_row(panel: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """(rows, C): sums over the columns of a panel (columns, rows)."""
    return tf.matmul(panel, weights, transpose_a=True)


def _values(panel: tf.Tensor, pairs: Pairs, start: tf.Tensor, stop: tf.Tensor, begin: tf.Tensor) -> tf.Tensor:
    """Of the pairs in the rows `start` to `stop`: their cosines in a panel (columns, rows)."""
    rows, columns = pairs
    first, last = tf.unstack(tf.searchsorted(rows, [start, stop]))
    index = (columns[first:last] - begin) * (stop - start) + rows[first:last] - start
    return tf.gather(tf.reshape(panel, [-1]), index)
