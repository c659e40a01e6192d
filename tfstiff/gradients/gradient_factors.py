"""What is computed once per example so that products of gradients are cheap afterwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfstiff.gradients.forming import in_parts
from tfstiff.gradients.rows import MixedRows, Rows, formed_outer, own_row_products

_WIDE = 8192  # entries of gradients whose squares are summed a few examples at a time

Outers = tuple[tuple[Rows, tf.Tensor], ...]


class GradientFactors(NamedTuple):
    """The per-example gradients of n examples, in a form that need not be the gradients themselves.

    The product of the gradients of i and j is
    `Σ_b formed_b[i]·formed_b[j] + Σ_w Σ_{t,s} (rows_w[i,t]·rows_w[j,s]) (columns_w[i,t]·columns_w[j,s])`, divided by
    `scales[i] scales[j]`. The scales keep products of tiny gradients, as late in training, from underflowing; signs and
    cosines do not depend on them.

    Attributes:
        formed: Gradients that were formed: blocks (n, size), each of one weight or of several small ones side by side;
            there may be columns of zeros behind them.
        outers: A pair (rows (n, T, p), columns (n, T, q)) for gradients that were not formed, of one weight, or of
            several whose rows lie side by side; rows of integers, (n, T), stand for one-hot rows, and there may be
            some of each (`MixedRows`).
        squared_norms: (n,) squared lengths of the gradients, scaled.
        scales: (n,) positive factors that the gradients of each example were multiplied by.
        losses: (n,) per-example losses.
        predictions: The model's output or outputs, first axis the examples.
    """

    formed: tuple[tf.Tensor, ...]
    outers: Outers
    squared_norms: tf.Tensor
    scales: tf.Tensor
    losses: tf.Tensor
    predictions: Any


class Layout(NamedTuple):
    """Which weight's gradient is where in `GradientFactors`.

    Attributes:
        formed: For each block of `formed`: the indices of its weights, in order.
        outers: For each pair of `outers`: the indices of the weights whose rows lie side by side.
        fixed: For each pair of `outers`: whether its rows depend on the examples alone, on no weight, so that
            their products are the same at every measurement.
        sizes: Number of entries of every weight.
    """

    formed: tuple[tuple[int, ...], ...]
    outers: tuple[tuple[int, ...], ...]
    fixed: tuple[bool, ...]
    sizes: tuple[int, ...]


def inverse_scales(sizes: tf.Tensor) -> tf.Tensor:
    """Factors that bring the given sizes (n,) to 1; but 1 where a size is zero, too tiny to invert, or not finite."""
    inverse = tf.math.reciprocal_no_nan(sizes)
    return tf.where(tf.math.is_finite(inverse) & (inverse > 0), inverse, tf.ones_like(sizes))


def gradients_by_weight(factors: GradientFactors, layout: Layout) -> list[tf.Tensor]:
    """The per-example gradients (n, size) of every weight, all of them formed, in the order of the weights."""
    found: dict[int, tf.Tensor] = {}
    for weights, block in zip(layout.formed, factors.formed, strict=True):
        found.update(_split(block, weights, layout.sizes))
    for weights, (rows, columns) in zip(layout.outers, factors.outers, strict=True):
        size = sum(layout.sizes[weight] for weight in weights)
        found.update(_split(formed_outer(rows, columns, size // columns.shape[-1]), weights, layout.sizes))
    nothing = tf.zeros_like(factors.losses)[:, None]
    return [
        found[weight] / factors.scales[:, None] if weight in found else tf.repeat(nothing, size, 1)
        for weight, size in enumerate(layout.sizes)
    ]


def of_weights(factors: GradientFactors, layout: Layout, chosen: Collection[int]) -> GradientFactors:
    """The factors of some of the weights alone."""
    formed = []
    for weights, block in zip(layout.formed, factors.formed, strict=True):
        if all(weight in chosen for weight in weights):
            formed.append(block)
        else:
            parts = _split(block, weights, layout.sizes)
            formed += [part for weight, part in parts.items() if weight in chosen]
    outers = []
    for weights, (rows, columns) in zip(layout.outers, factors.outers, strict=True):
        if all(weight in chosen for weight in weights):
            outers.append((rows, columns))
        elif any(weight in chosen for weight in weights):
            widths = [layout.sizes[weight] // columns.shape[-1] for weight in weights]
            parts = dict(zip(weights, tf.split(rows, widths, -1), strict=True))
            outers += [(part, columns) for weight, part in parts.items() if weight in chosen]
    if not formed and not outers:
        formed.append(no_gradients(factors.losses))
    norms = squared_norms(formed, outers, factors.losses)
    return factors._replace(formed=tuple(formed), outers=tuple(outers), squared_norms=norms)


def no_gradients(losses: tf.Tensor) -> tf.Tensor:
    """(n, 1) zeros, which stand for the gradients where the losses (n,) depend on no weight."""
    return tf.zeros_like(losses)[:, None]


def squared_norms(
    formed: Sequence[tf.Tensor], outers: Sequence[tuple[Rows, tf.Tensor]], losses: tf.Tensor
) -> tf.Tensor:
    """(n,): the product of every gradient with itself; zeros, like the losses (n,), where there are no weights."""
    total = tf.zeros_like(losses)
    wide = [block for block in formed if block.shape[1] > _WIDE]
    narrow = [block for block in formed if block.shape[1] <= _WIDE]
    if wide:  # in one loop, as loops take long to trace
        total += in_parts(_summed_squares, wide, max(block.shape[1] * block.dtype.size for block in wide))
    if narrow:
        total += _summed_squares(*narrow)
    for rows, columns in outers:
        if not isinstance(rows, MixedRows) and rows.shape[1] == 1 and not rows.dtype.is_integer:
            total += tf.reduce_sum(rows * rows, [1, 2]) * tf.reduce_sum(columns * columns, [1, 2])
            continue
        pairs = tf.matmul(columns, columns, transpose_b=True)
        pairs *= tf.cast(own_row_products(rows), pairs.dtype)
        total += tf.reduce_sum(pairs, [1, 2])
    return total


def _summed_squares(*blocks: tf.Tensor) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(rows * rows, 1) for rows in blocks])


def _split(block: tf.Tensor, weights: Sequence[int], sizes: Sequence[int]) -> dict[int, tf.Tensor]:
    widths = [sizes[weight] for weight in weights]
    if not widths:
        return {}
    return dict(zip(weights, tf.split(block[:, : sum(widths)], widths, 1), strict=True))
