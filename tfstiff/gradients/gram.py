"""The public functions: per-example gradients and the Gram matrix of their products."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.features import Features, gram_of
from tfstiff.gradients.plan import GradientPlan, default_chunk_size, plan_for


class Products(NamedTuple):
    """Products of per-example gradients, and what the same pass gives besides.

    Attributes:
        gram: (n, n): the product of every two gradients.
        losses: (n,) per-example losses.
        predictions: (n, ...) the model's output.
    """

    gram: np.ndarray
    losses: np.ndarray
    predictions: np.ndarray


def gradient_gram(
    model: keras.Model,
    x: Any,
    y: Any,
    x2: Any = None,
    y2: Any = None,
    *,
    loss: Any = None,
    method: str = "auto",
) -> np.ndarray:
    """Computes the Gram matrix of per-example loss gradients, `K[i, j] = g_i · g_j`.

    The gradients are those of each example's own loss with respect to all trainable weights, in inference mode, without
    sample weights and without regularisation losses.

    Args:
        model: A Keras model.
        x: Inputs as the model takes them (an array, or arrays in a list or dict); first axis the n examples.
        y: Targets, (n, ...).
        x2: Inputs of m other examples for the columns; None means `x` again.
        y2: Their targets.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        method: `"auto"` (structured, with a generic path for weights that it has no rule for), `"structured"` (refuses
            those), `"vectorized"` (`tf.vectorized_map` of a one-example tape), `"jacobian"` (`GradientTape.jacobian` of
            the vector of losses, in chunks) or `"loop"` (one tape per example). All agree to rounding.

    Returns:
        (n, n), or (n, m), array of the dtype of the losses (float32 unless the model computes in another).

    Raises:
        InvalidInput: The method is unknown, or the numbers of inputs and targets differ.
        UnsupportedModel: No loss, no trainable weights, several outputs, or examples that interact.
    """
    if (x2 is None) != (y2 is None):
        raise InvalidInput("Other examples need both x2 and y2.", received="x2 alone" if y2 is None else "y2 alone")
    plan, x, y = _proved_plan(model, x, y, loss, method)
    if x2 is None:
        return gram_of(plan.products, _feature_chunks(plan, x, y))
    plan2, x2, y2 = _proved_plan(model, x2, y2, loss, method)  # before any features: a failed proof lays them out anew
    if plan2 is not plan:
        raise InvalidInput("x2 and y2 must be like x and y: the same structure, dtypes and shapes of one example.")
    return gram_of(plan.products, _feature_chunks(plan, x, y), _feature_chunks(plan, x2, y2))


def per_example_gradients(model: keras.Model, x: Any, y: Any, *, loss: Any = None, method: str = "auto") -> np.ndarray:
    """Computes the gradient of each example's loss with respect to all trainable weights, flattened side by side.

    Args:
        model: A Keras model with P trainable parameters.
        x: Inputs as the model takes them; first axis the n examples.
        y: Targets, (n, ...).
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        method: As for `gradient_gram`.

    Returns:
        (n, P) array, in the order of `model.trainable_weights`; n·P numbers must fit in memory.

    Raises:
        InvalidInput: The method is unknown, or the numbers of inputs and targets differ.
        UnsupportedModel: No loss, no trainable weights, several outputs, or examples that interact.
    """
    plan, x, y = _proved_plan(model, x, y, loss, method)
    return np.concatenate([plan.gradients(*chunk).numpy() for chunk in _chunks(plan, x, y)])


def gradient_products(model: keras.Model, x: Any, y: Any, *, loss: Any = None, method: str = "auto") -> Products:
    """As `gradient_gram`, with the losses and predictions of the same pass."""
    plan, x, y = _proved_plan(model, x, y, loss, method)
    chunks = _feature_chunks(plan, x, y)
    return Products(
        gram_of(plan.products, chunks),
        np.concatenate([chunk.losses.numpy() for chunk in chunks]),
        np.concatenate([chunk.predictions.numpy() for chunk in chunks]),
    )


def _proved_plan(model: keras.Model, x: Any, y: Any, loss: Any, method: str) -> tuple[GradientPlan, Any, Any]:
    x, y = tf.nest.map_structure(np.asarray, (x, y))
    plan = plan_for(model, x, y, loss=loss, method=method)
    plan.prove(x, y)
    return plan, x, y


def _feature_chunks(plan: GradientPlan, x: Any, y: Any) -> list[Features]:
    return [plan.features(*chunk) for chunk in _chunks(plan, x, y)]


def _chunks(plan: GradientPlan, x: Any, y: Any) -> list[Any]:
    """The examples in chunks of nearly equal size. The traced functions take any number of examples."""
    count, size = len(tf.nest.flatten(x)[0]), default_chunk_size(plan.method)
    bounds = np.linspace(0, count, -(-count // size) + 1).astype(int)
    return [
        tf.nest.map_structure(lambda array, start=start, stop=stop: tf.constant(array[start:stop]), (x, y))
        for start, stop in pairwise(bounds)
    ]
