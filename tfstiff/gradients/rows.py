"""The rows of per-example gradients `Σ_t rows[i, t] ⊗ columns[i, t]`, in each of the forms that they are held in.

They are numbers, (n, T, p); or one-hot and held as integers, (n, T): those of a table that is looked up; or some of
each, of a table that is looked up and multiplied by as well, as the embedding of a language model is.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import tensorflow as tf

from tfstiff.gradients.forming import sum_of_outers


class MixedRows(NamedTuple):
    """One-hot rows and others, of the same examples; the one-hot ones come first.

    Attributes:
        indices: (n, T) integers.
        dense: (n, S, p).
    """

    indices: tf.Tensor
    dense: tf.Tensor


Rows: TypeAlias = tf.Tensor | MixedRows


def parts_of(rows: Rows, columns: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The rows of one kind, and their columns (n, T, q); of mixed rows two pairs."""
    if not isinstance(rows, MixedRows):
        return [(rows, columns)]
    count = size_of(rows.indices, 1)
    return [(rows.indices, columns[:, :count]), (rows.dense, columns[:, count:])]


def row_products(rows: tf.Tensor, rows2: tf.Tensor) -> tf.Tensor:
    """(n·T, m·S): the product of every row with every row, each of one kind; of one-hot rows, whether they agree."""
    if rows.dtype.is_integer and rows2.dtype.is_integer:
        return tf.reshape(rows, [-1, 1]) == tf.reshape(rows2, [1, -1])
    if rows.dtype.is_integer:
        return tf.transpose(row_products(rows2, rows))
    if rows2.dtype.is_integer:
        return tf.gather(merged(rows), tf.reshape(rows2, [-1]), axis=1)
    return dots(merged(rows), merged(rows2))


def dots(rows: tf.Tensor, rows2: tf.Tensor) -> tf.Tensor:
    """(n, m): the products of rows (n, p), as short as here, with rows (m, p).

    On a CPU TensorFlow is a tenth faster where the second matrix is transposed before than where it has to do it.
    """
    return tf.matmul(rows, tf.transpose(rows2))


def own_row_products(rows: Rows) -> tf.Tensor:
    """(n, T, T): for each example, the products of its rows."""
    if isinstance(rows, MixedRows):
        across = tf.gather(rows.dense, rows.indices, axis=2, batch_dims=1)
        equal = tf.cast(own_row_products(rows.indices), across.dtype)
        above = tf.concat([equal, tf.linalg.matrix_transpose(across)], 2)
        return tf.concat([above, tf.concat([across, own_row_products(rows.dense)], 2)], 1)
    if rows.dtype.is_integer:
        return rows[:, :, None] == rows[:, None]
    return tf.matmul(rows, rows, transpose_b=True)


def formed_outer(rows: Rows, columns: tf.Tensor, size: int) -> tf.Tensor:
    """(n, size·q or, with zeros behind, a few more): `Σ_t rows[i, t] ⊗ columns[i, t]`.

    Args:
        rows: Of any kind.
        columns: (n, T, q).
        size: Entries of a row.
    """
    if isinstance(rows, MixedRows):
        looked_up, dense = (formed_outer(*part, size) for part in parts_of(rows, columns))
        return looked_up + dense[:, : size * columns.shape[-1]]
    if rows.dtype.is_integer:
        count = tf.shape(rows)[0]
        segments = rows + tf.cast(size * tf.range(count)[:, None], rows.dtype)
        flat = tf.reshape(columns, [-1, columns.shape[-1]])
        gradient = tf.math.unsorted_segment_sum(flat, tf.reshape(segments, [-1]), size * count)
        return tf.reshape(gradient, [-1, size * columns.shape[-1]])
    return sum_of_outers(rows, columns)


def formed_entries(rows: Rows, columns: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
    """(n, (stop - start)·q): of the gradients formed, what the entries `start` to `stop` of the rows contribute."""
    if isinstance(rows, MixedRows):
        one_hot = tf.one_hot(rows.indices - start, stop - start, dtype=columns.dtype)
        some = tf.concat([one_hot, rows.dense[..., start:stop]], 1)
    else:
        some = rows[..., start:stop]
    return tf.reshape(tf.matmul(some, columns, transpose_a=True), [tf.shape(columns)[0], -1])


def num_entries(rows: Rows) -> int | tf.Tensor:
    """p, of rows that are not all one-hot."""
    return size_of(rows.dense if isinstance(rows, MixedRows) else rows, 2)


def merged(factor: tf.Tensor) -> tf.Tensor:
    """(n, T, p) to (n·T, p)."""
    return tf.reshape(factor, [-1, size_of(factor, 2)])


def size_of(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The size of an axis; a tensor where one trace serves factors of several sizes, as of several layers."""
    size = tensor.shape[axis]
    return tf.shape(tensor)[axis] if size is None else size
