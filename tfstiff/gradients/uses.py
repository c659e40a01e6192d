"""Where weights meet examples, found in a traced graph.

A tensor is *batch-free* when no example has a part in it: a weight, or whatever is computed from weights alone. A
weight reaches an example only at a *use*: an operation that takes a batch-free tensor made of it and a tensor that
depends on examples. The trace must have the example axis unknown and every other axis known, so that zeros of shape
(n, units) count as dependent on examples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Place:
    """Where the example axis of a tensor is: dimension `axis` has size `before · n · after`, in this order.

    Most tensors have (0, 1, 1). Time steps merged into the first axis make `after` larger; the blocks of a dilated
    convolution, and time-major layouts merged, make `before` larger.

    Attributes:
        axis: The dimension that holds the examples.
        before: Entries of it that run slower than the examples.
        after: Entries of it that run faster than the examples; None where only `inner` is known.
        inner: Entries of the whole tensor that run faster than the examples; None where not needed.
    """

    axis: int
    before: int = 1
    after: int | None = 1
    inner: int | None = None


@dataclass(frozen=True)
class UseSite:
    """One operation at which a batch-free tensor made of weights meets examples.

    Attributes:
        operation: The operation.
        operand: The batch-free input's index.
        weights: Indices of the weights from which that input is computed.
        places: By tensor name, where the examples are in the operation's inputs and outputs that hold any.
    """

    operation: tf.Operation
    operand: int
    weights: frozenset[int]
    places: dict[str, Place]


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
    relevant, reached = _ancestors(target), _ancestors(target, by_gradients=True)
    made_of = {handle.name: frozenset([index]) for index, handle in enumerate(weights)}
    # The tensors that depend on examples, with the place of the examples where it is known.
    dependent: dict[str, Place | None] = {tensor.name: Place(0) for tensor in examples}
    uses: list[UseSite] = []
    for operation in graph.get_operations():
        if operation.name not in relevant or operation.type == "Placeholder":
            continue
        sources = [made_of.get(tensor.name, frozenset()) for tensor in operation.inputs]
        if _is_static_size(operation) or not any(tensor.name in dependent for tensor in operation.inputs):
            made_of.update((output.name, frozenset().union(*sources)) for output in operation.outputs)
            continue
        for output in operation.outputs:
            dependent[output.name] = _place(operation, output, dependent)
        if operation.name not in reached:
            continue
        places = {
            tensor.name: place
            for tensor in (*operation.inputs, *operation.outputs)
            if (place := dependent.get(tensor.name)) is not None
        }
        uses += [UseSite(operation, operand, source, places) for operand, source in enumerate(sources) if source]
    return uses


def is_view(tensor: tf.Tensor, handle: tf.Tensor) -> bool:
    """Whether `tensor` holds the entries of the weight behind `handle` in order, in whatever shape or precision."""
    if tensor.name == handle.name:
        return True
    while tensor.dtype.is_floating and tensor.op.type in ("Identity", "Reshape", "Squeeze", "ExpandDims", "Cast"):
        tensor = tensor.op.inputs[0]
    return tensor.op.type == "ReadVariableOp" and tensor.op.inputs[0].name == handle.name


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
        if operation.type == "Placeholder":
            known[tensor.name] = tensor.name
        else:
            inputs = [recipe(source, known) for source in operation.inputs]
            attributes = sorted((name, str(value)) for name, value in operation.node_def.attr.items())
            text = f"{operation.type} {tensor.value_index} {attributes} {inputs}"
            known[tensor.name] = hashlib.sha256(text.encode()).hexdigest()
    return known[tensor.name]


def made_again(operation: tf.Operation, inputs: Sequence[tf.Tensor]) -> tf.Operation:
    """The same operation of other inputs, in the same graph."""
    attributes = dict(operation.node_def.attr)
    types = [output.dtype for output in operation.outputs]
    return operation.graph.create_op(operation.type, inputs, types, attrs=attributes)


def _ancestors(target: tf.Tensor, by_gradients: bool = False) -> set[str]:
    """The operations that `target` is computed from; with `by_gradients`, only those that its gradients reach."""
    found: set[str] = set()
    waiting = [target.op]
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


def _place(operation: tf.Operation, output: tf.Tensor, dependent: dict[str, Place | None]) -> Place | None:
    """Where the examples are in `output`.

    Most operations leave the examples on the one axis of unknown size. What is assumed here is proved later.
    """
    known = [(tensor, place) for tensor in operation.inputs if (place := dependent.get(tensor.name)) is not None]
    if output.shape.rank is None:
        return None
    unknown = [axis for axis, size in enumerate(output.shape) if size is None]
    if not known:  # made from the number of examples alone, such as zeros of shape (n, units)
        return Place(unknown[0]) if len(unknown) == 1 else None
    source, place = known[0]
    if operation.type == "Reshape":
        return _reshaped(source, place, output, unknown)
    if operation.type in ("SpaceToBatchND", "BatchToSpaceND"):
        blocks = tf.get_static_value(operation.inputs[1])
        if blocks is None or place.axis != 0:
            return None
        count = int(np.prod(blocks))
        before = place.before * count if operation.type == "SpaceToBatchND" else place.before // count
        return Place(0, before, place.after)
    if operation.type == "MatMul" and place.after is None and place.inner is not None:
        width = operation.inputs[1].shape[0]
        place = Place(0, place.before, place.inner // width) if width else place
    if len(unknown) == 1:
        return Place(unknown[0], place.before, place.after)
    return place if place.axis in unknown and output.shape.rank == source.shape.rank else None


def _reshaped(source: tf.Tensor, place: Place, output: tf.Tensor, unknown: list[int]) -> Place | None:
    """The place of the examples after a reshape, which keeps the order of all entries."""
    slower, faster = source.shape[: place.axis], source.shape[place.axis + 1 :]
    if _has_unknown(slower) or _has_unknown(faster) or place.after is None:
        return None
    outer, inner = math.prod(slower) * place.before, place.after * math.prod(faster)
    if len(unknown) != 1:  # tf.tensordot reshapes to (rows, columns), neither known
        return Place(0, outer, None, inner) if unknown == [0, 1] and output.shape.rank == 2 else None
    axis = unknown[0]
    slower_now, faster_now = math.prod(output.shape[:axis]), math.prod(output.shape[axis + 1 :])
    if not slower_now or not faster_now or outer % slower_now or inner % faster_now:
        return None
    return Place(axis, outer // slower_now, inner // faster_now)


def _has_unknown(dimensions: Iterable[int | None]) -> bool:
    return any(dimension is None for dimension in dimensions)
