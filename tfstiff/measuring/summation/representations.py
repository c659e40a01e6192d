"""The spaces in which examples are near or far: the inputs, and what layers make of them."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from tfstiff._keras import all_layers, takers
from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.measuring.arrays import flattened
from tfstiff.measuring.probe import Probe

AUTO, INPUT, ALL = "auto", "input", "all"
_POOLED = "pooled"  # the layer of a text network whose output stands for the text
_BATCH_SIZE = 250
_NAMED_LAYERS = 12


def input_vectors(model: keras.Model, probe: Probe) -> tuple[np.ndarray, ...] | None:
    """By half: the inputs between which there are distances, (n, d); None where these are all.

    Neither texts are such nor token ids: whole numbers, one or a row of them an example, that a layer with an embedding
    looks up.
    """
    leaves = keras.tree.flatten(probe.train.x)
    numeric = [place for place, leaf in enumerate(leaves) if leaf.dtype.kind in "biuf"]
    if isinstance(model, keras.Sequential | keras.Function) and len(model.inputs) == len(leaves):
        numeric = [place for place in numeric if not _is_looked_up(model, model.inputs[place], leaves[place])]
    if len(numeric) == len(leaves):
        return None
    halves = (keras.tree.flatten(half.x) for half in (probe.train, probe.validation))
    return tuple(
        flattened([half[place] for place in numeric]) if numeric else np.zeros((len(half[0]), 0)) for half in halves
    )


def input_width(model: keras.Model, probe: Probe) -> int:
    """How many numbers there are in the inputs of an example, between which there are distances."""
    vectors = input_vectors(model, probe)
    if vectors is not None:
        return int(vectors[0].shape[1])
    leaves = keras.tree.flatten(probe.train.x)
    return sum(math.prod(leaf.shape[1:]) for leaf in leaves if leaf.dtype.kind in "biuf")


def without_distances(model: keras.Model) -> str:
    """What to say of inputs between which there are none."""
    return (
        "The inputs are no numbers but texts or token ids, so that there are no distances between them and no ξ; "
        f"choose the space of a layer: {', '.join(layer_names(model)[:_NAMED_LAYERS]) or 'its name'}."
    )


def widths(model: keras.Model, probe: Probe, space: str) -> dict[str, int]:
    """By name of the space, as `representations` has them: how many numbers an example is there.

    Of a layer whose output has axes of unknown size, one for each of these.
    """
    space = chosen_space(model, probe, space)
    if space == INPUT:
        return {INPUT: input_width(model, probe)}

    def of_layer(name: str) -> int:
        outputs = keras.tree.flatten(model.get_layer(name).output)
        return sum(math.prod(size or 1 for size in output.shape[1:]) for output in outputs)

    found = {INPUT: input_width(model, probe)} if space == ALL else {}
    return found | {name: of_layer(name) for name in check_space(model, space)}


def _is_looked_up(model: keras.Model, symbol: Any, leaf: np.ndarray) -> bool:
    return leaf.dtype.kind in "iu" and leaf.ndim <= 2 and any(map(_has_embedding, takers(model, symbol)))


def _has_embedding(layer: keras.Layer) -> bool:
    return any(isinstance(one, keras.layers.Embedding) for one in all_layers(layer))


def chosen_space(model: keras.Model, probe: Probe, space: str) -> str:
    """The space that `space` stands for: what `auto` is decides the model.

    Returns:
        `"input"`, `"all"`, or the name of a layer.
    """
    if space != AUTO:
        return space
    inputs = input_vectors(model, probe)
    has_pooled = _POOLED in (layer.name for layer in getattr(model, "layers", []))
    return _POOLED if inputs is not None and not inputs[0].shape[1] and has_pooled else INPUT


def representations(model: keras.Model, probe: Probe, space: str) -> dict[str, tuple[np.ndarray, ...] | None]:
    """By name of the space: the vectors (n, d) of both halves of the probe; None for all inputs as they are.

    Args:
        model: A built Keras model.
        probe: The examples.
        space: `"auto"`, `"input"`, the name of a layer, or `"all"`: the inputs and every layer with weights.

    Raises:
        InvalidInput: The model has no layer of that name.
        UnsupportedModel: The model is not made of layers whose outputs can be read (subclassed models).
    """
    space, numbers = chosen_space(model, probe, space), input_vectors(model, probe)
    if space == INPUT:
        return {INPUT: numbers}
    names = check_space(model, space)
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.input
    outputs = keras.Model(inputs, {name: model.get_layer(name).output for name in names})
    vectors = [_outputs(outputs, half.x, len(half)) for half in (probe.train, probe.validation)]
    spaces: dict[str, tuple[np.ndarray, ...] | None] = {INPUT: numbers} if space == ALL else {}
    return spaces | {name: tuple(half[name] for half in vectors) for name in names}


def check_space(model: keras.Model, space: str) -> list[str]:
    """The names of the layers that `space` stands for.

    Raises:
        InvalidInput: The model has no layer of that name.
        UnsupportedModel: Its layers' outputs cannot be read.
    """
    if space in (AUTO, INPUT):
        return []
    if not isinstance(model, keras.Sequential | keras.Function):
        raise UnsupportedModel(
            "Distances in the space of a layer need a model whose layers' outputs can be read.",
            expected="a functional or sequential model",
            received=type(model),
            remedy='Use space="input".',
        )
    known = layer_names(model)
    if space == ALL:
        return [layer.name for layer in model.layers if layer.weights]
    if space not in known:
        raise InvalidInput(
            "The model has no such layer.", expected=f"input, all, or one of {', '.join(known)}", received=space
        )
    return [space]


def layer_names(model: keras.Model) -> list[str]:
    """The names of a model's layers, but for inputs, in their order."""
    return [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]


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
