"""The two forms in which the per-example gradients of one weight are held.

A Dense kernel on vectors has the per-example gradient `a_i ⊗ d_i` (its input times the gradient of its output). The
Gram matrix needs only `(a_i·a_j)(d_i·d_j)`, so the outer product need never be formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Outer:
    """Per-example gradients `Σ_t rows[i, t] ⊗ columns[i, t]`, of shape (p, q), not formed.

    Attributes:
        rows: (n, T, p).
        columns: (n, T, q).
        positions: T where it is known while tracing, else None.
    """

    rows: tf.Tensor
    columns: tf.Tensor
    positions: int | None

    def formed(self) -> tf.Tensor:
        """(n, p·q): the gradients themselves."""
        gradient = tf.matmul(self.rows, self.columns, transpose_a=True)
        return tf.reshape(gradient, [-1, self.rows.shape[-1] * self.columns.shape[-1]])

    def is_cheaper_unformed(self, num_examples: int) -> bool:
        """Whether the Gram matrix of `num_examples` costs less without forming the gradients.

        In multiply-adds for each of the n²/2 pairs: unformed `T²(p + q)` and T² products to be read and added up;
        formed `p·q` and each example's share `T·p·q` of the forming.
        """
        if self.positions is None:
            return False
        p, q, t = self.rows.shape[-1], self.columns.shape[-1], self.positions
        unformed = t * t * (p + q + _ELEMENTWISE_COST)
        return unformed < p * q * (1 + 2 * t / num_examples)


# An entry of an n × n array that is written, read and multiplied costs about as much as this many multiply-adds of a
# matrix product. Its exact value decides only close calls.
_ELEMENTWISE_COST = 40


def merge(factors: list[Outer | tf.Tensor], num_examples: int) -> Outer | tf.Tensor:
    """Adds up the contributions of all uses of one weight.

    Args:
        factors: One an occurrence: `Outer`, or formed gradients (n, ...).
        num_examples: Size of the Gram matrix, to choose the cheaper form by.

    Returns:
        One `Outer` (the positions of all occurrences one behind the other) or formed gradients (n, size).
    """
    outers = [factor for factor in factors if isinstance(factor, Outer)]
    if len(outers) == len(factors):
        shapes = {(outer.rows.shape[-1], outer.columns.shape[-1]) for outer in outers}
        counts = [outer.positions for outer in outers]
        if len(shapes) == 1:
            joined = outers[0]
            if len(outers) > 1:
                joined = Outer(
                    tf.concat([outer.rows for outer in outers], 1),
                    tf.concat([outer.columns for outer in outers], 1),
                    None if None in counts else sum(count for count in counts if count is not None),
                )
            if joined.is_cheaper_unformed(num_examples):
                return joined
    formed = [factor.formed() if isinstance(factor, Outer) else flattened(factor) for factor in factors]
    return tf.add_n(formed) if len(formed) > 1 else formed[0]


def flattened(gradient: tf.Tensor) -> tf.Tensor:
    """(n, ...) to (n, size)."""
    return tf.reshape(gradient, [tf.shape(gradient)[0], -1 if None in gradient.shape[1:] else _size(gradient)])


def _size(gradient: tf.Tensor) -> int:
    return gradient.shape[1:].num_elements()
