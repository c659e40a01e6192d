"""What is measured of a model: one loss per example, by a loss that Keras knows or by a function of the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients.loss import ExampleLoss, predict, resolve_loss
from tfstiff.gradients.model_checks import refuse_forked

_WANTED = "a function (model, x, y) -> (n,) losses of the n examples, or (losses, predictions)"

_TRIED = 4  # examples on which a loss of whole batches is tried

ObjectiveFunction = Callable[[Any, Any, Any], Any]


class Objective(ABC):
    """One loss per example.

    Attributes:
        loss: The loss of targets and predictions that it is; None where it is a function of the model.
    """

    loss: ExampleLoss | None = None

    @abstractmethod
    def __call__(self, model: keras.Model, x: Any, y: Any) -> tuple[tf.Tensor, Any]:
        """The losses (n,) of the n examples, and what the model predicts for them; () where that is not known."""


class OfPredictions(Objective):
    """The loss of the model's predictions in inference mode."""

    def __init__(self, loss: ExampleLoss) -> None:
        self.loss = loss
        self._loss_of = loss

    def __call__(self, model: keras.Model, x: Any, y: Any) -> tuple[tf.Tensor, Any]:
        """See `Objective`."""
        prediction = predict(model, x)
        return self._loss_of(y, prediction), prediction


class OfModel(Objective):
    """A function of the model and the examples.

    Args:
        function: `(model, x, y) -> losses (n,)`, or `(losses, predictions)`. It is traced as a graph.
    """

    def __init__(self, function: ObjectiveFunction) -> None:
        self._function = function

    def __call__(self, model: keras.Model, x: Any, y: Any) -> tuple[tf.Tensor, Any]:
        """See `Objective`.

        Raises:
            UnsupportedModel: The function does not return one loss per example.
        """
        found = self._function(model, x, y)
        losses, predictions = found if isinstance(found, tuple) and len(found) == 2 else (found, ())
        losses = tf.convert_to_tensor(losses)
        count = tf.nest.flatten(x)[0].shape[0]
        if losses.shape.rank != 1 or losses.shape[0] not in (None, count):
            raise UnsupportedModel(
                "The objective does not return one loss per example.",
                expected=_WANTED,
                received=f"shape {tuple(losses.shape)}, of {count or 'n'} examples",
                remedy="Reduce over every axis but the first, and leave the mean over examples away.",
            )
        return losses, predictions


def resolve_objective(model: keras.Model, loss: Any = None, objective: ObjectiveFunction | None = None) -> Objective:
    """Returns what to measure `model` with.

    Args:
        model: A Keras model.
        loss: What `compile(loss=…)` takes; None means the loss that the model was compiled with, with its weights.
        objective: A function `(model, x, y) -> (n,)` in place of a loss of predictions.

    Raises:
        InvalidInput: Both are given, or the objective cannot be called.
        UnsupportedModel: There is no loss, or Keras does not know it.
    """
    check_kind(model)
    if objective is None:
        return OfPredictions(resolve_loss(model, loss))
    if loss is not None:
        raise InvalidInput("Both a loss and an objective are given.", expected="one of them")
    if not callable(objective):
        raise InvalidInput("The objective cannot be called.", expected=_WANTED, received=type(objective))
    return OfModel(objective)


def check_kind(model: Any) -> None:
    """Checks that `model` is a Keras 3 model.

    Raises:
        UnsupportedModel: It is not.
    """
    if isinstance(model, keras.Model):
        return
    is_older = any(kind.__module__.startswith("tf_keras.") for kind in type(model).__mro__)
    raise UnsupportedModel(
        "Only Keras 3 models can be measured" + (", and this is one of Keras 2 (tf_keras)." if is_older else "."),
        expected="an instance of keras.Model",
        received=type(model),
        remedy="Build it with `import keras`, without TF_USE_LEGACY_KERAS." if is_older else None,
    )


def check_model(model: Any, x: Any, y: Any = None, objective: Objective | None = None) -> None:
    """Builds `model` on one example where it is not built, and checks that it can be measured.

    Args:
        model: A Keras model.
        x: Inputs, as it takes them.
        y: Targets; needed where there is an objective.
        objective: Builds the model by its own calls, where it is a function of the model; None means that the model is
            called.

    Raises:
        InvalidInput: It takes examples of another shape.
        UnsupportedModel: It is not a Keras 3 model on TensorFlow, or has no trainable weights.
        TfstiffError: The process was forked from one in which TensorFlow ran.
    """
    refuse_forked()
    check_kind(model)
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedModel(
            "Keras runs on another backend.",
            expected="tensorflow",
            received=keras.backend.backend(),
            remedy="Set the environment variable KERAS_BACKEND=tensorflow before Keras is imported.",
        )
    if (objective is None or objective.loss is not None) and type(model).call in (
        keras.Model.call,
        keras.layers.Layer.call,
    ):
        raise UnsupportedModel(
            "The model has no method `call`, so there are no predictions to take a loss of.",
            received=type(model),
            remedy="Pass objective=, a function (model, x, y) -> losses (n,) of what its train_step minimises.",
        )
    _check_shape(model, x)
    if not model.built:
        one_x, one_y = tf.nest.map_structure(lambda array: tf.convert_to_tensor(array[:1]), (x, () if y is None else y))
        if objective is None or objective.loss is not None:
            predict(model, one_x)
        else:
            objective(model, one_x, one_y)
    if not model.trainable_weights:
        raise UnsupportedModel(
            "The model has no trainable weights, so its loss has no gradient.", remedy="Unfreeze at least one layer."
        )


def _check_shape(model: keras.Model, x: Any) -> None:
    """Checks the shape of examples against that of the model's input, where it has one of a known shape."""
    wanted = getattr(model, "input_shape", None) if model.built else None
    if not isinstance(wanted, tuple) or not all(isinstance(size, int | None) for size in wanted):
        return
    if isinstance(x, dict | list | tuple) or not hasattr(x, "shape"):
        return
    given, wanted = tuple(x.shape)[1:], wanted[1:]
    # Keras adds and removes a last axis of 1.
    first, second = (shape[:-1] if shape and shape[-1] == 1 else shape for shape in (given, wanted))
    pairs = list(zip(first, second, strict=False))
    if len(first) != len(second) or not all(None in pair or pair[0] == pair[1] for pair in pairs):
        raise InvalidInput("The model takes examples of another shape.", expected=str(wanted), received=given)


def check_separable(model: keras.Model, loss: ExampleLoss | None, x: Any, y: Any) -> None:
    """Checks on a few examples that a loss of one value a batch is made of the losses of its examples.

    Args:
        model: A built Keras model.
        loss: Of its predictions; None where it is not known.
        x: Inputs, first axis the examples.
        y: Targets.

    Raises:
        UnsupportedModel: It is not.
    """
    if loss is None:
        return
    x, y = tf.nest.map_structure(lambda array: tf.convert_to_tensor(array[:_TRIED]), (x, y))
    try:
        with keras.StatelessScope():  # no random state may move
            prediction = predict(model, x)
    except (ValueError, TypeError, tf.errors.OpError):  # not of so few examples: told where it is traced
        return
    loss.check_separable(y, prediction)
