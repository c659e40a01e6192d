"""Embeddings: the gradient of a table has the output gradient in the rows that an example looked up."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.factors import Lookup
from tfstiff.gradients.operations import NoRule, Use, register


@register("GatherV2", "ResourceGather")
def gather(use: Use) -> Lookup:
    """Rows of a table of weights, (V, ...), by indices that depend on the example."""
    operation = use.operation
    if use.operand != 0 or operation.get_attr("batch_dims"):
        raise NoRule(f"a {operation.type} of other than rows of a table")
    if operation.type == "GatherV2" and tf.get_static_value(operation.inputs[2]) != 0:
        raise NoRule("a GatherV2 along another axis than the first")
    indices = operation.inputs[1]
    width = use.output.shape[indices.shape.rank :].num_elements()
    if use.place.axis >= indices.shape.rank:
        raise NoRule(f"a {operation.type} with the examples among the entries of a row")
    rows, columns = use.by_example(indices), use.by_example(use.output_gradient)
    count = rows.shape[1:].num_elements()
    rows = tf.reshape(rows, [use.count_beside(count), count])
    rows = tf.cast(rows, tf.int32)  # inputs of several types may share a table
    return Lookup(rows, tf.reshape(columns, [use.count_beside(count, width), count, width]), use.weight_shape[0])
