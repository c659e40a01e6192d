"""The methods that need no rule: slower, and the yardstick of the structured one.

Each computes the same `GradientFactors` with all gradients formed, for a subset of the weights.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import variable_of
from tfstiff.errors import UnsupportedModel
from tfstiff.gradients.gradient_factors import GradientFactors, Layout, gradients_by_weight
from tfstiff.gradients.structured import Forward

_EAGER_CALLS = 8  # what two draws of the proof take


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
        self.compute = tf.function(self._factors, input_signature=signature, autograph=False)

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


class BatchGradient(Reference):
    """The gradient of the summed losses. On a batch of one example it is that example's gradient."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._calls = 0

    def gradients(self, x: Any, y: Any) -> list[tf.Tensor]:
        """The gradient (1, size) of every weight. The first few calls run eagerly: tracing costs more than they do."""
        self._calls += 1
        compute = self._factors if self._calls <= _EAGER_CALLS else self.compute
        return gradients_by_weight(compute(x, y), self.layout)

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            losses, predictions = self._forward(x, y)
            total = tf.reduce_sum(losses)
        return _factors(self._flat(tape.gradient(total, self._weights), 1, losses), losses, predictions)


class Loop(BatchGradient):
    """`method="loop"`: one tape per example. Slow and obviously right."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batch_gradient = self.compute
        self.compute = self._one_by_one

    def _one_by_one(self, x: Any, y: Any) -> GradientFactors:
        count = int(tf.nest.flatten(x)[0].shape[0])
        single = []
        for index in range(count):
            one_x, one_y = tf.nest.map_structure(lambda tensor, i=index: tensor[i : i + 1], (x, y))
            single.append(self.batch_gradient(one_x, one_y))
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *single)


class Jacobian(Reference):
    """`method="jacobian"`: `GradientTape.jacobian` of the vector of losses. Work and memory grow as n² in a chunk."""

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            losses, predictions = self._forward(x, y)
        jacobians = tape.jacobian(losses, self._weights)
        return _factors(self._flat(jacobians, tf.shape(losses)[0], losses), losses, predictions)


class Vectorized(Reference):
    """`method="vectorized"`: `tf.vectorized_map` of a one-example tape.

    Raises:
        UnsupportedModel: The vectorised graph holds an operation that corrupts memory on CPU (tensorflow issue 117700).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logger = tf.get_logger()
        level = logger.level
        # Where vectorising fails, TensorFlow logs the whole graph; the error says enough.
        logger.setLevel(logging.CRITICAL)
        try:
            graph = self.compute.get_concrete_function().graph
        finally:
            logger.setLevel(level)
        _refuse_broadcast_products(graph)

    def _factors(self, x: Any, y: Any) -> GradientFactors:
        def one(example: Any) -> Any:
            one_x, one_y = tf.nest.map_structure(lambda tensor: tensor[None], example)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._weights)
                losses, predictions = self._forward(one_x, one_y)
                total = tf.reduce_sum(losses)
            flat = [block[0] for block in self._flat(tape.gradient(total, self._weights), 1, losses)]
            return flat, losses[0], tf.nest.map_structure(lambda output: output[0], predictions)

        blocks, losses, predictions = tf.vectorized_map(one, (x, y))
        return _factors(blocks, losses, predictions)


def _factors(blocks: Sequence[tf.Tensor], losses: tf.Tensor, predictions: Any) -> GradientFactors:
    ones = tf.ones([tf.shape(blocks[0])[0]], losses.dtype)
    # Norms follow where all parts come together.
    return GradientFactors(tuple(blocks), (), ones, ones, losses, predictions)


def _refuse_broadcast_products(graph: tf.Graph) -> None:
    for operation in graph.get_operations():
        if operation.type.startswith("BatchMatMul"):
            first, second = (tensor.shape for tensor in operation.inputs)
            if (
                first.rank is None
                or second.rank is None
                or (max(first.rank, second.rank) >= 4 and first[:-2].as_list() != second[:-2].as_list())
            ):
                raise UnsupportedModel(
                    "Vectorising this model over examples creates a broadcasting matrix product, which corrupts memory "
                    "in TensorFlow on CPU (tensorflow issue 117700).",
                    remedy='Use method="auto" or method="loop".',
                )
