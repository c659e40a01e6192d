"""MatMul: for `y = x W` the gradient of W for one example is `Σ_t x_t ⊗ ∂L/∂y_t` over its rows t."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.factors import Outer
from tfstiff.gradients.operations import NoRule, Use, register


@register("MatMul")
def matrix_product(use: Use) -> Outer:
    """Rows of `x` belong to examples in order: (n·T, p), T rows each."""
    operation = use.operation
    if use.operand != 1 or operation.get_attr("transpose_a"):
        raise NoRule("a MatMul with the weight on the left, or with transposed data")
    transposed = operation.get_attr("transpose_b")  # then W has shape (q, p)
    width_in, width_out = use.weight.shape.as_list()[:: -1 if transposed else 1]
    if None in (width_in, width_out):
        raise NoRule("a MatMul of a width that is not known while tracing")
    inputs = use.by_example(tf.reshape(use.data, [-1, width_in]))  # whose own width may not be known
    gradients = use.by_example(tf.reshape(use.output_gradient, [-1, width_out]))
    if transposed:
        inputs, gradients = gradients, inputs
    return Outer(inputs, gradients, use.rows_per_example)
