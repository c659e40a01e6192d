"""One loss per example, from the loss that the model was compiled with or another."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import loss_of_function, loss_weights, mask_of
from tfstiff.errors import UnsupportedModel, meant
from tfstiff.gradients.loss_kind import LossKind, loss_kind

_WANTED = "a loss that returns one value per example (or per example and position), as keras.losses.Loss.call does"

_OF_NUMBERS = "sparse_categorical_crossentropy"  # the loss of labels that are whole numbers, and those of one-hot rows
_OF_ROWS = ("categorical_crossentropy", "categorical_focal_crossentropy")


class ExampleLoss:
    """One loss per example, of a model with any number of outputs.

    Args:
        loss: What `compile(loss=…)` takes: a Keras loss, its name, a function of `y_true, y_pred`, or several of them
            in a list (by output) or dict (by output name).
        weights: What `compile(loss_weights=…)` takes.
        output_names: Names of the model's outputs, where it has any.

    Attributes:
        kind: What the (first) loss says of targets and predictions.

    Raises:
        UnsupportedModel: A loss is not known to Keras.
    """

    def __init__(self, loss: Any, weights: Any = None, output_names: Sequence[str] = ()) -> None:
        self._losses = keras.tree.map_structure(_keras_loss, loss)
        self._weights = weights
        self._names = tuple(output_names)
        first = next((found for found in keras.tree.flatten(self._losses) if found is not None), None)
        self.kind = loss_kind(first)

    def __call__(self, y: Any, prediction: Any) -> tf.Tensor:
        """The sum of the weighted losses of all outputs, (n,).

        Args:
            y: Targets, structured as `fit` takes them; first axis the examples.
            prediction: The model's output or outputs.

        Raises:
            UnsupportedModel: Losses, targets and outputs do not match, or a loss returns one value for a whole batch.
        """
        total = None
        for _, loss, weight, target, output in self._matched(y, prediction):
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

    def by_output(self, y: Any, prediction: Any) -> dict[str, tuple[LossKind, Any, Any]]:
        """What its loss says, its targets and its predictions, of every output that has a loss and targets.

        Outputs of one layer have one name to Keras; here the second is `name_1`.
        """
        found: dict[str, tuple[LossKind, Any, Any]] = {}
        for name, loss, _, target, output in self._matched(y, prediction):
            if loss is not None and target is not None:
                others = (f"{name}_{number}" for number in itertools.count(1))
                key = next(one for one in itertools.chain([name], others) if one not in found)
                found[key] = loss_kind(loss), target, output
        return found

    def _matched(self, y: Any, prediction: Any) -> list[tuple[str, Any, Any, Any, Any]]:
        """(name, loss, weight, target, output) of every output that a loss is of."""
        if not keras.tree.is_nested(prediction):
            losses, weights = keras.tree.flatten(self._losses), keras.tree.flatten(self._weights)
            (target,) = keras.tree.flatten(y)
            return [
                (str(index), loss, weights[index] if index < len(weights) else None, target, prediction)
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
                    name,
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

    def check_separable(self, y: Any, prediction: Any) -> None:
        """Checks that losses which return one value a batch are means or sums of those of its examples.

        Args:
            y: Targets of a few examples.
            prediction: The model's output for them.

        Raises:
            UnsupportedModel: One is neither, so that an example has no loss of its own.
        """
        for _, loss, _, target, output in self._matched(y, prediction):
            if loss is None or target is None:
                continue
            target, output = _as_floats(loss, target, output)
            try:
                whole = tf.convert_to_tensor(loss.call(target, output))
            except (ValueError, TypeError, tf.errors.OpError):  # told where it is traced
                continue
            if whole.shape.rank != 0:
                continue
            alone = _one_by_one(loss, target, output).numpy()
            if not any(np.isclose(whole, found, rtol=1e-3, atol=1e-6) for found in (alone.mean(), alone.sum())):
                raise UnsupportedModel(
                    "The loss returns one value for the whole batch, neither the mean nor the sum of the losses of its "
                    "examples, so examples have no gradient of their own.",
                    expected=_WANTED,
                    received=f"{float(whole):.4g} for {len(alone)} examples of mean {alone.mean():.4g}, from {loss}",
                    remedy="Reduce over the axes of one example alone, such as keras.losses.Dice(axis=(1, 2, 3)), or "
                    "measure an objective=.",
                )


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
            "The model has no loss to take gradients of.",
            remedy="Compile it with a loss, or pass loss=, or objective=, a function (model, x, y) -> (n,) losses.",
        )
    return ExampleLoss(model.loss, loss_weights(model), names)


def _keras_loss(identifier: Any) -> keras.losses.Loss | None:
    """A Keras loss; a function of `y_true, y_pred` is wrapped, as `compile` does it."""
    if identifier is None:
        return None
    try:
        found = keras.losses.get(identifier)
    except ValueError as error:
        close = meant(identifier, dir(keras.losses))
        remedy = f"Did you mean {close}?" if close else None
        raise UnsupportedModel(
            "The loss is not known to Keras.", expected=_WANTED, received=identifier, remedy=remedy
        ) from error
    return found if isinstance(found, keras.losses.Loss) else loss_of_function(found)


def _one_loss(loss: keras.losses.Loss, y: Any, prediction: tf.Tensor) -> tf.Tensor:
    """One loss per example, (n,), of one output.

    Targets and predictions are cast as `keras.losses.Loss.__call__` does, but never from double to single precision. A
    loss with more axes (per token, per pixel) is averaged over them; where Keras carries a mask on the prediction or on
    the loss, or where a target is missing (NaN), over what is there. The loss's reduction is not applied.
    """
    masks = [mask_of(prediction)]
    _check_form_of_labels(loss, y, prediction)
    y, prediction = _as_floats(loss, y, prediction)
    values = tf.convert_to_tensor(loss.call(y, prediction))
    masks.append(mask_of(values))
    if values.shape.rank == 0:
        return _one_by_one(loss, y, prediction)
    _check_shape(loss, values, y, prediction)
    if values.shape.rank == 1:
        return values
    positions = list(range(1, values.shape.rank))
    kept = tf.ones_like(values)
    masks += [~tf.math.is_nan(target) for target in tf.nest.flatten(y) if target.shape.rank == values.shape.rank]
    for mask in masks:
        if mask is not None and mask.shape.rank == values.shape.rank:
            kept *= tf.cast(mask, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * kept, positions), tf.reduce_sum(kept, positions))


def _as_floats(loss: keras.losses.Loss, y: Any, prediction: tf.Tensor) -> tuple[Any, tf.Tensor]:
    dtype = max(prediction.dtype, tf.as_dtype(loss.dtype), key=lambda dtype: dtype.size)
    return tf.nest.map_structure(lambda tensor: tf.cast(tensor, dtype), (y, prediction))


def _one_by_one(loss: keras.losses.Loss, y: Any, prediction: tf.Tensor) -> tf.Tensor:
    """(n,) the loss of each example as a batch of one, of a loss of one value a batch; see `check_separable`."""

    def one(example: tuple[Any, tf.Tensor]) -> tf.Tensor:
        return loss.call(*tf.nest.map_structure(lambda tensor: tensor[None], example))

    return tf.vectorized_map(one, (y, prediction))


def _check_form_of_labels(loss: keras.losses.Loss, y: Any, prediction: tf.Tensor) -> None:
    """Checks that labels are whole numbers, or one-hot rows, whichever a cross-entropy takes: Keras speaks of ranks."""
    name = getattr(getattr(loss, "fn", None), "__name__", "")
    takes_numbers = name == _OF_NUMBERS
    if not (takes_numbers or name in _OF_ROWS) or not isinstance(y, tf.Tensor):
        return
    shape, outputs = y.shape, prediction.shape
    if shape.rank is None or outputs.rank is None or outputs[-1] == 1:
        return
    are_rows = shape.rank == outputs.rank and shape[-1] is not None and shape[-1] == outputs[-1]
    are_numbers = shape.rank == outputs.rank - 1 or (shape.rank == outputs.rank and shape[-1] == 1)
    if are_rows if takes_numbers else are_numbers:
        given, wanted = ("one-hot rows", "whole numbers") if takes_numbers else ("whole numbers", "one-hot rows")
        raise UnsupportedModel(
            f"The loss {name} takes labels of another form.",
            expected=wanted,
            received=f"{given}: targets {_shapes(y)} for predictions {tuple(outputs)}",
            remedy=f"Give the labels as {wanted}, or compile with {_OF_ROWS[0] if takes_numbers else _OF_NUMBERS}.",
        )


def _check_shape(loss: keras.losses.Loss, values: tf.Tensor, y: Any, prediction: tf.Tensor) -> None:
    """Checks that the first axis of the values is the examples, and that no other is."""
    shapes = f"targets {_shapes(y)} and predictions {tuple(prediction.shape)}"
    received = f"shape {tuple(values.shape)} from {shapes}, {loss}"
    if prediction.shape[0] is None and values.shape[0] is not None:
        raise UnsupportedModel(
            "The loss does not return a value for each example.",
            expected=_WANTED,
            received=received,
            remedy="Reduce over the last axis (axis=-1), not over the examples (axis=0).",
        )
    known = all(tensor.shape[1:].is_fully_defined() for tensor in (prediction, *tf.nest.flatten(y)))
    if known and not values.shape[1:].is_fully_defined():
        raise UnsupportedModel(
            "The loss compares the target of each example with the predictions of all.",
            expected=_WANTED,
            received=received,
            remedy="Give the targets the shape of the predictions: y.reshape(-1, 1) for (n, 1).",
        )


def _shapes(structure: Any) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in tf.nest.flatten(structure))


def predict(model: keras.Model, x: Any) -> Any:
    """Calls `model` on `x` in inference mode."""
    has_training = "training" in inspect.signature(model.call).parameters
    return model(x, training=False) if has_training else model(x)


def num_parameters(weights: list[keras.Variable]) -> int:
    """The number of entries of a per-example gradient."""
    return sum(math.prod(weight.shape) for weight in weights)
