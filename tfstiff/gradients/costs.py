"""What per-example gradients cost: multiply-adds, and bytes for each example."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfstiff.gradients.factors import Factor, Lookup, Mixed, Outer, tensors_of
from tfstiff.gradients.uses import UseSite, ancestors

# Operations whose outputs are their inputs, perhaps of another shape.
_VIEWS = ("Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "PreventGradient")


@dataclass(frozen=True)
class Cost:
    """What the gradients of some weights cost.

    Attributes:
        weights: Their indices.
        operations: By type: at how many operations they meet examples.
        form: `formed`, or `factors`, `lookup` or both with the number of positions.
        for_each_pair: Multiply-adds of one product of gradients.
        for_each_example: Multiply-adds of forming one gradient.
        bytes_for_each_example: What is held.
    """

    weights: tuple[int, ...]
    operations: Mapping[str, int]
    form: str
    for_each_pair: int
    for_each_example: int
    bytes_for_each_example: int


def cost_of(weights: tuple[int, ...], factor: Factor, uses: Sequence[tuple[str, int]], sizes: Sequence[int]) -> Cost:
    """The cost of the gradients of some weights.

    Args:
        weights: Their indices.
        factor: Their gradients.
        uses: For each use of one of them, the operation, and multiply-adds of forming.
        sizes: Number of entries of every weight.
    """
    operations = dict(Counter(name for name, _ in uses))
    size, forming = sum(sizes[weight] for weight in weights), sum(cost for _, cost in uses)
    if tf.is_tensor(factor):
        return Cost(weights, operations, "formed", size, forming, row_bytes(factor))
    positions = factor.columns.shape[1]
    name = {Outer: "factors", Lookup: "lookup", Mixed: "lookup and factors"}[type(factor)]
    form = f"{name}, {positions} position{'s' if positions > 1 else ''}"
    held = sum(map(row_bytes, tensors_of(factor)))
    if factor.cost_of_pair > size and not isinstance(factor, Lookup):  # as `products` decides
        return Cost(weights, operations, f"{form}, formed in turn", size, forming, held)
    return Cost(weights, operations, form, factor.cost_of_pair, 0, held)


def cost_of_forming(site: UseSite, factor: Factor) -> int:
    """Multiply-adds of forming one example's gradient of a use: for each position an outer product, or an addition."""
    if isinstance(factor, Outer):
        return math.prod(factor.rows.shape[1:]) * factor.columns.shape[-1]
    if not tf.is_tensor(factor):
        return math.prod(factor.columns.shape[1:])
    is_transposed = "BackpropInput" in site.operation.type
    output = site.operation.inputs[2] if is_transposed else site.operation.outputs[0]
    entries = math.prod(size for size in output.shape.as_list() if size)
    if not site.operation.type.startswith("Conv"):
        return entries
    weight = site.operation.inputs[site.operand].shape
    return entries * math.prod(weight[:-1])


def peak_row_bytes(outputs: Sequence[tf.Tensor]) -> int:
    """The most bytes for each example that are alive at a time on the way to `outputs`, in the order of the graph."""
    needed = ancestors(outputs)
    operations = [operation for operation in outputs[0].graph.get_operations() if operation.name in needed]
    last_use = {tensor.name: place for place, operation in enumerate(operations) for tensor in operation.inputs}
    alive = peak = 0
    for place, operation in enumerate(operations):
        alive += sum(map(_own_row_bytes, operation.outputs))
        peak = max(peak, alive)
        inputs = {tensor.name: tensor for tensor in operation.inputs}
        alive -= sum(_own_row_bytes(tensor) for name, tensor in inputs.items() if last_use[name] == place)
    return peak


def _own_row_bytes(tensor: tf.Tensor) -> int:
    """As `row_bytes`; 0 for another shape of what is held already."""
    return 0 if tensor.op.type in _VIEWS else row_bytes(tensor)


def row_bytes(tensor: tf.Tensor) -> int:
    """Bytes of a tensor for each entry of its axis of unknown size; 0 for one that has none."""
    sizes = tensor.shape.as_list() if tensor.shape.rank else []
    return math.prod(size for size in sizes if size) * tensor.dtype.size if None in sizes else 0
