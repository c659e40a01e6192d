"""Where weights meet examples, found in a traced graph.

A tensor is *batch-free* when no example has a part in it: a weight, or whatever is computed from weights alone. A
weight reaches an example only at a *use*: an operation that takes a batch-free tensor made of it and a tensor that
depends on examples. The trace must have the example axis unknown and every other axis known, so that zeros of shape
(n, units) count as dependent on examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfstiff.gradients.owners import Sample, is_ambiguous

SIZES = frozenset({"Shape", "ShapeN", "Size", "Rank"})  # operations that look at the sizes of a tensor alone


@dataclass(frozen=True)
class UseSite:
    """One operation at which a batch-free tensor made of weights meets examples.

    Attributes:
        operation: The operation.
        operand: The batch-free input's index.
        weights: Indices of the weights from which that input is computed.
    """

    operation: tf.Operation
    operand: int
    weights: frozenset[int]


def find_uses(
    graph: tf.Graph, examples: Sequence[tf.Tensor], weights: Sequence[tf.Tensor], target: tf.Tensor, sample: Sample
) -> list[UseSite]:
    """Finds every use of every weight on the way to `target`.

    Args:
        graph: The traced graph (the one being traced will do).
        examples: Tensors that hold example data, first axis the examples.
        weights: The weights' resource handles as they stand in this graph.
        target: The per-example losses.
        sample: On which it is tried what the trace leaves open. Tensors are given the sizes found.

    Returns:
        The uses in the order of the graph.
    """
    relevant, reached = ancestors([target]), ancestors([target], by_gradients=True)
    operations = [operation for operation in graph.get_operations() if operation.name in relevant]
    ambiguous = [tensor for operation in operations for tensor in operation.outputs if is_ambiguous(tensor)]
    ambiguous = [tensor for tensor in ambiguous if any(user.type != "MatMul" for user in tensor.consumers())]
    if ambiguous:
        sample.settle_shapes(ambiguous)
    known: dict[str, bool] = {}  # by the name of a tensor that was in doubt: whether it depends on no example
    while True:
        free = frozenset(name for name, is_free in known.items() if is_free)
        uses, doubtful = _walk(operations, examples, weights, free)
        doubtful = [tensor for tensor in doubtful if tensor.name not in known]
        if not doubtful:
            break
        known.update(zip((tensor.name for tensor in doubtful), sample.are_the_same(doubtful), strict=True))
    uses = [use for use in uses if use.operation.name in reached]
    operands = [use.operation.inputs[use.operand] for use in uses]
    open_ = [tensor for tensor in operands if tensor.dtype != tf.resource and not tensor.shape.is_fully_defined()]
    if open_:
        sample.settle_shapes(open_)
    return uses


def _walk(
    operations: Sequence[tf.Operation],
    examples: Sequence[tf.Tensor],
    weights: Sequence[tf.Tensor],
    free: frozenset[str],
) -> tuple[list[UseSite], list[tf.Tensor]]:
    """The uses; and tensors made of weights and of sizes, of which it is not known whether n is among these.

    Args:
        operations: In the order of the graph.
        examples: As for `find_uses`.
        weights: As for `find_uses`.
        free: Names of tensors that depend on no example, whatever they are made of.
    """
    made_of = {handle.name: frozenset([index]) for index, handle in enumerate(weights)}
    dependent = {tensor.name for tensor in examples}
    sizes: set[str] = set()  # the tensors that depend on the number of examples alone, perhaps
    uses: list[UseSite] = []
    doubtful: list[tf.Tensor] = []
    for operation in operations:
        if operation.type == "Placeholder":
            continue
        sources = [made_of.get(tensor.name, frozenset()) for tensor in operation.inputs]
        held = [tensor.name for tensor in operation.inputs if tensor.name in dependent]
        names = [output.name for output in operation.outputs]
        if _is_static_size(operation) or not held or free.issuperset(names):
            made_of.update(dict.fromkeys(names, frozenset().union(*sources)))
            continue
        dependent.update(names)
        if operation.type in SIZES or sizes.issuperset(held):
            sizes.update(names)
            if any(sources):
                doubtful += operation.outputs
        uses += [UseSite(operation, operand, source) for operand, source in enumerate(sources) if source]
    return uses, doubtful


def is_view(tensor: tf.Tensor, handle: tf.Tensor) -> bool:
    """Whether `tensor` holds the entries of the weight behind `handle` in order, in whatever shape or precision."""
    if tensor.name == handle.name:
        return True
    while tensor.dtype.is_floating and tensor.op.type in ("Identity", "Reshape", "Squeeze", "ExpandDims", "Cast"):
        tensor = tensor.op.inputs[0]
    return tensor.op.type == "ReadVariableOp" and tensor.op.inputs[0].name == handle.name


def is_transposed_view(tensor: tf.Tensor, handle: tf.Tensor) -> bool:
    """Whether `tensor` is a matrix whose transpose `is_view` of the weight behind `handle`."""
    while tensor.dtype.is_floating and tensor.op.type in ("Identity", "Cast"):
        tensor = tensor.op.inputs[0]
    if tensor.op.type != "Transpose":
        return False
    order = tf.get_static_value(tensor.op.inputs[1])
    return order is not None and order.tolist() == [1, 0] and is_view(tensor.op.inputs[0], handle)


class VariableDependence:
    """Whether tensors depend on a variable. What was walked once is not walked again."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}  # by the name of an operation

    def __call__(self, tensor: tf.Tensor) -> bool:
        """Whether `tensor` does."""
        waiting = [tensor.op]
        while waiting:
            operation = waiting[-1]
            unknown = [source.op for source in operation.inputs if source.op.name not in self._known]
            if operation.name not in self._known and unknown:
                waiting += unknown
                continue
            waiting.pop()
            self._known[operation.name] = any(output.dtype == tf.resource for output in operation.outputs) or any(
                self._known[source.op.name] for source in operation.inputs
            )
        return self._known[tensor.op.name]


