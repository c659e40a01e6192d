"""MatMul: for `y = x W` the gradient of W for one example is `Σ_t x_t ⊗ ∂L/∂y_t` over its rows t."""

from __future__ import annotations

from tfstiff.gradients.factors import Outer
from tfstiff.gradients.operations import NoRule, Use, register


@register("MatMul")
def matrix_product(use: Use) -> Outer:
    """Rows of `x` belong to examples in order: (n·T, p), T rows each."""
    operation = use.operation
    if use.operand != 1 or operation.get_attr("transpose_a"):
        raise NoRule("a MatMul with the weight on the left, or with transposed data")
    if None in (use.data.shape[-1], use.output_gradient.shape[-1]):
        raise NoRule("a MatMul of a width that is not known while tracing")
    inputs, gradients = use.by_example(use.data), use.by_example(use.output_gradient)
    if operation.get_attr("transpose_b"):
        inputs, gradients = gradients, inputs  # W has shape (q, p)
    return Outer(inputs, gradients, use.rows_per_example)
