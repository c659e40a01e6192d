"""How a model is called: as its user calls it, or so that no weight is hidden in a function or loop."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import all_layers, graphs_as_traced, quietly_traced, uses_cudnn
from tfstiff.errors import UnsupportedModel
from tfstiff.gradients.loops import loops_by_rows

# Whether functions run eagerly is one setting for all threads: who changes it holds this, and leaves it as it was.
one_at_a_time = threading.RLock()


class _ComputeIn(keras.DTypePolicy):
    """Weights as they are, computations in another precision."""

    def __init__(self, compute_dtype: str, variable_dtype: str) -> None:
        super().__init__(variable_dtype)
        self._compute_in = compute_dtype

    @property
    def compute_dtype(self) -> str:
        return self._compute_in


@contextmanager
def as_called(model: keras.Model, precision: str = "float32") -> Iterator[keras.StatelessScope]:
    """Within it `model` computes what its user has it compute, in `precision`; afterwards the model is as it was.

    - Layers compute in `precision`, unless that is "policy": gradients in bfloat16 miss their own batch sum by up to
      10 %. Layers of higher precision keep it.
    - What layers assign to their variables (statistics, random state, losses) is dropped, so that each call draws the
      same random numbers. The scope that is returned tells what was assigned.

    Raises:
        UnsupportedModel: A layer is quantised, so its weights have no gradient; or a recurrent layer is stateful.
    """
    changed: list[tuple[Any, Any]] = []
    try:
        for layer in all_layers(model):
            if layer.quantization_mode is not None:
                raise UnsupportedModel(
                    f"The layer {layer.path} is quantised, so its weights have no gradient.",
                    received=layer.dtype_policy.name,
                    remedy="Measure the model before it is quantised.",
                )
            if isinstance(layer, keras.layers.RNN) and layer.stateful:
                raise UnsupportedModel(
                    f"The layer {layer.path} is stateful: an example's loss depends on the batches before, and on its "
                    "place in the batch.",
                    remedy="Measure a copy of the model whose recurrent layers have stateful=False.",
                )
            if precision != "policy" and tf.as_dtype(layer.compute_dtype).size < tf.as_dtype(precision).size:
                changed.append((layer, layer.dtype_policy))
                layer.dtype_policy = _ComputeIn(precision, layer.variable_dtype)
        with keras.StatelessScope() as scope:
            yield scope
    finally:
        for layer, policy in reversed(changed):
            layer.dtype_policy = policy


@contextmanager
def traceable(model: keras.Model, precision: str = "float32") -> Iterator[keras.StatelessScope]:
    """As `as_called`, and what is traced of `model` shows every use of its weights.

    - Loops over time are laid out so that weights meet examples in plain operations (`loops`).
    - Compiled functions (`tf.function`, and Keras' own around grouped convolutions) run their Python code instead.

    Raises:
        UnsupportedModel: Convolutions in groups, on a processor for which TensorFlow has them in compiled code alone.
    """
    changed: list[tuple[Any, str, Any]] = []
    one_at_a_time.acquire()
    were_eager = tf.config.functions_run_eagerly()
    try:
        for layer in all_layers(model):
            if uses_cudnn(layer):  # which puts out zeros under a mask, but the last state as the last output
                changed += [(layer, name, getattr(layer, name)) for name in ("use_cudnn", "zero_output_for_mask")]
                layer.use_cudnn, layer.zero_output_for_mask = False, layer.return_sequences
        tf.config.run_functions_eagerly(True)
        with as_called(model, precision) as scope, loops_by_rows():
            yield scope
        if tf.inside_function():
            _check_groups(tf.compat.v1.get_default_graph().get_operations())
    finally:
        tf.config.run_functions_eagerly(were_eager)
        for layer, name, value in reversed(changed):
            setattr(layer, name, value)
        one_at_a_time.release()


@contextmanager
def compiled() -> Iterator[None]:
    """Within it (or a function decorated with it) traced functions run as graphs, also for one who debugs eagerly.

    The graphs are those that were traced, see `graphs_as_traced`.
    """
    with one_at_a_time, graphs_as_traced():
        were_eager = tf.config.functions_run_eagerly()
        try:
            tf.config.run_functions_eagerly(False)
            yield
        finally:
            tf.config.run_functions_eagerly(were_eager)


def _check_groups(operations: Iterable[tf.Operation]) -> None:
    if any(_has_groups(operation) for operation in operations) and not computes_groups():
        raise UnsupportedModel(
            "The model has convolutions in groups, and TensorFlow computes their gradients in compiled code alone: on "
            "this processor oneDNN is off.",
            remedy="Set the environment variable TF_ENABLE_ONEDNN_OPTS=1 before TensorFlow is imported.",
        )


def _has_groups(operation: tf.Operation) -> bool:
    if operation.type != "Conv2D":
        return False
    x, kernel = operation.inputs
    return x.shape[-1] != kernel.shape[-2] and operation.get_attr("data_format") == b"NHWC"


@cache
def computes_groups() -> bool:
    """Whether TensorFlow computes a convolution in groups, its bias and its gradients, uncompiled."""

    def compute(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        return tf.gradients(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias), [x, kernel])

    with tf.init_scope(), compiled():
        try:
            quietly_traced(compute)(tf.ones((1, 3, 3, 4)), tf.ones((3, 3, 2, 2)), tf.ones(2))
        except tf.errors.OpError:
            return False
    return True


def coarsest_dtype(model: keras.Model) -> tf.DType:
    """The lowest precision that a layer of `model` computes in."""
    return min((tf.as_dtype(layer.compute_dtype) for layer in all_layers(model)), key=lambda dtype: dtype.size)