def recipe(tensor: tf.Tensor, known: dict[str, str]) -> str:
    """A name for how a batch-free tensor is computed: tensors with the same recipe have the same value.

    Args:
        tensor: The tensor.
        known: Recipes by tensor name; filled.
    """
    if tensor.name not in known:
        operation = tensor.op
        if operation.type == "Placeholder" or operation.type in SIZES:
            known[tensor.name] = tensor.name
        else:
            inputs = [recipe(source, known) for source in operation.inputs]
            attributes = sorted((name, str(value)) for name, value in operation.node_def.attr.items())
            text = f"{operation.type} {tensor.value_index} {attributes} {inputs}"
            known[tensor.name] = hashlib.sha256(text.encode()).hexdigest()
    return known[tensor.name]


def made_again(operation: tf.Operation, inputs: Sequence[tf.Tensor], graph: tf.Graph | None = None) -> tf.Operation:
    """The same operation of other inputs, in the same graph or in `graph`."""
    attributes = dict(operation.node_def.attr)
    if graph is not None:
        attributes.pop("_class", None)  # which names operations of its own graph
    types = [output.dtype for output in operation.outputs]
    return (graph or operation.graph).create_op(operation.type, inputs, types, attrs=attributes)


def ancestors(targets: Sequence[tf.Tensor], by_gradients: bool = False) -> set[str]:
    """The operations that `targets` are computed from; with `by_gradients`, only those that their gradients reach."""
    found: set[str] = set()
    waiting = [target.op for target in targets]
    while waiting:
        operation = waiting.pop()
        if operation.name not in found and not (by_gradients and operation.type == "StopGradient"):
            found.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return found


def _is_static_size(operation: tf.Operation) -> bool:
    """Whether the operation reads sizes known while tracing off a shape, as `tf.shape(x)[1]` does."""
    if operation.type not in ("StridedSlice", "GatherV2") or operation.inputs[0].op.type != "Shape":
        return False
    shape = operation.inputs[0].op.inputs[0].shape
    if shape.rank is None:
        return False
    sizes = np.array([-1 if size is None else size for size in shape])
    index = [tf.get_static_value(tensor) for tensor in operation.inputs[1:]]
    if any(value is None for value in index):
        return False
    if operation.type == "GatherV2":
        return bool((sizes[index[0]] >= 0).all())
    if operation.get_attr("begin_mask") or operation.get_attr("end_mask"):
        return False
    return bool((sizes[slice(int(index[0][0]), int(index[1][0]) or None, int(index[2][0]))] >= 0).all())
