"""Matrix products and Einsum: the gradient of W in `y_t = x_t W` for one example is `Σ_t x_t ⊗ ∂L/∂y_t`."""

from __future__ import annotations

import math
from string import ascii_letters

import tensorflow as tf

from tfstiff.gradients.factors import Factor, Outer
from tfstiff.gradients.operations import NoRule, Use, register


@register("MatMul")
def matrix_product(use: Use) -> Outer:
    """`y = x W` with the examples among the rows of x."""
    operation = use.operation
    transpose_data = operation.get_attr("transpose_a" if use.operand == 1 else "transpose_b")
    transpose_weight = operation.get_attr("transpose_b" if use.operand == 1 else "transpose_a")
    if use.operand != 1 or transpose_data:
        raise NoRule("a MatMul with the weight on the left, or with transposed data")
    if use.place.axis != 0:
        raise NoRule("a MatMul with the examples among the columns")
    width_in, width_out = use.weight_shape[::-1] if transpose_weight else use.weight_shape
    # In front of a tensordot, neither size of the data is known while tracing.
    inputs = use.by_example(tf.reshape(use.data, [-1, width_in]))
    gradients = use.by_example(tf.reshape(use.output_gradient, [-1, width_out]))
    return _outer(inputs, gradients, transpose_weight)


@register("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def batch_matrix_product(use: Use) -> Factor:
    """`y = x W` or `y = W x` for every leading index of x, with one matrix W for all of them or for some."""
    operation, rank = use.operation, use.output.shape.rank
    axis = use.place.axis - rank  # from behind, where data and output are aligned
    is_last = use.operand == 1
    if axis == (-1 if is_last else -2) or -axis > use.data.shape.rank:
        raise NoRule(f"a {operation.type} with the examples on an axis of the weight")
    flipped_data = operation.get_attr("adj_x" if is_last else "adj_y")
    flipped_weight = operation.get_attr("adj_y" if is_last else "adj_x")
    data_axis = axis if axis < -2 or not flipped_data else -3 - axis
    inputs = use.by_example(use.data, use.data.shape.rank + data_axis)
    gradients = use.by_example(use.output_gradient)
    # Everything is brought to y = x W, with the contracted axis last; y = W x is yᵀ = xᵀ Wᵀ.
    if flipped_data == is_last:
        inputs = tf.linalg.matrix_transpose(inputs)
    if not is_last:
        gradients = tf.linalg.matrix_transpose(gradients)
    is_transposed = flipped_weight == is_last
    if all(size == 1 for size in use.weight_shape[:-2]):
        return _outer(_flat_positions(inputs), _flat_positions(gradients), is_transposed)
    return _several_matrices(use, inputs, gradients, is_transposed)


def _several_matrices(use: Use, inputs: tf.Tensor, gradients: tf.Tensor, is_transposed: bool) -> tf.Tensor:
    """(n, *weight.shape), formed, from (n, ..., p) and (n, ..., q)."""
    letters = ascii_letters[: gradients.shape.rank - 1]  # the examples', and those of the axes before the contracted
    example, leading = letters[0], letters[1:-1]
    own = [example, *letters[len(letters) + 2 - inputs.shape.rank :]]
    alone = [
        place for place, size in enumerate(inputs.shape[:-1]) if size == 1 != gradients.shape[letters.index(own[place])]
    ]
    if alone:  # along which the data are the same for all matrices
        inputs = tf.squeeze(inputs, alone)
        own = [letter for place, letter in enumerate(own) if place not in alone]
    aligned = zip(leading[::-1], use.weight_shape[-3::-1], strict=False)
    kept = [letter for letter, size in aligned if size != 1][::-1]
    sides = "QP" if is_transposed else "PQ"
    equation = f"{''.join(own)}P,{letters}Q->{example}{''.join(kept)}{sides}"
    return tf.reshape(tf.einsum(equation, inputs, gradients), [use.count_beside(*use.weight_shape), *use.weight_shape])


@register("Einsum")
def einsum(use: Use) -> Factor:
    """A product of matrices, where letters are of rows or of columns; else Einsum again, with the examples' letter."""
    equation = use.operation.get_attr("equation").decode()
    operands, output = equation.split("->")
    letters = operands.split(",")
    if len(letters) != 2 or "." in equation or any(len(set(part)) < len(part) for part in (*letters, output)):
        raise NoRule(f"the Einsum {equation}")
    weight, data = letters[use.operand], letters[1 - use.operand]
    example = output[use.place.axis]
    if example in weight or example not in data:
        raise NoRule(f"the Einsum {equation} with the examples on an axis of the weight")
    summed = [letter for letter in weight if letter not in data and letter not in output]
    if summed:
        raise NoRule(f"the Einsum {equation}, which sums the weight alone")
    # The examples' axis, in by_example, is theirs and one of the other entries on it.
    inputs, gradients = use.by_example(use.data, data.index(example)), use.by_example(use.output_gradient)
    contracted = [letter for letter in weight if letter in data and letter not in output]
    kept = [letter for letter in weight if letter in output and letter not in data]
    shared = [letter for letter in data if letter in output]
    is_transposed = [*weight] == kept + contracted
    if set(data) == {*shared, *contracted} and (is_transposed or [*weight] == contracted + kept):
        sides = _as_matrices(inputs, data, shared, contracted), _as_matrices(gradients, output, shared, kept)
        return _outer(*sides, is_transposed)
    first = next(letter for letter in ascii_letters if letter not in equation)
    return tf.einsum(f"{first}{data},{first}{output}->{first}{weight}", inputs, gradients)


def _as_matrices(tensor: tf.Tensor, letters: str, positions: list[str], entries: list[str]) -> tf.Tensor:
    """(n, T, width) from (n, ...), whose other axes have `letters`: those of the positions, and of their entries."""
    order = [0, *(1 + letters.index(letter) for letter in positions + entries)]
    width = math.prod(tensor.shape[1 + letters.index(letter)] for letter in entries)
    count = tensor.shape[1:].num_elements() // width
    return tf.reshape(tf.transpose(tensor, order), [-1, count, width])


def _flat_positions(tensor: tf.Tensor) -> tf.Tensor:
    """(n, T, ..., width) to (n, positions, width)."""
    if None in tensor.shape[1:]:
        raise NoRule("a product of a shape that is not known while tracing")
    count = tensor.shape[1:-1].num_elements()
    return tf.reshape(tensor, [-1, count, tensor.shape[-1]])


def _outer(inputs: tf.Tensor, gradients: tf.Tensor, is_transposed: bool) -> Outer:
    return Outer(gradients, inputs) if is_transposed else Outer(inputs, gradients)
