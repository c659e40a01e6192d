"""Where weights meet examples, found in a traced graph.

A tensor is *batch-free* when no example has a part in it: a weight, or whatever is computed from weights alone. A
weight reaches an example only at a *use*: an operation that takes a batch-free tensor made of it and a tensor that
depends on examples. The trace must have the example axis unknown and every other axis known, so that zeros of shape
(n, units) count as dependent on examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class UseSite:
    """One operation at which a batch-free tensor made of weights meets examples.

    Attributes:
        operation: The operation.
        operand: The batch-free input's index.
        weights: Indices of the weights from which that input is computed.
        rows_per_example: Rows of the output's first axis that belong to one example; None where not known.
    """

    operation: tf.Operation
    operand: int
    weights: frozenset[int]
    rows_per_example: int | None


def find_uses(
    graph: tf.Graph, examples: Sequence[tf.Tensor], weights: Sequence[tf.Tensor], target: tf.Tensor
) -> list[UseSite]:
    """Finds every use of every weight on the way to `target`.

    Args:
        graph: The traced graph (the one being traced will do).
        examples: Tensors that hold example data, first axis the examples.
        weights: The weights' resource handles as they stand in this graph.
        target: The per-example losses.

    Returns:
        The uses in the order of the graph.
    """
    relevant = _ancestors(target)
    made_of: dict[str, frozenset[int]] = {handle.name: frozenset([index]) for index, handle in enumerate(weights)}
    rows: dict[str, int | None] = {tensor.name: 1 for tensor in examples}  # of the tensors that depend on examples
    uses: list[UseSite] = []
    for operation in graph.get_operations():
        if operation.name not in relevant or operation.type == "Placeholder":
            continue
        dependent = [tensor for tensor in operation.inputs if tensor.name in rows]
        sources = [made_of.get(tensor.name, frozenset()) for tensor in operation.inputs]
        if not dependent:
            made_of.update((output.name, frozenset().union(*sources)) for output in operation.outputs)
            continue
        for output in operation.outputs:
            rows[output.name] = _rows_per_example(operation, output, dependent[0], rows)
        uses += [
            UseSite(operation, operand, source, rows[operation.outputs[0].name] if operation.outputs else None)
            for operand, source in enumerate(sources)
            if source
        ]
    return uses


def is_view(tensor: tf.Tensor, handle: tf.Tensor) -> bool:
    """Whether `tensor` holds the entries of the weight behind `handle` unchanged and in order, in whatever shape."""
    while tensor.op.type in ("Identity", "Reshape", "Squeeze", "ExpandDims"):
        tensor = tensor.op.inputs[0]
    return tensor.op.type == "ReadVariableOp" and tensor.op.inputs[0].name == handle.name


def _ancestors(target: tf.Tensor) -> set[str]:
    found: set[str] = set()
    waiting = [target.op]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


def _rows_per_example(
    operation: tf.Operation, output: tf.Tensor, source: tf.Tensor, rows: dict[str, int | None]
) -> int | None:
    """Rows of `output` for each example, from those of the operation's first input that depends on examples.

    Most operations keep the first axis; a reshape can merge others into it, and dilated convolutions put blocks of the
    image before it.
    """
    known = rows[source.name]
    if operation.type == "SpaceToBatchND":
        return None
    if operation.type == "MatMul" and known is None and source.op.type == "Reshape":
        # Keras' Dense reshapes inputs of more than two axes to a width that only its kernel tells while tracing.
        before, kernel = source.op.inputs[0], operation.inputs[1]
        width = kernel.shape[1 if operation.get_attr("transpose_b") else 0]
        return _rows_after(rows.get(before.name), before.shape[1:], [width])
    if known is None or output.shape.rank in (None, 0) or output.shape[0] is not None:
        return None
    if operation.type == "Reshape":
        return _rows_after(known, source.shape[1:], output.shape[1:])
    if operation.type == "Transpose":
        order = tf.get_static_value(operation.inputs[1])
        return known if order is not None and order[0] == 0 else None
    return known


def _rows_after(rows: int | None, row_shape: Sequence[int | None], new_row_shape: Sequence[int | None]) -> int | None:
    """Rows per example once `rows` of one shape are reshaped to rows of another."""
    old = [size for size in row_shape if size is not None]
    new = [size for size in new_row_shape if size is not None]
    if rows is None or len(old) < len(row_shape) or len(new) < len(new_row_shape):
        return None
    elements, width = rows * math.prod(old), math.prod(new)
    return elements // width if width and elements % width == 0 else None
