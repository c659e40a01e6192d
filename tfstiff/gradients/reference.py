"""The methods that need no rule: slower, and the yardstick of the structured one.

Each computes the same `Features` with all gradients formed, for a subset of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients.features import Features, Layout, join_formed
from tfstiff.gradients.structured import Forward


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
        self.layout = Layout(tuple(subset), (), tuple(weight.value.shape.num_elements() for weight in weights))
        self._forward = forward
        self._weights = [weights[index].value for index in subset]
        self.compute = tf.function(self._features, input_signature=signature, autograph=False)

    def _features(self, x: Any, y: Any) -> Features:
        raise NotImplementedError

    def _flat(self, gradient: Any, weight: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
        """A gradient of shape (rows, *weight.shape), dense, as (rows, size); zeros where there is none."""
        size = weight.shape.num_elements()
        if gradient is None:
            return tf.zeros([rows, size], weight.dtype)
        return tf.reshape(tf.convert_to_tensor(gradient), [rows, size])


class BatchGradient(Reference):
    """The gradient of the summed losses. On a batch of one example it is that example's gradient."""

    def _features(self, x: Any, y: Any) -> Features:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            losses, predictions = self._forward(x, y)
            total = tf.reduce_sum(losses)
        gradients = tape.gradient(total, self._weights)
        blocks = [self._flat(gradient, weight, 1) for gradient, weight in zip(gradients, self._weights, strict=True)]
        return Features(join_formed(blocks, losses), (), losses, predictions)


class Loop(BatchGradient):
    """`method="loop"`: one tape per example. Slow and obviously right."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batch_gradient = self.compute
        self.compute = self._one_by_one

    def _one_by_one(self, x: Any, y: Any) -> Features:
        count = int(tf.nest.flatten(x)[0].shape[0])
        single = []
        for index in range(count):
            one_x, one_y = tf.nest.map_structure(lambda tensor, i=index: tensor[i : i + 1], (x, y))
            single.append(self.batch_gradient(one_x, one_y))
        return Features(
            tf.concat([features.formed for features in single], 0),
            (),
            tf.concat([features.losses for features in single], 0),
            tf.concat([features.predictions for features in single], 0),
        )


class Jacobian(Reference):
    """`method="jacobian"`: `GradientTape.jacobian` of the vector of losses. Work and memory grow as n² in a chunk."""

    def _features(self, x: Any, y: Any) -> Features:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._weights)
            losses, predictions = self._forward(x, y)
        jacobians = tape.jacobian(losses, self._weights)
        count = tf.shape(losses)[0]
        blocks = [
            self._flat(jacobian, weight, count) for jacobian, weight in zip(jacobians, self._weights, strict=True)
        ]
        return Features(join_formed(blocks, losses), (), losses, predictions)


class Vectorized(Reference):
    """`method="vectorized"`: `tf.vectorized_map` of a one-example tape.

    Raises:
        UnsupportedModel: The vectorised graph holds an operation that corrupts memory on CPU (tensorflow issue 117700).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _refuse_broadcast_products(self.compute.get_concrete_function().graph)

    def _features(self, x: Any, y: Any) -> Features:
        def one(example: Any) -> Any:
            one_x, one_y = tf.nest.map_structure(lambda tensor: tensor[None], example)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(self._weights)
                losses, predictions = self._forward(one_x, one_y)
                total = tf.reduce_sum(losses)
            gradients = tape.gradient(total, self._weights)
            flat = [
                self._flat(gradient, weight, 1)[0] for gradient, weight in zip(gradients, self._weights, strict=True)
            ]
            return flat, losses[0], predictions[0]

        blocks, losses, predictions = tf.vectorized_map(one, (x, y))
        return Features(join_formed(blocks, losses), (), losses, predictions)


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
