"""A model that is trained already beside a data set: do they fit, and which loss joins them?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfstiff.datasets import Dataset
from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients.loss import predict
from tfstiff.gradients.objective import ObjectiveFunction, check_model, resolve_objective
from tfstiff.measuring.probe import Probe

_ONE_HOT = (  # losses whose targets are rows of probabilities
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.CategoricalHinge,
    keras.losses.KLDivergence,
)
_ONE_HOT_FUNCTIONS = (
    keras.losses.categorical_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.categorical_hinge,
    keras.losses.kl_divergence,
)


def loss_of(model: keras.Model, say: Callable[[str], object], *, has_classes: bool = True) -> Any:
    """The loss to measure with: None for the compiled one, else cross-entropy of what the outputs seem to be.

    Of targets that are numbers the squared error.
    """
    if getattr(model, "loss", None) is not None:
        return None
    if not has_classes:
        say("The model has no loss: taken is the mean squared error.")
        return keras.losses.MeanSquaredError()
    last = model.layers[-1] if getattr(model, "layers", None) else None
    is_softmax = (
        isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax
    )
    say(f"The model has no loss: taken is cross-entropy of {'probabilities' if is_softmax else 'logits'}.")
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not is_softmax)


def fitted(
    model: keras.Model,
    dataset: Dataset,
    probe: Probe,
    loss: Any,
    say: Callable[[str], object],
    objective: ObjectiveFunction | None = None,
) -> tuple[Any, Probe]:
    """The loss to measure a model with, and the probe with labels as that loss takes them.

    Args:
        model: The model.
        dataset: Which the probe is of.
        probe: The examples.
        loss: A name that Keras knows; None means that of the model, else cross-entropy.
        say: Is told what is unusual.
        objective: In place of a loss.

    Raises:
        InvalidInput: The model does not take the examples, or has too few outputs.
        UnsupportedModel: There is no loss, or Keras does not know it.
    """
    check_fit(model, dataset, say)
    loss = (
        loss
        if loss is not None or objective is not None
        else loss_of(model, say, has_classes=dataset.num_classes is not None)
    )
    resolve_objective(model, loss, objective)  # tells what is wrong with it
    return loss, with_one_hot(probe, model) if takes_one_hot(model.loss if loss is None else loss) else probe


def takes_one_hot(loss: Any) -> bool:
    """Whether the targets of a loss, as `compile(loss=…)` takes it, are one row of probabilities an example."""
    found = keras.losses.get(loss) if isinstance(loss, str) else loss
    return isinstance(found, _ONE_HOT) or found in _ONE_HOT_FUNCTIONS


def with_one_hot(probe: Probe, model: keras.Model) -> Probe:
    """The same probe with labels as rows, as long as the model has outputs."""
    train, validation = (
        dataclasses.replace(half, y=np.eye(model.output_shape[-1], dtype=np.float32)[half.classes])
        for half in (probe.train, probe.validation)
    )
    return Probe(train, validation, probe.class_names)


def check_fit(model: keras.Model, dataset: Dataset, say: Callable[[str], object]) -> None:
    """Sees that the model takes the data set's examples and has outputs for its classes."""
    received = dataset.train.x.shape[1:]
    expected = getattr(model, "input_shape", None)  # subclassed models have none
    if isinstance(expected, list | dict):
        raise UnsupportedModel("The model has several inputs, and the examples of a data set are single arrays.")
    if expected is not None and not _matches(tuple(expected[1:]), received):
        raise InvalidInput(
            "The model does not take the data set's examples.",
            expected=f"examples of shape {tuple(expected[1:])}",
            received=received,
            remedy="Choose the data set that it was trained on, or one whose examples have that shape.",
        )
    try:
        check_model(model, dataset.train.x)
        outputs = predict(model, dataset.train.x[:1]).shape[-1]
    except (ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(
            f"The model does not take the data set's examples: {str(error).splitlines()[0]}", received=received
        ) from error
    classes = dataset.num_classes
    if classes is not None and not (outputs >= classes or (outputs == 1 and classes == 2)):
        raise InvalidInput(
            "The model has fewer outputs than the data set has classes.",
            expected=f"{classes} outputs",
            received=outputs,
            remedy="Choose the data set that it was trained on.",
        )
    if classes is not None and outputs > max(classes, 1):
        say(f"Warning: the model has {outputs} outputs, and the data set {classes} classes.")


def _matches(expected: tuple[int | None, ...], received: tuple[int, ...]) -> bool:
    return len(expected) == len(received) and all(
        one in (None, other) for one, other in zip(expected, received, strict=True)
    )
