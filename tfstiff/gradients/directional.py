"""Products of per-example gradients with directions in weight space, from the factors of the gradients.

A direction v is shaped like the weights. Where an example's gradient is a sum of outer products of rows and columns,
`Σ_t rows_t columns_tᵀ`, its product with v is `Σ_t rows_tᵀ v columns_t`, and no gradient is formed: that costs about
what a forward pass does, beside the factors, which cost a forward and a backward pass. What forward-mode
differentiation of the vector of losses gives is the same; this serves every model that the Gram matrix serves, proved.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfstiff.gradients.forming import in_parts
from tfstiff.gradients.gradient_factors import GradientFactors, Layout, Outers
from tfstiff.gradients.rows import parts_of


def products_along(
    formed: Sequence[tf.Tensor], outers: Outers, directions: Sequence[tf.Tensor], layout: Layout
) -> dict[int, tf.Tensor]:
    """Products of the gradients, as they are scaled, with each of D directions, the part of every weight by itself.

    Args:
        formed: Formed blocks of n examples, as in `GradientFactors`.
        outers: Their outers.
        directions: For each weight, in order: (D, its entries).
        layout: Which weight's gradient is where.

    Returns:
        By the index of the weight: (n, D). Weights that no loss depends on are absent.
    """
    found: dict[int, tf.Tensor] = {}
    for weights, block in zip(layout.formed, formed, strict=True):
        start = 0
        for weight in weights:
            part = block[:, start : start + layout.sizes[weight]]
            found[weight] = tf.matmul(part, directions[weight], transpose_b=True)
            start += layout.sizes[weight]
    for weights, (rows, columns) in zip(layout.outers, outers, strict=True):
        start, width = 0, int(columns.shape[-1])
        for weight in weights:
            size = layout.sizes[weight] // width
            by_row = tf.transpose(tf.reshape(directions[weight], [-1, size, width]), [1, 0, 2])
            # One-hot rows and others, of a table that is tied.
            found[weight] = tf.add_n(
                [
                    _of_outer(part if part.dtype.is_integer else part[:, :, start : start + size], own, by_row)
                    for part, own in parts_of(rows, columns)
                ]
            )
            start += size
    return found


def _of_outer(rows: tf.Tensor, columns: tf.Tensor, directions: tf.Tensor) -> tf.Tensor:
    """(n, D): `Σ_t rows_tᵀ v columns_t`; rows (n, T, p) or numbers of one-hot rows, directions (p, D, q)."""
    size, count, width = directions.shape

    def of_some(some: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
        if some.dtype.is_integer:
            met = tf.gather(directions, some)
        else:
            flat = tf.matmul(tf.reshape(some, [-1, size]), tf.reshape(directions, [size, -1]))
            met = tf.reshape(flat, [tf.shape(some)[0], -1, count, width])
        return tf.einsum("ntdq,ntq->nd", met, others)

    bytes_of_one = (rows.shape[1] or 1) * count * width * directions.dtype.size
    if rows.dtype.is_integer:  # the copies are of the columns' type, as what is returned is
        return in_parts(lambda others, some: of_some(some, others), [columns, rows], bytes_of_one, [count])
    return in_parts(of_some, [rows, columns], bytes_of_one, [count])


def sums_by_weight(factors: GradientFactors, layout: Layout) -> dict[int, tf.Tensor]:
    """The sum of the gradients themselves, from their factors, by the index of the weight: (its entries,).

    Args:
        factors: Of n examples.
        layout: Which weight's gradient is where in them. Weights that no loss depends on are absent.
    """
    found: dict[int, tf.Tensor] = {}
    inverse = tf.math.reciprocal(factors.scales)
    for weights, block in zip(layout.formed, factors.formed, strict=True):
        total, start = tf.linalg.matvec(block, inverse, transpose_a=True), 0
        for weight in weights:
            found[weight] = total[start : start + layout.sizes[weight]]
            start += layout.sizes[weight]
    for weights, (rows, columns) in zip(layout.outers, factors.outers, strict=True):
        start, width = 0, int(columns.shape[-1])
        scaled = columns * inverse[:, None, None]
        for weight in weights:
            size = layout.sizes[weight] // width
            parts = []
            for part, own in parts_of(rows, scaled):
                flat = tf.reshape(own, [-1, width])
                if part.dtype.is_integer:
                    parts.append(tf.math.unsorted_segment_sum(flat, tf.reshape(part, [-1]), size))
                else:
                    some = tf.reshape(part[:, :, start : start + size], [-1, size])
                    parts.append(tf.matmul(some, flat, transpose_a=True))
            found[weight] = tf.reshape(tf.add_n(parts), [-1])
            start += size
    return found
