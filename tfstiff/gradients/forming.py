"""How per-example gradients are formed on a CPU: a few examples at a time, in rows that its caches like."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

# Bytes that forming the gradients of a few examples may touch: about a processor's second- and third-level cache.
_BYTES_TOGETHER = 4 * 2**20
_PARALLEL_PARTS = 4
# Rows a multiple of this apart fall into the same few places of a cache, so that a matrix product of them takes a
# quarter longer; a few zeros more on each row avoid it.
_ALIASING_BYTES = 4096
_PADDING = 16


def padded_width(size: int, dtype: tf.DType) -> int:
    """Columns of rows of `size` gradient entries: as many, or a few more, which are zero."""
    return size + _PADDING if size * dtype.size % _ALIASING_BYTES == 0 else size


def formed_in_parts(
    form: Callable[..., tf.Tensor], tensors: Sequence[tf.Tensor], bytes_per_example: int, size: int
) -> tf.Tensor:
    """Forms the gradients of n examples.

    Args:
        form: From rows of the tensors to the gradients of their examples, first axis the examples.
        tensors: First axis the examples.
        bytes_per_example: That `form` touches.
        size: Entries of one gradient.

    Returns:
        (n, padded_width(size)), the last columns zero.
    """
    dtype = tensors[0].dtype
    width = padded_width(size, dtype)

    def padded(*parts: tf.Tensor) -> tf.Tensor:
        return tf.pad(tf.reshape(form(*parts), [-1, size]), [[0, 0], [0, width - size]])

    if tf.config.list_physical_devices("GPU"):
        return padded(*tensors)
    count = tf.shape(tensors[0])[0]
    num_parts = -(-count // max(1, _BYTES_TOGETHER // bytes_per_example))

    def add_part(part: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        some = slice(part * count // num_parts, (part + 1) * count // num_parts)
        return part + 1, found.write(part, padded(*(tensor[some] for tensor in tensors)))

    found = tf.TensorArray(dtype, num_parts, infer_shape=False, element_shape=[None, width])
    _, found = tf.while_loop(
        lambda part, _: part < num_parts, add_part, (0, found), parallel_iterations=_PARALLEL_PARTS
    )
    return tf.ensure_shape(found.concat(), [None, width])
