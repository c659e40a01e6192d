"""Matrix products and Einsum: the gradient of W in `y_t = x_t W` for one example is `Σ_t x_t ⊗ ∂L/∂y_t`."""

from __future__ import annotations

import tensorflow as tf

from tfstiff.gradients.factors import Outer
from tfstiff.gradients.operations import NoRule, Use, register


@register("MatMul")
def matrix_product(use: Use) -> Outer:
    """`y = x W` with the examples among the rows of x."""
    operation = use.operation
    transpose_data = operation.get_attr("transpose_a" if use.operand == 1 else "transpose_b")
    transpose_weight = operation.get_attr("transpose_b" if use.operand == 1 else "transpose_a")
    if use.operand != 1 or transpose_data:
        raise NoRule("a MatMul with the weight on the left, or with transposed data")
    width_in, width_out = use.weight_shape[::-1] if transpose_weight else use.weight_shape
    gradients = use.by_example(use.output_gradient, use.output)
    positions = gradients.shape[1]
    inputs = _rows(use, width_in, positions)
    return _outer(inputs, tf.reshape(gradients, [use.num_examples, positions, width_out]), transpose_weight)


@register("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matrix_product(use: Use) -> Outer:
    """`y = x W` or `y = W x` for every leading index of x, with one matrix W for all of them."""
    operation = use.operation
    if any(size != 1 for size in use.weight_shape[:-2]):
        raise NoRule(f"a {operation.type} with several matrices of weights")
    inputs, gradients = use.by_example(use.data, use.data), use.by_example(use.output_gradient, use.output)
    if use.place(use.data).axis > use.data.shape.rank - (2 if use.operand == 1 else 3):
        raise NoRule(f"a {operation.type} with the examples on a contracted axis")
    flipped_data = operation.get_attr("adj_x" if use.operand == 1 else "adj_y")
    flipped_weight = operation.get_attr("adj_y" if use.operand == 1 else "adj_x")
    # Everything is brought to y = x W, with the contracted axis last; y = W x is yᵀ = xᵀ Wᵀ.
    if flipped_data == (use.operand == 1):
        inputs = tf.linalg.matrix_transpose(inputs)
    if use.operand == 0:
        gradients = tf.linalg.matrix_transpose(gradients)
    inputs, gradients = _flat_positions(inputs), _flat_positions(gradients)
    return _outer(inputs, gradients, flipped_weight == (use.operand == 1))


@register("Einsum")
def einsum(use: Use) -> tf.Tensor:
    """Einsum again: data and output gradient with the examples' letter kept, contracted to the weight's letters."""
    equation = use.operation.get_attr("equation").decode()
    operands, output = equation.split("->")
    letters = operands.split(",")
    if len(letters) != 2 or "." in equation or any(len(set(part)) < len(part) for part in (*letters, output)):
        raise NoRule(f"the Einsum {equation}")
    weight, data = letters[use.operand], letters[1 - use.operand]
    place = use.place(use.output)
    example = output[place.axis]
    if (place.before, place.after) != (1, 1) or example in weight or data.find(example) != use.place(use.data).axis:
        raise NoRule(f"the Einsum {equation} with examples among other entries of an axis")
    summed = [letter for letter in weight if letter not in data and letter not in output]
    if summed:
        raise NoRule(f"the Einsum {equation}, which sums the weight alone")
    return tf.einsum(f"{data},{output}->{example}{weight}", use.data, use.output_gradient)


def _rows(use: Use, width: int, positions: int) -> tf.Tensor:
    """The data of a MatMul, (n, T, width); in front of a tensordot neither of its sizes is known while tracing."""
    place = use.place(use.data)
    if place.axis != 0:
        raise NoRule("a MatMul with the examples among the columns")
    data = use.data
    if place.before > 1:
        data = tf.reshape(data, [place.before, use.num_examples, positions // place.before, width])
        data = tf.transpose(data, [1, 0, 2, 3])
    return tf.reshape(data, [use.num_examples, positions, width])


def _flat_positions(tensor: tf.Tensor) -> tf.Tensor:
    """(n, T, ..., width) to (n, positions, width)."""
    if None in tensor.shape[1:]:
        raise NoRule("a product of a shape that is not known while tracing")
    count = tensor.shape[1:-1].num_elements()
    return tf.reshape(tensor, [-1, count, tensor.shape[-1]])


def _outer(inputs: tf.Tensor, gradients: tf.Tensor, is_transposed: bool) -> Outer:
    return Outer(gradients, inputs) if is_transposed else Outer(inputs, gradients)
