"""How per-example gradients are formed on a CPU: in rows that its caches like, and with copies that stay in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

# Bytes that the copies of a few examples may take: about a processor's second- and third-level cache.
_BYTES_TOGETHER = 4 * 2**20
_PARALLEL_PARTS = 4
# Rows a multiple of this apart fall into the same few places of a cache, so that a matrix product of them takes a
# quarter longer; a few zeros more on each row avoid it.
_ALIASING_BYTES = 4096


def sum_of_outers(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """(n, padded_width(p, q)): `Σ_t rows[i, t] ⊗ columns[i, t]`, flat, the last columns zero.

    Args:
        rows: (n, T, p), T and p known while tracing.
        columns: (n, T, q).
    """
    (positions, size), size2 = rows.shape[1:], columns.shape[-1]
    width = padded_width(size, size2, columns.dtype)
    more = [0, width // size2 - size]
    is_less_before = positions < size2  # to copy
    if is_less_before and any(more):
        rows = tf.pad(rows, [[0, 0], [0, 0], more])
    product = tf.matmul(rows, columns, transpose_a=True)
    if not is_less_before and any(more):
        product = tf.pad(product, [[0, 0], more, [0, 0]])
    return tf.reshape(product, [-1, width])


def padded_width(size: int, size2: int, dtype: tf.DType) -> int:
    """Columns of sums of outer products (p, q): as many as these have entries, or one row more."""
    width = size * size2
    return width + size2 if width * dtype.size % _ALIASING_BYTES == 0 else width


def in_parts(
    form: Callable[..., tf.Tensor], tensors: Sequence[tf.Tensor], bytes_of_copies: int, row: Sequence[int] = ()
) -> tf.Tensor:
    """`form(*tensors)`; a few examples at a time where the copies that it makes are larger than what it returns.

    Args:
        form: From rows of the tensors to rows of the result, first axis the examples.
        tensors: First axis the examples.
        bytes_of_copies: That `form` makes for each example.
        row: Shape of a row of the result.
    """
    dtype = tensors[0].dtype
    if tf.config.list_physical_devices("GPU") or bytes_of_copies <= math.prod(row) * dtype.size:
        return form(*tensors)
    count = tf.shape(tensors[0])[0]
    num_parts = -(-count // max(1, _BYTES_TOGETHER // bytes_of_copies))

    def add_part(part: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        some = slice(part * count // num_parts, (part + 1) * count // num_parts)
        return part + 1, found.write(part, form(*(tensor[some] for tensor in tensors)))

    found = tf.TensorArray(dtype, num_parts, infer_shape=False, element_shape=[None, *row])
    _, found = tf.while_loop(
        lambda part, _: part < num_parts, add_part, (0, found), parallel_iterations=_PARALLEL_PARTS
    )
    return tf.ensure_shape(found.concat(), [None, *row])
