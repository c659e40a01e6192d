"""One loss per example, from the loss that the model was compiled with or another."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import loss_of_function, loss_weights, mask_of
from tfstiff.errors import UnsupportedModel

_WANTED = "a loss that returns one value per example (or per example and position), as keras.losses.Loss.call does"


class ExampleLoss:
    """One loss per example, of a model with any number of outputs.

    Args:
        loss: What `compile(loss=…)` takes: a Keras loss, its name, a function of `y_true, y_pred`, or several of them
            in a list (by output) or dict (by output name).
        weights: What `compile(loss_weights=…)` takes.
        output_names: Names of the model's outputs, where it has any.

    Attributes:
        from_logits: Whether the (first) loss takes logits.

    Raises:
        UnsupportedModel: A loss is not known to Keras.
    """

    def __init__(self, loss: Any, weights: Any = None, output_names: Sequence[str] = ()) -> None:
        self._losses = keras.tree.map_structure(_keras_loss, loss)
        self._weights = weights
        self._names = tuple(output_names)
        first = next((found for found in keras.tree.flatten(self._losses) if found is not None), None)
        self.from_logits = bool(getattr(first, "from_logits", False))

    def __call__(self, y: Any, prediction: Any) -> tf.Tensor:
        """The sum of the weighted losses of all outputs, (n,).

        Args:
            y: Targets, structured as `fit` takes them; first axis the examples.
            prediction: The model's output or outputs.

        Raises:
            UnsupportedModel: Losses, targets and outputs do not match, or a loss returns one value for a whole batch.
        """
        total = None
        for loss, weight, target, output in self._matched(y, prediction):
            if loss is None:
                continue
            if target is None:
                raise UnsupportedModel("There are no targets for an output that has a loss.")
            values = _one_loss(loss, target, output)
            if weight is not None:
                values *= tf.cast(weight, values.dtype)
            total = values if total is None else total + tf.cast(values, total.dtype)
        if total is None:
            raise UnsupportedModel(
                "No output of the model has a loss.", remedy="Compile it with a loss, or pass loss=."
            )
        return total

    def _matched(self, y: Any, prediction: Any) -> list[tuple[Any, Any, Any, Any]]:
        """(loss, weight, target, output) of every output that a loss is of."""
        if not keras.tree.is_nested(prediction):
            losses, weights = keras.tree.flatten(self._losses), keras.tree.flatten(self._weights)
            (target,) = keras.tree.flatten(y)
            return [
                (loss, weights[index] if index < len(weights) else None, target, prediction)
                for index, loss in enumerate(losses)
            ]
        by_key = isinstance(prediction, dict)
        keys = list(prediction) if by_key else list(range(len(prediction)))
        names = self._names if len(self._names) == len(keys) and not by_key else tuple(map(str, keys))
        try:
            for structure in (self._losses, self._weights):
                _refuse_others(structure, keys, names)
            return [
                (
                    _part(self._losses, key, name),
                    _part(self._weights, key, name),
                    _part(y, key, name),
                    prediction[key],
                )
                for key, name in zip(keys, names, strict=True)
                if not keras.tree.is_nested(prediction[key])
            ]
        except (KeyError, IndexError, TypeError) as error:
            raise UnsupportedModel(
                f"Losses, targets and outputs do not match: {error}.", expected=f"one for each of: {', '.join(names)}"
            ) from error


def _refuse_others(structure: Any, keys: Sequence[Any], names: Sequence[str]) -> None:
    """Sees that losses or weights are given for no output that there is not."""
    if isinstance(structure, dict):
        others = [key for key in structure if key not in keys and key not in names]
    else:
        others = list(range(len(keys), len(structure))) if isinstance(structure, list | tuple) else []
    if others:
        raise KeyError(*others)


def _part(structure: Any, key: Any, name: str) -> Any:
    """What `structure` holds for one output: by key, by name or by position; a single loss or weight is for all."""
    if isinstance(structure, dict):
        return structure[key] if key in structure else structure.get(name)
    return structure[key] if isinstance(structure, list | tuple) else structure


def resolve_loss(model: keras.Model, loss: Any = None) -> ExampleLoss:
    """Returns the loss to measure `model` with.

    Args:
        model: A Keras model.
        loss: What `compile(loss=…)` takes; None means the loss that the model was compiled with, with its weights.

    Raises:
        UnsupportedModel: There is no loss, or Keras does not know it.
    """
    names = getattr(model, "output_names", None) or ()
    if loss is not None:
        return ExampleLoss(loss, None, names)
    if getattr(model, "loss", None) is None:
        raise UnsupportedModel(
            "The model has no loss to take gradients of.", remedy="Compile it with a loss, or pass loss=."
        )
    return ExampleLoss(model.loss, loss_weights(model), names)


def _keras_loss(identifier: Any) -> keras.losses.Loss | None:
    """A Keras loss; a function of `y_true, y_pred` is wrapped, as `compile` does it."""
    if identifier is None:
        return None
    try:
        found = keras.losses.get(identifier)
    except ValueError as error:
        raise UnsupportedModel("The loss is not known to Keras.", expected=_WANTED, received=identifier) from error
    return found if isinstance(found, keras.losses.Loss) else loss_of_function(found)


def _one_loss(loss: keras.losses.Loss, y: Any, prediction: tf.Tensor) -> tf.Tensor:
    """One loss per example, (n,), of one output.

    Targets and predictions are cast as `keras.losses.Loss.__call__` does, but never from double to single precision. A
    loss with more axes (per token, per pixel) is averaged over them; where Keras carries a mask on the prediction or on
    the loss, over what is not masked. The loss's reduction is not applied.
    """
    masks = [mask_of(prediction)]
    dtype = max(prediction.dtype, tf.as_dtype(loss.dtype), key=lambda dtype: dtype.size)
    y, prediction = tf.nest.map_structure(lambda tensor: tf.cast(tensor, dtype), (y, prediction))
    values = tf.convert_to_tensor(loss.call(y, prediction))
    masks.append(mask_of(values))
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


def num_parameters(weights: list[keras.Variable]) -> int:
    """The number of entries of a per-example gradient."""
    return sum(math.prod(weight.shape) for weight in weights)
