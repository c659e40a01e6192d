"""The forms in which the per-example gradients of one weight are held.

A Dense kernel on vectors has the per-example gradient `a_i ⊗ d_i` (its input times the gradient of its output). The
Gram matrix needs only `(a_i·a_j)(d_i·d_j)`, so the outer product need never be formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import tensorflow as tf

from tfstiff.gradients.rows import MixedRows, formed_outer


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
        return t * t * (p + q + ELEMENTWISE_COST) < p * q * (1 + 2 * t / num_examples)

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
        return t * t * (q + ELEMENTWISE_COST) < self.size * q * (1 + 2 * t / num_examples)

    @property
    def cost_of_pair(self) -> int:
        """Multiply-adds of one product, unformed."""
        t, q = self.columns.shape[1:]
        return t * t * (q + 1)


@dataclass(frozen=True)
class Mixed:
    """As `Outer` and `Lookup` added up: the gradient of a table that is looked up and multiplied by as well.

    Attributes:
        rows: (n, T) integers and (n, S, p).
        columns: (n, T + S, q).
    """

    rows: MixedRows
    columns: tf.Tensor

    def formed(self) -> tf.Tensor:
        """(n, p·q): the gradients themselves."""
        return formed_outer(self.rows, self.columns, self.rows.dense.shape[-1])

    def is_cheaper_unformed(self, num_examples: int) -> bool:
        """As for `Outer`."""
        t, q = self.columns.shape[1:]
        p = self.rows.dense.shape[-1]
        return t * t * (p + q + ELEMENTWISE_COST) < p * q * (1 + 2 * t / num_examples)

    @property
    def cost_of_pair(self) -> int:
        """Multiply-adds of one product, unformed."""
        t, q = self.columns.shape[1:]
        return t * t * (self.rows.dense.shape[-1] + q + 1)


Factored: TypeAlias = Outer | Lookup | Mixed
Factor: TypeAlias = Factored | tf.Tensor

# An entry of an n × n array that is written, read and multiplied costs about as much as this many multiply-adds of a
# matrix product. Its exact value decides only close calls.
ELEMENTWISE_COST = 40
# Gradients that would take more bytes than this are held as factors where these are smaller, though it takes longer.
_LARGE = 2**28


def merge(factors: Sequence[Factor], num_examples: int, num_weights: int) -> Factor:
    """Adds up the contributions of all uses of one weight.

    Args:
        factors: One a use: factors, or formed gradients (n, ...).
        num_examples: Size of the Gram matrix, to choose the cheaper form by.
        num_weights: P: entries of the gradients of all weights.

    Returns:
        Factors (the positions of all uses one behind the other) or formed gradients (n, size).
    """
    joined = _joined(factors)
    if joined is None:
        return formed_sum(factors)
    if joined.is_cheaper_unformed(num_examples):
        return joined
    formed = formed_sum([joined])
    is_large = num_examples * num_weights * formed.dtype.size > _LARGE
    is_smaller = not isinstance(joined, Lookup) and 2 * _row_size(joined) < formed.shape[1]  # else only by pairs
    return joined if is_large and is_smaller else formed


def formed_sum(factors: Sequence[Factor]) -> tf.Tensor:
    """(n, size, or more with zeros behind): the sum of the gradients, formed."""
    joined = _joined(factors)
    if joined is not None:
        return joined.formed()
    gradients = [factor.formed() if isinstance(factor, Factored) else _flat(factor) for factor in factors]
    if len(gradients) == 1:
        return gradients[0]
    width = min(gradient.shape[1] for gradient in gradients)
    return tf.add_n([first_columns(gradient, width) for gradient in gradients])


def first_columns(gradient: tf.Tensor, width: int) -> tf.Tensor:
    """(n, width) of (n, width or more); no operation where there are no more."""
    return gradient if gradient.shape[1] == width else gradient[:, :width]


def _flat(gradient: tf.Tensor) -> tf.Tensor:
    """(n, size) of (n, ...); with few operations, as models have hundreds of small weights."""
    if gradient.shape.rank == 2:
        return gradient
    size = gradient.shape[1:].num_elements()
    return tf.reshape(gradient, [-1 if size else tf.shape(gradient)[0], size])


def tensors_of(factor: Factor) -> list[tf.Tensor]:
    """What holds the gradients."""
    return [factor] if tf.is_tensor(factor) else tf.nest.flatten((factor.rows, factor.columns))


def in_precision(factor: Factor, dtype: tf.DType) -> Factor:
    """The same in another floating-point type; layers of a mixed policy hold their gradients in several."""
    if tf.is_tensor(factor):
        return tf.cast(factor, dtype)
    rows = tf.nest.map_structure(lambda part: part if part.dtype.is_integer else tf.cast(part, dtype), factor.rows)
    return replace(factor, rows=rows, columns=tf.cast(factor.columns, dtype))


def _row_size(factor: Factored) -> int:
    """Numbers held for one example."""
    return sum(tensor.shape[1:].num_elements() for tensor in tensors_of(factor))


def _joined(factors: Sequence[Factor]) -> Factored | None:
    """The uses as one, where they can be."""
    if not all(isinstance(factor, Factored) for factor in factors):
        return None
    if len(factors) == 1:
        return factors[0]
    dense = [factor for factor in factors if isinstance(factor, Outer)]
    looked_up = [factor for factor in factors if isinstance(factor, Lookup)]
    shapes = {(factor.rows.shape[2], factor.columns.shape[2]) for factor in dense}
    shapes |= {(factor.size, factor.columns.shape[2]) for factor in looked_up}
    if len(dense) + len(looked_up) < len(factors) or len(shapes) > 1:
        return None
    dtype = max((factor.columns.dtype for factor in factors), key=lambda dtype: dtype.size)
    factors = [in_precision(factor, dtype) for factor in (*looked_up, *dense)]
    columns = tf.concat([factor.columns for factor in factors], 1)
    indices, others = factors[: len(looked_up)], factors[len(looked_up) :]
    rows = [tf.concat([factor.rows for factor in kind], 1) for kind in (indices, others) if kind]
    if len(rows) == 2:
        return Mixed(MixedRows(*rows), columns)
    return replace(factors[0], rows=rows[0], columns=columns)
