"""From per-example gradients of tensors computed from weights alone to those of the weights themselves.

Such a tensor depends on no example, so its vector-Jacobian product is the same linear map for all of them. Where the
tensor is an elementwise function of a weight, as the scale of a normalisation is, the map is diagonal and costs one
product; any other is vectorised over the examples, all tensors together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfstiff.gradients.uses import SIZES, made_again
from tfstiff.gradients.vectorizing import vectorized_map

# Operations whose output entries depend on the entries of the inputs in the same place.
_ELEMENTWISE = frozenset({
    "Abs", "Add", "AddV2", "Cast", "ClipByValue", "Cos", "Div", "DivNoNan", "Elu", "Erf", "Exp", "Expm1", "Identity",
    "Log", "Log1p", "Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Reciprocal", "Relu", "Rsqrt", "Selu",
    "Sigmoid", "Sin", "Softplus", "Sqrt", "Square", "SquaredDifference", "StopGradient", "Sub", "Tanh",
})  # fmt: skip
_VIEWS = frozenset({"ExpandDims", "Reshape", "Squeeze"})  # which keep the order of the entries


@dataclass(frozen=True)
class Derived:
    """A tensor computed from weights alone, and its per-example gradients.

    Attributes:
        tensor: The tensor.
        weights: Indices of the weights from which it is computed.
        gradient: (n, size): the gradients of the examples' losses with respect to it.
    """

    tensor: tf.Tensor
    weights: frozenset[int]
    gradient: tf.Tensor


class PullBack:
    """Pulls the gradients of derived tensors back to the weights.

    Args:
        handles: The weights' resource handles in the graph being traced.
    """

    def __init__(self, handles: Sequence[tf.Tensor]) -> None:
        self._index = {handle.name: index for index, handle in enumerate(handles)}

    def __call__(self, derived: Sequence[Derived]) -> tuple[dict[int, list[tf.Tensor]], dict[int, str]]:
        """The gradients (n, size) of every weight, to be added up, and why those of some cannot be had.

        Args:
            derived: All derived tensors.
        """
        found: dict[int, list[tf.Tensor]] = defaultdict(list)
        general = []
        for item in derived:
            copy = _Copy(item.tensor, self._index)
            if not copy.is_elementwise:
                general.append((item, copy))
                continue
            slopes = tf.gradients(copy.tensor, list(copy.reads.values()), tf.ones_like(copy.tensor))
            for weight, slope in self._by_weight(copy, slopes).items():
                found[weight].append(item.gradient * slope)
        missing: dict[int, str] = {}
        groups = [general] if general else []
        while groups:
            group = groups.pop()
            try:
                pulled = self._vectorized(group)
            except (ValueError, NotImplementedError) as reason:  # an operation that TensorFlow cannot vectorise
                if len(group) > 1:
                    groups += [[pair] for pair in group]
                    continue
                (item, _), *_ = group
                text = f"cannot pull back through {item.tensor.op.type}: {reason}"
                missing.update(dict.fromkeys(item.weights, text))
                continue
            for weight, gradient in pulled.items():
                found[weight].append(gradient)
        return found, missing

    def _vectorized(self, group: Sequence[tuple[Derived, _Copy]]) -> dict[int, tf.Tensor]:
        tensors, shapes = [copy.tensor for _, copy in group], [item.tensor.shape for item, _ in group]
        reads = [read for _, copy in group for read in copy.reads.values()]

        def one(cotangents: list[tf.Tensor]) -> dict[int, tf.Tensor]:
            cotangents = [tf.reshape(part, shape) for part, shape in zip(cotangents, shapes, strict=True)]
            gradients = iter(tf.gradients(tensors, reads, cotangents))
            pulled: dict[int, list[tf.Tensor]] = defaultdict(list)
            for _, copy in group:
                for weight, gradient in self._by_weight(copy, [next(gradients) for _ in copy.reads]).items():
                    pulled[weight].append(gradient)
            return {weight: tf.add_n(parts) for weight, parts in pulled.items()}

        gradients = [item.gradient for item, _ in group]
        return vectorized_map(one, gradients)

    def _by_weight(self, copy: _Copy, gradients: Sequence[tf.Tensor | None]) -> dict[int, tf.Tensor]:
        """Gradients with respect to the copy's reads, flat, added up for each weight."""
        parts: dict[int, list[tf.Tensor]] = defaultdict(list)
        for name, gradient in zip(copy.reads, gradients, strict=True):
            if gradient is not None:
                weight = self._index[copy.handles[name]]
                parts[weight].append(tf.reshape(tf.convert_to_tensor(gradient), [-1]))
        return {weight: tf.add_n(found) for weight, found in parts.items()}


class _Copy:
    """The operations from some variables' reads to `tensor` once more, so that differentiating walks these alone.

    `tf.gradients` walks everything that depends on what it differentiates by, which is most of the model for each
    weight. What depends on other variables alone, as on the statistics of a batch, is taken as it is.

    Args:
        tensor: The tensor.
        handles: Names of the variables' handles.

    Attributes:
        tensor: The copy of the tensor.
        reads: Copies of the reads that it depends on, by the name of the read.
        handles: By the name of the read, the name of the variable's handle.
        is_elementwise: Whether each entry of the tensor depends on the entries of the variables in its place alone.
    """

    def __init__(self, tensor: tf.Tensor, handles: Container[str]) -> None:
        self.reads: dict[str, tf.Tensor] = {}
        self.handles: dict[str, str] = {}
        self.is_elementwise = True
        copies: dict[str, tf.Tensor] = {}  # of the tensors that depend on one of the variables
        for operation in _in_order(tensor.op):
            if operation.type == "ReadVariableOp":
                if operation.inputs[0].name not in handles:
                    continue
                read = operation.outputs[0]
                copies[read.name] = self.reads[read.name] = tf.identity(read)
                self.handles[read.name] = operation.inputs[0].name
            elif any(source.name in copies for source in operation.inputs):
                inputs = [copies.get(source.name, source) for source in operation.inputs]
                made = made_again(operation, inputs)
                copies.update((old.name, new) for old, new in zip(operation.outputs, made.outputs, strict=True))
                on_the_way = [source for source in operation.inputs if source.name in copies]
                self.is_elementwise &= _keeps_places(operation, on_the_way)
        self.tensor = copies.get(tensor.name, tensor)


def _in_order(last: tf.Operation) -> list[tf.Operation]:
    """The operations that `last` is computed by, each behind its inputs, from the reads of variables on."""
    ordered: dict[str, tf.Operation] = {}
    waiting = [(last, False)]
    while waiting:
        operation, is_ready = waiting.pop()
        if is_ready:
            ordered.setdefault(operation.name, operation)
        elif operation.name not in ordered:
            waiting.append((operation, True))
            if operation.type != "ReadVariableOp" and operation.type not in SIZES:
                waiting += [(tensor.op, False) for tensor in operation.inputs]
    return list(ordered.values())


def _keeps_places(operation: tf.Operation, sources: Sequence[tf.Tensor]) -> bool:
    """Whether each entry of the output depends on the entries of `sources` in its place alone."""
    shape = operation.outputs[0].shape
    if not shape.is_fully_defined() or not all(source.dtype.is_floating for source in sources):
        return False
    if operation.type in _VIEWS:
        return operation.inputs[0] is sources[0]
    return operation.type in _ELEMENTWISE and all(
        source.shape.is_fully_defined() and source.shape.num_elements() == shape.num_elements() for source in sources
    )
