"""Outputs of a traced function that are computed only where its caller asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfstiff.gradients.uses import ancestors, made_again


def on_demand(wanted: tf.Tensor, tensors: Sequence[tf.Tensor], others: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`tensors` where `wanted` is true, empty ones where it is not; then what they alone need is not computed.

    One function with such outputs is traced and made ready to run once, where two would be twice.

    Args:
        wanted: Scalar, bool, of the graph being traced.
        tensors: Of that graph.
        others: What is computed in any case.
    """
    if not tensors:
        return []
    shared = ancestors(others)
    own = [operation for operation in _in_order(tensors) if operation.name not in shared or operation.type == "Const"]
    own = [operation for operation in own if not _calls_functions(operation)]

    def compute() -> list[tf.Tensor]:
        graph = tf.compat.v1.get_default_graph()
        copies: dict[str, tf.Tensor] = {}
        for operation in own:
            inputs = [copies.get(tensor.name, tensor) for tensor in operation.inputs]
            made = made_again(operation, inputs, graph)
            copies.update(zip((tensor.name for tensor in operation.outputs), made.outputs, strict=True))
        return [tf.identity(copies.get(tensor.name, tensor)) for tensor in tensors]

    def skip() -> list[tf.Tensor]:
        return [tf.zeros([0], tensor.dtype) for tensor in tensors]

    found: list[tf.Tensor] = tf.nest.flatten(tf.cond(wanted, compute, skip))
    return found


def _in_order(tensors: Sequence[tf.Tensor]) -> list[tf.Operation]:
    """The operations that `tensors` are computed by, in the order of the graph."""
    needed = ancestors(tensors)
    return [operation for operation in tensors[0].graph.get_operations() if operation.name in needed]


def _calls_functions(operation: tf.Operation) -> bool:
    """Whether it runs functions of its graph, as a loop does, which another graph does not know."""
    attributes = operation.node_def.attr.values()
    return operation.type == "Placeholder" or any(value.HasField("func") or value.list.func for value in attributes)
