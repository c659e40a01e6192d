"""Products of per-example gradients with directions in weight space, from the factors of the gradients.

A direction v is shaped like the weights. Where an example's gradient is a sum of outer products of rows and columns,
`Σ_t rows_t columns_tᵀ`, its product with v is `Σ_t rows_tᵀ v columns_t`, and no gradient is formed: that costs about
what a forward pass does, beside the factors, which cost a forward and a backward pass. What forward-mode
differentiation of the vector of losses gives is the same; this serves every model that the Gram matrix serves, proved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfstiff.gradients.gradient_factors import GradientFactors, Layout
from tfstiff.gradients.rows import parts_of

_BYTES = 128 * 2**20  # of what one product of rows with directions takes at a time


def products_by_weight(
    factors: GradientFactors, layout: Layout, directions: Sequence[np.ndarray]
) -> dict[int, np.ndarray]:
    """Products of the gradients with each of D directions, the part of every weight by itself.

    Args:
        factors: Of n examples.
        layout: Which weight's gradient is where in them.
        directions: For each weight, in order: (D, *its shape).

    Returns:
        By the index of the weight: (n, D) float64. Weights that no loss depends on are absent.
    """
    dtype = factors.losses.dtype
    flat = [tf.constant(part.reshape(len(part), -1), dtype) for part in directions]
    scales = factors.scales.numpy().astype(np.float64)[:, None]
    found: dict[int, np.ndarray] = {}
    for weights, block in zip(layout.formed, factors.formed, strict=True):
        start = 0
        for weight in weights:
            part = block[:, start : start + layout.sizes[weight]]
            found[weight] = tf.matmul(part, flat[weight], transpose_b=True).numpy() / scales
            start += layout.sizes[weight]
    for weights, (rows, columns) in zip(layout.outers, factors.outers, strict=True):
        start, width = 0, int(columns.shape[-1])
        for weight in weights:
            size = layout.sizes[weight] // width
            parts = [
                (part if part.dtype.is_integer else part[:, :, start : start + size], own)
                for part, own in parts_of(rows, columns)  # one-hot rows and others, of a table that is tied
            ]
            by_direction = [
                sum(_of_outer(*part, tf.reshape(one, [size, width])).numpy() for part in parts)
                for one in tf.unstack(flat[weight])
            ]
            found[weight] = np.stack(by_direction, 1) / scales
            start += size
    return found


def _of_outer(rows: tf.Tensor, columns: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """(n,): `Σ_t rows_tᵀ v columns_t`, a part of the examples at a time; rows (n, T, p) or numbers of one-hot rows."""
    bytes_of_one = max(int(rows.shape[1]) * int(direction.shape[1]) * direction.dtype.size, 1)
    count = int(rows.shape[0])
    step = max(_BYTES // bytes_of_one, 1)
    parts = []
    for start in range(0, count, step):
        some, others = rows[start : start + step], columns[start : start + step]
        if rows.dtype.is_integer:
            met = tf.gather(direction, some)
        else:
            met = tf.reshape(tf.matmul(tf.reshape(some, [-1, some.shape[-1]]), direction), tf.shape(others))
        parts.append(tf.reduce_sum(met * others, [1, 2]))
    return tf.concat(parts, 0)
