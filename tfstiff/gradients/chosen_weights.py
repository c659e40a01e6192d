"""The weights with respect to which gradients are taken: all, those of adapters or of the head, or a choice by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import keras

from tfstiff._keras import all_layers, last_operations
from tfstiff.errors import InvalidInput, listed
from tfstiff.gradients.options import HEAD, LORA, WeightChoice
from tfstiff.records.measurement import ALL_WEIGHTS

_NAMED = 12  # weights that an error names


def chosen_weights(model: keras.Model, choice: WeightChoice) -> list[keras.Variable]:
    """The trainable weights that `choice` is of, in the order of `model.trainable_weights`.

    Args:
        model: A built Keras model.
        choice: `GradientOptions.weights`.

    Raises:
        InvalidInput: It is of none, or of frozen ones alone.
    """
    trainable = list(model.trainable_weights)
    if choice == ALL_WEIGHTS:
        return trainable
    is_chosen = _chooser(model, choice)
    found = [weight for weight in trainable if is_chosen(weight)]
    if found:
        return found
    frozen = [weight for weight in model.weights if not weight.trainable and is_chosen(weight)]
    if frozen:
        raise InvalidInput(
            f"The weights chosen are frozen, so they have no gradient: {_paths(frozen)}.",
            expected=f"some of the trainable weights: {_paths(trainable)}",
            received=choice,
            remedy="Set trainable=True of their layer.",
        )
    raise InvalidInput(
        "No weight of the model is chosen.",
        expected=f"some of the trainable weights: {_paths(trainable)}",
        received=choice,
        remedy="Call enable_lora() of its layers or of its backbone first." if choice == LORA else None,
    )


def choice_in_words(model: keras.Model, choice: WeightChoice, chosen: Sequence[keras.Variable]) -> str:
    """A choice as records hold it: as it was given; of a function the places of what it chose, `0-1, 4 of 6`."""
    if isinstance(choice, str):
        return choice
    ids = {id(weight) for weight in chosen}
    trainable = model.trainable_weights
    places = [place for place, weight in enumerate(trainable) if id(weight) in ids]
    runs = [[place for _, place in run] for _, run in groupby(enumerate(places), lambda pair: pair[1] - pair[0])]
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return f"{', '.join(texts)} of {len(trainable)}"


def _chooser(model: keras.Model, choice: WeightChoice) -> Callable[[keras.Variable], Any]:
    if not isinstance(choice, str):
        return choice
    if choice not in (LORA, HEAD):
        return lambda weight: re.search(choice, weight.path)
    ids = {id(weight) for weight in (_of_adapters(model) if choice == LORA else _of_head(model))}
    return lambda weight: id(weight) in ids


def _of_adapters(model: keras.Model) -> list[keras.Variable]:
    """What `enable_lora` added to layers: two factors each, by the names that Keras gives their attributes."""
    return [
        value
        for layer in all_layers(model)
        if getattr(layer, "lora_enabled", False)
        for name, value in vars(layer).items()
        if name.startswith("lora_") and isinstance(value, keras.Variable)
    ]


def _of_head(model: keras.Model) -> list[keras.Variable]:
    """The trainable weights of the last layers that have any; models among these are looked into, other layers not."""
    if isinstance(model, keras.Function):
        last = last_operations(model, lambda operation: bool(getattr(operation, "trainable_weights", ())))
    else:
        last = [layer for layer in model.layers if layer.trainable_weights][-1:]
    if not last:  # its weights are its own
        return list(model.trainable_weights)
    return [
        weight
        for layer in last
        for weight in (_of_head(layer) if isinstance(layer, keras.Model) else layer.trainable_weights)
    ]


def _paths(weights: Sequence[keras.Variable]) -> str:
    return listed([weight.path for weight in weights], _NAMED)
