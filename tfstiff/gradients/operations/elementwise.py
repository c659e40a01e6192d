"""Elementwise operations with broadcasting: biases, scales, gates, and any other function of a weight and data."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.operations import NoRule, Use, register
from tfstiff.gradients.uses import made_again


@register("BiasAdd")
def bias_add(use: Use) -> tf.Tensor:
    """(n, channels): the output gradient summed over all positions."""
    gradient = use.by_example(use.output_gradient)
    channel = 1 if use.operation.get_attr("data_format") == b"NCHW" else use.output.shape.rank - 1
    if channel == use.place.axis:
        raise NoRule("a BiasAdd with the examples among the channels")
    return tf.reduce_sum(gradient, [axis for axis in range(1, gradient.shape.rank) if axis != channel + 1])


@register("Add", "AddV2")
def add(use: Use) -> tf.Tensor:
    """The output gradient, summed over the axes along which the weight was repeated."""
    return _sum_over_repeated(use.output_gradient, use)


@register("Sub")
def subtract(use: Use) -> tf.Tensor:
    """As for a sum, negated where the weight is subtracted."""
    gradient = _sum_over_repeated(use.output_gradient, use)
    return gradient if use.operand == 0 else -gradient


@register("Mul")
def multiply(use: Use) -> tf.Tensor:
    """The output gradient times the other operand, summed over the axes along which the weight was repeated."""
    return _sum_over_repeated(use.output_gradient * use.data, use)


@register(
    "RealDiv", "Div", "DivNoNan", "Pow", "Maximum", "Minimum", "SquaredDifference", "Atan2", "FloorMod", "SelectV2",
    "Xdivy", "Xlogy", "Xlog1py", "MulNoNan", "ClipByValue",
)  # fmt: skip
def elementwise(use: Use) -> tf.Tensor:
    """Any other: the operation is made again with the weight repeated to the output's shape, and differentiated."""
    operation = use.operation
    repeated = tf.broadcast_to(use.weight, tf.shape(use.output))
    inputs = [repeated if index == use.operand else tensor for index, tensor in enumerate(operation.inputs)]
    again = made_again(operation, inputs).outputs[0]
    (gradient,) = tf.gradients(again, [repeated], use.output_gradient)
    if gradient is None:
        raise NoRule(f"{operation.type} has no gradient")
    return _sum_over_repeated(gradient, use)


def _sum_over_repeated(gradient: tf.Tensor, use: Use) -> tf.Tensor:
    """Sums `gradient`, of the output's shape, down to (n, *weight.shape)."""
    weight_shape, rank = use.weight_shape, use.output.shape.rank
    if rank is None or None in weight_shape:
        raise NoRule(f"{use.operation.type} of a shape that is not known while tracing")
    aligned = [*[1] * (rank - len(weight_shape)), *weight_shape]
    if aligned[use.place.axis] != 1:
        raise NoRule(f"{use.operation.type} of a weight with entries along the examples' axis")
    by_example = use.by_example(gradient)
    repeated = [axis for axis, size in enumerate(aligned, 1) if size == 1 and by_example.shape[axis] != 1]
    return tf.reshape(tf.reduce_sum(by_example, repeated), [use.count_beside(*weight_shape), *weight_shape])
