"""The forms in which the per-example gradients of one weight are held.

A Dense kernel on vectors has the per-example gradient `a_i ⊗ d_i` (its input times the gradient of its output). The
Gram matrix needs only `(a_i·a_j)(d_i·d_j)`, so the outer product need never be formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import tensorflow as tf

from tfstiff.gradients.forming import sum_of_outers


@dataclass(frozen=True)
class Outer:
    """Per-example gradients `Σ_t rows[i, t] ⊗ columns[i, t]`, of shape (p, q), not formed.

    Attributes:
        rows: (n, T, p), T and p known while tracing.
        columns: (n, T, q).
    """

    rows: tf.Tensor
    columns: tf.Tensor

    def formed(self) -> tf.Tensor:
        """(n, p·q): the gradients themselves."""
        return formed_outer(self.rows, self.columns, self.rows.shape[-1])

    def is_cheaper_unformed(self, num_examples: int) -> bool:
        """Whether the Gram matrix of `num_examples` costs less without forming the gradients.

        In multiply-adds for each of the n²/2 pairs: unformed `T²(p + q)` and T² products to be read and added up;
        formed `p·q` and each example's share `T·p·q` of the forming.
        """
        t, p = self.rows.shape[1:]
        q = self.columns.shape[-1]
        return t * t * (p + q + _ELEMENTWISE_COST) < p * q * (1 + 2 * t / num_examples)

    @property
    def cost_of_pair(self) -> int:
        """Multiply-adds of one product, unformed."""
        t, p = self.rows.shape[1:]
        return t * t * (p + self.columns.shape[-1] + 1)


@dataclass(frozen=True)
class Lookup:
    """As `Outer` with one-hot rows, which are held as indices: the gradient of a table of which rows are looked up.

    Attributes:
        rows: (n, T) integers, 0 to `size` - 1.
        columns: (n, T, q).
        size: Rows of the table.
    """

    rows: tf.Tensor
    columns: tf.Tensor
    size: int

    def formed(self) -> tf.Tensor:
        """(n, size·q): the gradients themselves."""
        return formed_outer(self.rows, self.columns, self.size)

    def is_cheaper_unformed(self, num_examples: int) -> bool:
        """As for `Outer`; comparing indices costs next to nothing."""
        t, q = self.columns.shape[1:]
        return t * t * (q + _ELEMENTWISE_COST) < self.size * q * (1 + 2 * t / num_examples)

    @property
    def cost_of_pair(self) -> int:
        """Multiply-adds of one product, unformed."""
        t, q = self.columns.shape[1:]
        return t * t * (q + 1)


Factor: TypeAlias = Outer | Lookup | tf.Tensor

# An entry of an n × n array that is written, read and multiplied costs about as much as this many multiply-adds of a
# matrix product. Its exact value decides only close calls.
_ELEMENTWISE_COST = 40


def formed_outer(rows: tf.Tensor, columns: tf.Tensor, size: int) -> tf.Tensor:
    """(n, size·q or, with zeros behind, a few more): `Σ_t rows[i, t] ⊗ columns[i, t]`.

    Args:
        rows: (n, T, size), or (n, T) integers for one-hot rows.
        columns: (n, T, q).
        size: Entries of a row.
    """
    if rows.dtype.is_integer:
        count = tf.shape(rows)[0]
        segments = rows + tf.cast(size * tf.range(count)[:, None], rows.dtype)
        flat = tf.reshape(columns, [-1, columns.shape[-1]])
        gradient = tf.math.unsorted_segment_sum(flat, tf.reshape(segments, [-1]), size * count)
        return tf.reshape(gradient, [-1, size * columns.shape[-1]])
    return sum_of_outers(rows, columns)


def merge(factors: Sequence[Factor], num_examples: int) -> Factor:
    """Adds up the contributions of all uses of one weight.

    Args:
        factors: One a use: factors, or formed gradients (n, ...).
        num_examples: Size of the Gram matrix, to choose the cheaper form by.

    Returns:
        Factors (the positions of all uses one behind the other) or formed gradients (n, size).
    """
    joined = _joined(factors)
    if joined is not None and joined.is_cheaper_unformed(num_examples):
        return joined
    return formed_sum(factors if joined is None else [joined])


def formed_sum(factors: Sequence[Factor]) -> tf.Tensor:
    """(n, size, or more with zeros behind): the sum of the gradients, formed."""
    joined = _joined(factors)
    if joined is not None:
        return joined.formed()
    gradients = [
        factor.formed()
        if isinstance(factor, Outer | Lookup)
        else tf.reshape(factor, [tf.shape(factor)[0], factor.shape[1:].num_elements()])
        for factor in factors
    ]
    if len(gradients) == 1:
        return gradients[0]
    width = min(gradient.shape[1] for gradient in gradients)
    return tf.add_n([gradient[:, :width] for gradient in gradients])


def in_precision(factor: Factor, dtype: tf.DType) -> Factor:
    """The same in another floating-point type; layers of a mixed policy hold their gradients in several."""
    if isinstance(factor, Outer):
        return Outer(tf.cast(factor.rows, dtype), tf.cast(factor.columns, dtype))
    if isinstance(factor, Lookup):
        return replace(factor, columns=tf.cast(factor.columns, dtype))
    return tf.cast(factor, dtype)


def _joined(factors: Sequence[Factor]) -> Outer | Lookup | None:
    """The uses as one, where all are of a kind."""
    first = factors[0]
    if len(factors) == 1 or not isinstance(first, Outer | Lookup):
        return first if isinstance(first, Outer | Lookup) else None
    alike = [factor for factor in factors if type(factor) is type(first)]
    if len(alike) < len(factors) or len({tuple(factor.rows.shape[2:]) for factor in alike}) > 1:
        return None
    rows, columns = (tf.concat([getattr(factor, name) for factor in alike], 1) for name in ("rows", "columns"))
    return replace(first, rows=rows, columns=columns)
