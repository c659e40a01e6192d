"""The methods that need no rule: slower, and the yardstick of the structured one.

Each computes the same `GradientFactors` with all gradients formed, for a subset of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import quietly_traced, variable_of
from tfstiff.gradients.gradient_factors import GradientFactors, Layout
from tfstiff.gradients.proof import TOLERANCE
from tfstiff.gradients.structured import Forward
from tfstiff.gradients.vectorizing import checked_vectorization, copies_of_one, vectorized_map


class Reference:
    """Base: per-example gradients of `weights`, formed.

    Args:
        forward: Computes per-example losses and predictions.
        weights: All weights of the model.
        signature: Structure of `tf.TensorSpec` of (x, y), first axis unknown.
        subset: Indices of the weights to differentiate with respect to; None means all.
    """

    def __init__(
        self, forward: Forward, weights: Sequence[keras.Variable], signature: Any, subset: Sequence[int] | None = None
    ) -> None:
        subset = range(len(weights)) if subset is None else subset
        sizes = tuple(math.prod(weight.shape) for weight in weights)
        self.layout = Layout(tuple((index,) for index in subset), (), (), sizes)
        self._forward = forward
        self._weights = [variable_of(weights[index]) for index in subset]
        self.dtypes = tuple(variable_of(weight).dtype for weight in weights)
        self._signature = signature
        self.compute = self._compiled()

    def _compiled(self) -> Any:
        return quietly_traced(self._factors, input_signature=self._signature)

    @property
    def bytes_per_example(self) -> tuple[int, int]:
        """Bytes that the gradients of one example take, and about those of computing them."""
        size = sum(self.layout.sizes[weight] for (weight,) in self.layout.formed) * 4
        return size, 2 * size

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        raise NotImplementedError

    def _flat(self, gradients: Sequence[Any], rows: tf.Tensor | int, losses: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of shape (rows, *weight.shape), dense, as (rows, size); zeros where there is none."""
        flat = []
        for gradient, weight in zip(gradients, self._weights, strict=True):
            shape = [rows, weight.shape.num_elements()]
            if gradient is None:
                flat.append(tf.zeros(shape, losses.dtype))
            else:
                flat.append(tf.reshape(tf.cast(tf.convert_to_tensor(gradient), losses.dtype), shape))
        return flat


class Loop(Reference):
    """`method="loop"`: one tape per example. Slow and obviously right."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._one = self.compute
        self._copies = copies_of_one(self._one.get_concrete_function().graph)
        self.compute = self._one_by_one

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            losses, predictions = self._forward(x, y)
            first = losses[0]
        gradients = self._flat(tape.gradient(first, self._weights), 1, losses)
        return _factors(gradients, *tf.nest.map_structure(lambda tensor: tensor[:1], (losses, predictions)))

    def _one_by_one(self, x: Any, y: Any) -> GradientFactors:
        count = int(tf.nest.flatten(x)[0].shape[0])
        single = []
        for index in range(count):
            rows = [index] * self._copies  # gathered: a slice that is repeated takes ten times as long
            one = tf.nest.map_structure(lambda tensor, rows=rows: tf.gather(tensor, rows), (x, y))
            single.append(self._one(*one))
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *single)


class Jacobian(Reference):
    """`method="jacobian"`: `GradientTape.jacobian` of the vector of losses. Work and memory grow as n² in a chunk.

    Every gradient of the matrix is a sum over all examples, of which all but one are to be 0, and 0 · NaN is not. So
    examples whose gradients are not finite are computed again, one at a time.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trace = self.compute
        self.trace.get_concrete_function()
        self.compute = self._apart_where_not_finite

    def _apart_where_not_finite(self, x: Any, y: Any) -> GradientFactors:
        found = self.trace(x, y)
        finite = [tf.reduce_all(tf.math.is_finite(block), 1) for block in found.formed]
        spoilt = np.flatnonzero(~np.logical_and.reduce([one.numpy() for one in finite]))
        if not len(spoilt) or len(finite[0]) == 1:
            return found
        single = []
        for index in spoilt:
            one = tf.nest.map_structure(lambda tensor, i=index: tensor[i : i + 1], (x, y))
            single.append(self.trace(*one).formed)
        formed = tuple(
            tf.tensor_scatter_nd_update(block, spoilt[:, None], tf.concat([one[place] for one in single], 0))
            for place, block in enumerate(found.formed)
        )
        return found._replace(formed=formed)

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        count = tf.shape(tf.nest.flatten(x)[0])[0]
        more = tf.cast(count == 1, tf.int32)  # a single example is taken twice
        x, y = tf.nest.map_structure(lambda tensor: tf.concat([tensor, tensor[:more]], 0), (x, y))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            losses, predictions = self._forward(x, y)
        with checked_vectorization():
            jacobians = self._flat(tape.jacobian(losses, self._weights), tf.shape(losses)[0], losses)
        return _factors(*tf.nest.map_structure(lambda tensor: tensor[:count], (jacobians, losses, predictions)))


class Vectorized(Reference):
    """`method="vectorized"`: `tf.vectorized_map` of a one-example tape."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._copies = 1
        self._copies = copies_of_one(self.compute.get_concrete_function().graph)
        if self._copies > 1:
            self.compute = self._compiled()
            self.compute.get_concrete_function()

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        def one(example: Any) -> Any:
            one_x, one_y = tf.nest.map_structure(lambda tensor: tf.repeat(tensor[None], self._copies, 0), example)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._weights)
                losses, predictions = self._forward(one_x, one_y)
                first = losses[0]
            flat = [block[0] for block in self._flat(tape.gradient(first, self._weights), 1, losses)]
            return flat, first, tf.nest.map_structure(lambda output: output[0], predictions)

        return _factors(*vectorized_map(one, (x, y), may_loop=True))


def _factors(blocks: Sequence[tf.Tensor], losses: tf.Tensor, predictions: Any) -> GradientFactors:
    ones = tf.ones([tf.shape(blocks[0])[0]], losses.dtype)
    # Norms follow where all parts come together.
    return GradientFactors(tuple(blocks), (), ones, ones, losses, predictions)


def differing_rows(candidate: Reference, loop: Loop, x: Any, y: Any) -> dict[int, str]:
    """By weight: by how much its gradients of two examples differ from those of one-example tapes, where they do.

    Args:
        candidate: Computes gradients of the same weights.
        loop: One tape per example.
        x: At least two examples.
        y: Their targets.
    """
    x, y = tf.nest.map_structure(lambda tensor: tensor[:2], (x, y))
    factors = [part.compute(x, y) for part in (candidate, loop)]
    found, expected = ([block.numpy().astype(np.float64) for block in part.formed] for part in factors)
    relative, noise = max(TOLERANCE[dtype] for dtype in (*loop.dtypes, factors[1].losses.dtype))
    whole = np.sqrt(sum((block**2).sum() for block in expected))
    wrong = {}
    for (index,), block, right in zip(loop.layout.formed, found, expected, strict=True):
        difference = np.linalg.norm(block - right)
        if not difference <= relative * np.linalg.norm(right) + noise * whole and np.isfinite(right).all():
            wrong[index] = f"gradients differ from those of single examples (by {difference:.2g})"
    return wrong


def still_differing(kind: type[Reference], arguments: tuple[Any, ...], x: Any, y: Any) -> dict[int, str] | None:
    """As `differing_rows` of two references made of `arguments`; None where the model cannot compute so."""
    try:
        return differing_rows(kind(*arguments), Loop(*arguments), x, y)
    except (TypeError, ValueError, tf.errors.OpError):
        return None
