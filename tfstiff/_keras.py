"""Every touch of Keras' and TensorFlow's private parts. A test for each says when one moves."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src import backend
from keras.src.backend.common import global_state
from keras.src.losses import LossFunctionWrapper
from keras.src.random.seed_generator import global_seed_generator
from tensorflow.python.client import device_lib
from tensorflow.python.eager import context
from tensorflow.python.eager.polymorphic_function.atomic_function import from_func_graph
from tensorflow.python.framework import ops


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """`model`, its layers, theirs, and so on; each once."""
    return list(model._flatten_layers())


def takers(model: keras.Model, leaf: Any) -> list[keras.Layer]:
    """The layers of a functional or sequential model that take its input `leaf`, a `KerasTensor`, as it comes."""
    return [
        layer
        for layer in model.layers
        if any(one is leaf for node in layer._inbound_nodes for one in node.input_tensors)
    ]


def last_operations(model: keras.Model, is_wanted: Callable[[Any], bool]) -> list[Any]:
    """The operations and layers of a functional model that are met first, on each way back from its outputs.

    Args:
        model: Functional.
        is_wanted: Whether an operation is one of those meant; else the way goes on before it.
    """
    found: dict[int, Any] = {}
    waiting, seen = list(model.outputs), set()
    while waiting:
        operation, node, _ = waiting.pop()._keras_history
        if is_wanted(operation):
            found[id(operation)] = operation
        elif (id(operation), node) not in seen:
            seen.add((id(operation), node))
            waiting += operation._inbound_nodes[node].input_tensors
    return list(found.values())


def arguments_of_fit(model: keras.Model) -> dict[str, Any]:
    """What the `model.fit` that is running was called with, as its local variables; empty where none is."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model and "class_weight" in frame.f_locals:
            return dict(frame.f_locals)
        frame = frame.f_back
    return {}


def loss_weights(model: keras.Model) -> Any:
    """What `model` was compiled with as `loss_weights`; None where it was not."""
    return getattr(getattr(model, "_compile_loss", None), "_user_loss_weights", None)


def loss_of_function(function: Callable[..., Any]) -> keras.losses.Loss:
    """The loss that `compile` makes of a function of `y_true, y_pred`."""
    return LossFunctionWrapper(function)


def mask_of(tensor: tf.Tensor) -> tf.Tensor | None:
    """The mask that Keras' layers hand on with a tensor."""
    return getattr(tensor, "_keras_mask", None)


def quietly_traced(function: Callable[..., Any], **options: Any) -> Any:
    """A `tf.function` of which TensorFlow does not warn that it is traced often.

    A measurement traces for each model, layer and size of blocks once, as it should; TensorFlow counts that by the line
    of the code, and would advise users to change what is not theirs.

    Args:
        function: What is traced, without autograph.
        **options: Of `tf.function`.
    """
    made = tf.function(function, autograph=False, **options)
    made._omit_frequent_tracing_warning = True
    return made


# What TensorFlow does to the graph of a function before it runs it first. Only what is not asked for is taken out.
_REWRITES = (
    *("arithmetic_optimization", "common_subgraph_elimination", "constant_folding", "dependency_optimization"),
    *("function_optimization", "implementation_selector", "layout_optimizer", "loop_optimization", "remapping"),
    *("shape_optimization", "use_plugin_optimizers"),
)


@contextmanager
def graphs_as_traced() -> Iterator[None]:
    """Within it, this thread's functions run as they were traced, and TensorFlow does not rewrite their graphs before.

    On a CPU the rewritten graphs of models and tiles are no faster, and the rewriting takes a quarter of a first call.
    With a GPU it is left on: there it chooses layouts.
    """
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    settings = context.context()
    before = settings.function_call_options
    config = tf.compat.v1.ConfigProto.FromString(before.config_proto_serialized)
    rewrites = config.graph_options.rewrite_options
    for name in _REWRITES:
        setattr(rewrites, name, rewrites.OFF)
    rewrites.memory_optimization = rewrites.NO_MEM_OPT
    rewrites.meta_optimizer_iterations = rewrites.ONE
    settings.function_call_options = context.FunctionCallOptions(before.executor_type, config)
    try:
        yield
    finally:
        settings.function_call_options = before


