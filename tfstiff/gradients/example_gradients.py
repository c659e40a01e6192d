"""The gradients themselves, a row an example: at once or in chunks, side by side or by variable."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.chosen_weights import chosen_weights
from tfstiff.gradients.gram import chunks_of, proved_plan
from tfstiff.gradients.in_graph import gradients_in_graph
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions


@tf.autograph.experimental.do_not_convert
@takes(GradientOptions)
def per_example_gradients(
    model: keras.Model, x: Any, y: Any, *, loss: Any = None, objective: ObjectiveFunction | None = None, **options: Any
) -> np.ndarray | tf.Tensor:
    """Computes the gradient of each example's loss with respect to the trainable weights, flattened side by side.

    `gradients_by_variable` takes it apart, `gradient_chunks` computes it for some examples at a time.

    Within a `tf.function`, such as a training step of your own, it returns a tensor: of the weights as they are when
    the function runs, and of all its examples at once. What is traced is proved on the examples of an earlier call from
    outside with examples of the same shapes and dtypes, or, where there was none, on examples that are made up.

    Args:
        model: A Keras model with P trainable parameters, in all or in those weights that `weights` chooses.
        x: Inputs as the model takes them; first axis the n examples.
        y: Targets as the loss takes them, (n, ...).
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, as for `gradient_gram`.
        **options: Those of `GradientOptions`.

    Returns:
        (n, P) array, or tensor within a `tf.function`, in the order of `model.trainable_weights`; n·P numbers must fit
            in memory.

    Raises:
        InvalidInput: An option is unknown, both a loss and an objective are given, the numbers of inputs and targets
            differ, or no trainable weight is chosen; within a `tf.function` also where the shape of an example is not
            known.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact; within a
            `tf.function` also where examples that are made up prove nothing, weights take a way that needs values, or
            it is a step of one of several replicas.
    """
    if not tf.executing_eagerly():
        return gradients_in_graph(model, x, y, GradientOptions(**options), loss, objective)
    chunks = list(gradient_chunks(model, x, y, loss=loss, objective=objective, **options))
    return np.concatenate(chunks) if len(chunks) > 1 else chunks[0]


@takes(GradientOptions)
def gradient_chunks(
    model: keras.Model,
    x: Any,
    y: Any,
    size: int | None = None,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    **options: Any,
) -> Iterator[np.ndarray]:
    """Computes the gradients of `per_example_gradients` a chunk of examples at a time, so that n·P need not fit.

    Everything is checked when the first chunk is asked for. The weights must stay as they are until the last.

    Args:
        model: As for `per_example_gradients`.
        x: Inputs; first axis the n examples.
        y: Targets, (n, ...).
        size: Examples in a chunk at most, 1 or more; None for as many as are computed at once.
        loss: As for `per_example_gradients`.
        objective: In place of a loss.
        **options: Those of `GradientOptions`.

    Yields:
        (k, P) arrays, in order; k adds up to n, and differs by 1 at most.

    Raises:
        InvalidInput: As `per_example_gradients`, or the size is below 1.
        UnsupportedModel: As `per_example_gradients`.

    Example:
    ```python
    total = sum(chunk.sum(axis=0) for chunk in tfstiff.gradients.gradient_chunks(model, x, y, 64))
    ```
    """
    if size is not None and size < 1:
        raise InvalidInput("A chunk holds one example at least.", expected="1 or more, or None", received=size)
    plan, x, y = proved_plan(model, x, y, GradientOptions(**options), loss, objective)
    for chunk in chunks_of(plan, x, y, size):
        yield plan.gradients(*chunk).numpy()


@tf.autograph.experimental.do_not_convert
def gradients_by_variable(
    model: keras.Model, gradients: np.ndarray | tf.Tensor, *, weights: Any = GradientOptions.weights
) -> list[np.ndarray] | list[tf.Tensor]:
    """Takes gradients of `per_example_gradients` or `gradient_chunks` apart.

    Args:
        model: The model.
        gradients: (k, P), as those functions give them: an array or a tensor.
        weights: The choice that they were given.

    Returns:
        Of each weight (k, *shape of the weight), in the order of `model.trainable_weights`; of an array views, of a
            tensor tensors.

    Raises:
        InvalidInput: P is not the number of parameters of these weights, or none is chosen.

    Example:
    ```python
    G = tfstiff.per_example_gradients(model, x, y)
    kernel, bias = tfstiff.gradients.gradients_by_variable(model, G)  # of one Dense layer: (n, i, o) and (n, o)
    ```
    """
    chosen = chosen_weights(model, weights)
    sizes = [math.prod(weight.shape) for weight in chosen]
    if len(gradients.shape) != 2 or gradients.shape[1] != sum(sizes):
        raise InvalidInput(
            "These are no gradients of this model, or of other weights of it.",
            expected=f"an array (examples, {sum(sizes)})",
            received=tuple(gradients.shape),
            remedy="Give the same weights= as to per_example_gradients.",
        )
    if tf.is_tensor(gradients):
        parts = tf.split(gradients, sizes, axis=1)
        return [tf.reshape(part, [-1, *weight.shape]) for weight, part in zip(chosen, parts, strict=True)]
    parts = np.split(gradients, np.cumsum(sizes)[:-1], axis=1)
    return [part.reshape(len(gradients), *weight.shape) for weight, part in zip(chosen, parts, strict=True)]
