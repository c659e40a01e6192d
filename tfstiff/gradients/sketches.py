"""Random projections of gradients: small, and different where the gradients are.

A gradient M, (p, q), is held as `Uᵀ M V / k` with Gaussian U, (p, k), and V, (q, k): k² numbers whose Euclidean length
is that of M on average, also for differences of gradients. For a combination `Σ_i d_i g_i` of per-example gradients
they come from the factors, `Σ_t (rows_it U)ᵀ d_i (columns_it V)`, so that neither it nor any g_i is formed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfstiff.gradients.gradient_factors import Layout

_WIDTH = 8  # k


def directions(longest: int) -> np.ndarray:
    """(longest, k) random numbers, of which as many rows are used as a gradient has rows, or columns."""
    return np.random.default_rng(0).normal(size=(longest, _WIDTH))


def width_of(shape: Sequence[int]) -> int:
    """Columns of a weight as a matrix: entries of its last axis."""
    return max(shape[-1], 1) if shape else 1


def of_gradient(gradient: tf.Tensor, width: int, chosen: tf.Tensor) -> tf.Tensor:
    """(k²,) of one gradient of any shape, as a matrix of `width` columns; the gradient itself where that is shorter.

    Args:
        gradient: The gradient, of a size known while tracing.
        width: Columns.
        chosen: What `directions` returns.
    """
    size = gradient.shape.num_elements()
    if size <= _WIDTH**2:
        return tf.reshape(gradient, [-1])
    matrix = tf.reshape(gradient, [size // width, width])
    projected = tf.matmul(chosen[: size // width], tf.matmul(matrix, chosen[:width]), transpose_a=True)
    return tf.reshape(projected, [-1]) / _WIDTH


def of_combination(
    formed: Sequence[tf.Tensor],
    outers: Sequence[tuple[tf.Tensor, tf.Tensor]],
    layout: Layout,
    shapes: Sequence[tuple[int, ...]],
    weights: tf.Tensor,
    chosen: tf.Tensor,
) -> dict[int, tf.Tensor]:
    """By weight: of `Σ_i weights[i] g_i`, the gradients as `GradientFactors` holds them.

    Args:
        formed: Formed blocks of n examples.
        outers: Pairs of factors.
        layout: Which weight is where.
        shapes: Of every weight.
        weights: (n,).
        chosen: What `directions` returns.
    """
    found: dict[int, tf.Tensor] = {}
    for indices, block in zip(layout.formed, formed, strict=True):
        total = tf.linalg.matvec(block, weights, transpose_a=True)
        start = 0
        for index in indices:
            part = total[start : start + layout.sizes[index]]
            start += layout.sizes[index]
            found[index] = of_gradient(tf.ensure_shape(part, [layout.sizes[index]]), width_of(shapes[index]), chosen)
    for indices, (rows, columns) in zip(layout.outers, outers, strict=True):
        width = columns.shape[-1]
        weighted = tf.reshape(columns * weights[:, None, None], [-1, width])
        right = tf.matmul(weighted, chosen[:width])
        if rows.dtype.is_integer:
            (index,) = indices
            left = tf.gather(chosen[: layout.sizes[index] // width], tf.reshape(rows, [-1]))
            found[index] = _joined(left, right)
            continue
        start, flat = 0, tf.reshape(rows, [-1, rows.shape[-1]])
        for index in indices:
            count = layout.sizes[index] // width
            found[index] = _joined(tf.matmul(flat[:, start : start + count], chosen[:count]), right)
            start += count
    return found


def of_batch(
    gradients: Mapping[int, tf.Tensor], widths: Mapping[int, int], shapes: Sequence[tuple[int, ...]], chosen: tf.Tensor
) -> dict[int, tf.Tensor]:
    """By weight: of gradients of a batch, in the form that `of_combination` has for the same weight.

    Args:
        gradients: By weight.
        widths: By weight that is held as factors: entries of a column.
        shapes: Of every weight.
        chosen: What `directions` returns.
    """
    found = {}
    for index, gradient in gradients.items():
        if index in widths:
            matrix = tf.reshape(gradient, [-1, widths[index]])
            found[index] = _joined(chosen[: matrix.shape[0]], tf.matmul(matrix, chosen[: widths[index]]))
        else:
            found[index] = of_gradient(gradient, width_of(shapes[index]), chosen)
    return found


def _joined(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """(k²,) from (rows, k) and (rows, k)."""
    return tf.reshape(tf.matmul(left, right, transpose_a=True), [-1]) / _WIDTH
