"""A weight repeated for every example: class tokens, learnt initial states."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.operations import NoRule, Use, register


@register("BroadcastTo")
def broadcast_to(use: Use) -> tf.Tensor:
    """The output gradient, summed over the axes along which the weight was repeated."""
    return _summed(use, use.output.shape.rank - len(use.weight_shape))


@register("Tile")
def tile(use: Use) -> tf.Tensor:
    """As for `BroadcastTo`, of an axis of one entry; other tilings along the examples' axis mix examples."""
    return _summed(use, 0)


def _summed(use: Use, added: int) -> tf.Tensor:
    axis = use.place.axis
    aligned = [*[1] * added, *use.weight_shape]
    gradient = use.by_example(use.output_gradient)
    if use.operand != 0 or None in aligned or aligned[axis] != 1:
        raise NoRule(f"a {use.operation.type} of a weight with entries along the examples' axis")
    parts = [use.num_examples]  # each axis as (copies, entries)
    for size, repeated in zip(aligned, gradient.shape[1:], strict=True):
        parts += [repeated // size, size]
    summed = tf.reduce_sum(tf.reshape(gradient, parts), range(1, len(parts), 2))
    return tf.reshape(summed, [use.count_beside(*use.weight_shape), *use.weight_shape])
