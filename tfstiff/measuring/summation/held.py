"""Gradients of a block of examples, made ready for tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.scaled_products import Diagonals, scaled_squared_norms
from tfstiff.gradients.tiles import NO_DIAGONALS, Side


class Held(NamedTuple):
    """The gradients of one block made ready for tiles.

    Attributes:
        side: As tiles take them.
        lengths: (b,) float64 lengths; 0 where not finite.
        largest: Largest of them, the unit of the lengths in `side`; 1 where all are zero.
        is_finite: (b,) whether an example takes part.
    """

    side: Side
    lengths: np.ndarray
    largest: float
    is_finite: np.ndarray


def lengths_of(
    factors: GradientFactors, diagonals: Diagonals = NO_DIAGONALS, unit: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """(b,) float64 lengths of the gradients as the factors are scaled, and of the gradients themselves.

    Args:
        factors: Of b examples.
        diagonals: D, where a length is `√(gᵀ D g)`, divided by its unit.
        unit: That of D.
    """
    squares = scaled_squared_norms(factors, diagonals) if any(diagonals) else factors.squared_norms
    sizes = np.sqrt(squares.numpy().astype(np.float64))
    return sizes, sizes / factors.scales.numpy().astype(np.float64) * np.sqrt(unit)


def held(
    factors: GradientFactors, sizes: np.ndarray, norms: np.ndarray, one_hot: np.ndarray, batches: np.ndarray
) -> Held:
    """Makes the gradients of a block ready; examples whose gradient is not finite take no part.

    Args:
        factors: Of its b examples.
        sizes: As `lengths_of` gives them.
        norms: As `lengths_of` gives them.
        one_hot: (b, C) one-hot classes.
        batches: (b, S) one-hot mini-batches.
    """
    is_finite = np.isfinite(norms)
    if not is_finite.all():
        factors, sizes = _without(factors, ~is_finite), np.where(is_finite, sizes, 0)
    lengths = np.where(is_finite, norms, 0)
    inverse = np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    largest = float(lengths.max(initial=0)) or 1.0  # in single precision squares overflow past 1e19
    kept = is_finite[:, None]
    arrays = (inverse, one_hot * kept, lengths / largest, batches * kept)
    tensors = (tf.constant(array, factors.losses.dtype) for array in arrays)
    return Held(Side(factors.formed, factors.outers, *tensors), lengths, largest, is_finite)


def _without(factors: GradientFactors, left_out: np.ndarray) -> GradientFactors:
    """The same with zeros in place of the gradients of some examples."""

    def cleaned(tensor: tf.Tensor) -> tf.Tensor:
        mask = tf.reshape(tf.constant(left_out), [-1] + [1] * (tensor.shape.rank - 1))
        return tf.where(mask, tf.zeros_like(tensor), tensor)

    formed, outers = tf.nest.map_structure(cleaned, (factors.formed, factors.outers))
    return factors._replace(formed=formed, outers=outers)
