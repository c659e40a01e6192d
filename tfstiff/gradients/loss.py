"""One loss per example, from the loss that the model was compiled with or another."""

from __future__ import annotations

import inspect
import math
from typing import Any

import keras
import tensorflow as tf
from keras.src.losses import LossFunctionWrapper

from tfstiff.errors import UnsupportedModel

_WANTED = "a loss that returns one value per example (or per example and position), as keras.losses.Loss.call does"


def resolve_loss(model: keras.Model, loss: Any = None) -> keras.losses.Loss:
    """Returns the Keras loss to measure `model` with. A function of `y_true, y_pred` is wrapped, as `compile` does it.

    Args:
        model: A Keras model.
        loss: What `compile(loss=…)` takes; None means the loss that the model was compiled with.

    Raises:
        UnsupportedModel: There is no loss, or there are several.
    """
    identifier = loss if loss is not None else getattr(model, "loss", None)
    if isinstance(identifier, dict):
        identifier = list(identifier.values())
    if isinstance(identifier, list | tuple):
        if len(identifier) != 1:
            raise UnsupportedModel(
                "The model has several losses, which cannot be measured yet.",
                expected="a model with one output and one loss",
                received=identifier,
            )
        identifier = identifier[0]
    if identifier is None:
        raise UnsupportedModel(
            "The model has no loss to take gradients of.", remedy="Compile it with a loss, or pass loss=."
        )
    try:
        found = keras.losses.get(identifier)
    except ValueError as error:
        raise UnsupportedModel("The loss is not known to Keras.", expected=_WANTED, received=identifier) from error
    return found if isinstance(found, keras.losses.Loss) else LossFunctionWrapper(found)


def per_example_losses(loss: keras.losses.Loss, y: Any, prediction: Any) -> tf.Tensor:
    """Returns one loss per example.

    Targets and predictions are cast as `keras.losses.Loss.__call__` does, but never from double to single precision. A
    loss with more axes (per token, per pixel) is averaged over them; where Keras carries a mask on the prediction or on
    the loss, over what is not masked.

    Args:
        loss: As `resolve_loss` returns it. Its reduction is not applied.
        y: Targets, first axis the examples.
        prediction: The model's output, first axis the examples.

    Returns:
        (n,) tensor.

    Raises:
        UnsupportedModel: The model has several outputs, or the loss returns one value for the whole batch.
    """
    if not tf.is_tensor(prediction):
        raise UnsupportedModel(
            "The model returns several outputs, which cannot be measured yet.",
            expected="one output tensor",
            received=type(prediction).__name__,
        )
    masks = [getattr(prediction, "_keras_mask", None)]
    dtype = max(prediction.dtype, tf.as_dtype(loss.dtype), key=lambda dtype: dtype.size)
    y, prediction = tf.nest.map_structure(lambda tensor: tf.cast(tensor, dtype), (y, prediction))
    values = tf.convert_to_tensor(loss.call(y, prediction))
    masks.append(getattr(values, "_keras_mask", None))
    if values.shape.rank == 0:
        raise UnsupportedModel(
            "The loss returns one value for the whole batch, so examples have no gradient of their own.",
            expected=_WANTED,
            received=loss,
            remedy="Leave the averaging over examples to Keras.",
        )
    if values.shape.rank == 1:
        return values
    positions = list(range(1, values.shape.rank))
    kept = tf.ones_like(values)
    for mask in masks:
        if mask is not None and mask.shape.rank == values.shape.rank:
            kept *= tf.cast(mask, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * kept, positions), tf.reduce_sum(kept, positions))


def predict(model: keras.Model, x: Any) -> Any:
    """Calls `model` on `x` in inference mode."""
    has_training = "training" in inspect.signature(model.call).parameters
    return model(x, training=False) if has_training else model(x)


def check_model(model: Any, x: Any) -> None:
    """Builds `model` on one example of `x` where it is not built, and sees that it can be measured.

    Raises:
        UnsupportedModel: It is not a Keras 3 model on TensorFlow, or has no trainable weights.
    """
    if not isinstance(model, keras.Model):
        raise UnsupportedModel(
            "Only Keras 3 models can be measured.", expected="an instance of keras.Model", received=type(model)
        )
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedModel(
            "Keras runs on another backend.",
            expected="tensorflow",
            received=keras.backend.backend(),
            remedy="Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported.",
        )
    if not model.built:
        predict(model, tf.nest.map_structure(lambda array: tf.convert_to_tensor(array[:1]), x))
    if not model.trainable_weights:
        raise UnsupportedModel(
            "The model has no trainable weights, so its loss has no gradient.", remedy="Unfreeze at least one layer."
        )


def num_parameters(weights: list[keras.Variable]) -> int:
    """The number of entries of a per-example gradient."""
    return sum(math.prod(weight.shape) for weight in weights)