def variable_of(weight: keras.Variable) -> tf.Variable:
    """The TensorFlow variable of a weight, also where a scope puts a tensor in its place; that of the first replica."""
    value = weight.value if isinstance(weight.value, tf.Variable) else weight._value
    return getattr(value, "values", (value,))[0]


def optimizer_slot(optimizer: keras.Optimizer, name: str, weight: keras.Variable) -> keras.Variable | None:
    """What an optimizer keeps for a weight, by the name of its list of such variables, such as "velocities".

    None where it was not built for the weight, or has no such list.
    """
    try:
        return getattr(optimizer, f"_{name}")[optimizer._get_variable_index(weight)]
    except (AttributeError, KeyError, IndexError):
        return None


def set_path(weight: keras.Variable, path: str) -> None:
    """Sets `weight.path`, which a saved model does not keep."""
    weight._path = path


def global_random_state() -> keras.Variable | None:
    """The state from which Keras draws where no seed is given; None as long as nothing was drawn."""
    generator = global_state.get_global_attribute("global_seed_generator")
    return None if generator is None else generator.state


def made_global_random_state() -> keras.Variable:
    """`global_random_state`, made where there is none."""
    return global_seed_generator().state


@contextmanager
def loops_over_time(wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Within it, and in this thread, Keras' loops over time are what `wrap(name, loop)` returns.

    Args:
        wrap: Takes "rnn" and the function that all recurrent layers call, or "scan" and that of `keras.ops.scan`.
    """
    places = (("rnn", backend), ("scan", backend.core))
    originals = {name: getattr(place, name) for name, place in places}
    try:
        for name, place in places:
            setattr(place, name, _in_this_thread(wrap(name, originals[name]), originals[name]))
        yield
    finally:
        for name, place in places:
            setattr(place, name, originals[name])


def _in_this_thread(function: Callable[..., Any], elsewhere: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in the thread that is running, `elsewhere` in others, which may train or trace a model meanwhile."""
    here = threading.get_ident()

    def chosen(*arguments: Any, **options: Any) -> Any:
        return (function if threading.get_ident() == here else elsewhere)(*arguments, **options)

    return chosen


def uses_cudnn(layer: keras.Layer) -> bool:
    """Whether a recurrent layer hands its whole sequence to cuDNN, on a GPU and with the usual activations."""
    if not isinstance(layer, keras.layers.LSTM | keras.layers.GRU) or not layer.use_cudnn or layer.recurrent_dropout:
        return False
    cell = layer.cell
    choices = (
        cell.activation,
        cell.recurrent_activation,
        layer.unroll,
        cell.use_bias,
        getattr(cell, "reset_after", None),
    )
    return bool(backend.cudnn_ok(*choices))


def memory_of_devices(kind: str) -> list[int]:
    """Bytes that TensorFlow may take on each device of a kind, `GPU` or `CPU`, in the order of their numbers."""
    return [int(device.memory_limit) for device in device_lib.list_local_devices() if device.device_type == kind]


def evaluate_while_tracing(
    graph: Any, arguments: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor], *values: Sequence[Any]
) -> list[list[np.ndarray]]:
    """The values of tensors of a function that is still being traced, for each of some lists of arguments.

    Args:
        graph: The function's graph.
        arguments: The function's arguments.
        outputs: What is computed.
        *values: For each of the arguments one.

    Raises:
        tf.errors.OpError: An operation failed.
    """
    kept = graph.inputs, graph.outputs
    captured = graph.captures
    try:
        graph.inputs = [*arguments, *(inner for _, inner in captured)]
        graph.outputs = list(outputs)
        function = from_func_graph(f"{graph.name}_so_far_{ops.uid()}", graph, {})
    finally:
        graph.inputs, graph.outputs = kept
    with tf.init_scope():
        outer = [outer for outer, _ in captured]
        found = [function.call_flat(*map(tf.convert_to_tensor, given), *outer) for given in values]
        return [[value.numpy() for value in results] for results in found]


def lost_its_threads() -> bool:
    """Whether this process was forked from one in which TensorFlow ran: whatever it computes here waits for ever.

    Known of forks after this module was imported.
    """
    return _lost_its_threads


_lost_its_threads = False


def _forked() -> None:
    global _lost_its_threads
    _lost_its_threads = _lost_its_threads or context.context()._context_handle is not None


os.register_at_fork(after_in_child=_forked)
