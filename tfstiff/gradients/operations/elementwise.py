"""Elementwise operations with broadcasting: biases, scales, gates."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.operations import NoRule, Use, register


@register("BiasAdd")
def bias_add(use: Use) -> tf.Tensor:
    """(n, channels): the output gradient summed over all positions."""
    gradient = use.by_example(use.output_gradient)
    channel = 2 if use.operation.get_attr("data_format") == b"NCHW" else gradient.shape.rank - 1
    return tf.reduce_sum(gradient, [axis for axis in range(1, gradient.shape.rank) if axis != channel])


@register("Add", "AddV2")
def add(use: Use) -> tf.Tensor:
    """The output gradient, summed over the axes along which the weight was repeated."""
    return _sum_over_broadcast(use.output_gradient, use)


@register("Sub")
def subtract(use: Use) -> tf.Tensor:
    """As for a sum, negated where the weight is subtracted."""
    gradient = _sum_over_broadcast(use.output_gradient, use)
    return gradient if use.operand == 0 else -gradient


@register("Mul")
def multiply(use: Use) -> tf.Tensor:
    """The output gradient times the other operand, summed over the axes along which the weight was repeated."""
    return _sum_over_broadcast(use.output_gradient * use.data, use)


def _sum_over_broadcast(gradient: tf.Tensor, use: Use) -> tf.Tensor:
    """Sums `gradient`, of the output's shape, down to (n, *weight.shape)."""
    weight_shape = use.weight.shape.as_list()
    if gradient.shape.rank is None or None in gradient.shape[1:] or None in weight_shape:
        raise NoRule(f"{use.operation.type} of a shape that is not known while tracing")
    aligned = [1] * (gradient.shape.rank - len(weight_shape)) + weight_shape
    if aligned[0] != 1:
        raise NoRule(f"{use.operation.type} of a weight with an entry per example")
    repeated = [axis for axis in range(1, len(aligned)) if aligned[axis] == 1 and gradient.shape[axis] != 1]
    summed = tf.reduce_sum(use.by_example(gradient), [1, *(axis + 1 for axis in repeated)])
    return tf.reshape(summed, [use.num_examples, *weight_shape])
