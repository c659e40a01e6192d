"""The spaces in which examples are near or far: the inputs, and what layers make of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.measuring.arrays import flattened
from tfstiff.measuring.probe import Probe

INPUT, ALL = "input", "all"
_BATCH_SIZE = 250


def representations(model: keras.Model, probe: Probe, space: str) -> dict[str, tuple[np.ndarray, ...] | None]:
    """By name of the space: the vectors (n, d) of both halves of the probe; None for the inputs themselves.

    Args:
        model: A built Keras model.
        probe: The examples.
        space: `"input"`, the name of a layer, or `"all"`: the inputs and every layer with weights.

    Raises:
        InvalidInput: The model has no layer of that name.
        UnsupportedModel: The model is not made of layers whose outputs can be read (subclassed models).
    """
    if space == INPUT:
        return {INPUT: None}
    names = check_space(model, space)
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.input
    outputs = keras.Model(inputs, {name: model.get_layer(name).output for name in names})
    vectors = [_outputs(outputs, half.x, len(half)) for half in (probe.train, probe.validation)]
    spaces: dict[str, tuple[np.ndarray, ...] | None] = {INPUT: None} if space == ALL else {}
    return spaces | {name: tuple(half[name] for half in vectors) for name in names}


def check_space(model: keras.Model, space: str) -> list[str]:
    """The names of the layers that `space` stands for.

    Raises:
        InvalidInput: The model has no layer of that name.
        UnsupportedModel: Its layers' outputs cannot be read.
    """
    if space == INPUT:
        return []
    if not isinstance(model, keras.Sequential | keras.Function):
        raise UnsupportedModel(
            "Distances in the space of a layer need a model whose layers' outputs can be read.",
            expected="a functional or sequential model",
            received=type(model),
            remedy='Use space="input".',
        )
    known = [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    if space == ALL:
        return [layer.name for layer in model.layers if layer.weights]
    if space not in known:
        raise InvalidInput(
            "The model has no such layer.", expected=f"input, all, or one of {', '.join(known)}", received=space
        )
    return [space]


def _outputs(model: keras.Model, x: Any, count: int) -> dict[str, np.ndarray]:
    """Outputs in inference mode, flattened, a batch at a time."""
    parts = []
    for start in range(0, count, _BATCH_SIZE):
        batch = keras.tree.map_structure(lambda array, s=start: array[s : s + _BATCH_SIZE], x)
        outputs = model(batch, training=False)
        parts.append(
            {name: flattened(keras.tree.map_structure(np.asarray, output)) for name, output in outputs.items()}
        )
    names = parts[0] if parts else model.output
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.zeros((0, 0)) for name in names}
