"""What to bear in mind of a measurement: what is unusual about probe, inputs or gradients, a sentence each.

None of it is an error: a model may be meant to take raw pixels, and gradients do vanish; but it should be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfstiff.errors import listed
from tfstiff.measuring.probe import Probe, ProbeHalf
from tfstiff.measuring.sampling import PairSample

_NAMED = 10  # classes, or examples, that a sentence names
_LOOKED_AT = 64  # examples, to tell what inputs are
_LARGEST_UNIT = 16.0  # more than images that were brought to a unit range, or standardised, hold
_CHANNELS = (1, 2, 3, 4)
_SMALLEST_IMAGE = 8  # pixels a side


def of_probe(probe: Probe) -> list[str]:
    """On the probe: classes without an example, and examples that are in both halves."""
    return [*_absent_classes(probe), *_in_both_halves(probe)]


def of_inputs(model: keras.Model, probe: Probe) -> list[str]:
    """On images as they are stored, from 0 to 255, that go into a model without a layer that scales them."""
    if any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in _layers(model)):
        return []
    images = [array for array in keras.tree.flatten(probe.train.x) if _is_image(array)]
    if not any(_is_stored(array[:_LOOKED_AT]) for array in images):
        return []
    return [
        "The inputs look like images that are not normalised, of whole numbers up to 255: gradients of the first "
        "layers are as much larger. Unless that is meant, divide by 255, or begin the model with a layer Rescaling."
    ]


def of_sample(sample: PairSample) -> list[str]:
    """On a measurement of which only some pairs were multiplied."""
    if sample.is_whole:
        return []
    return [
        f"{sample.num_pairs} of {sample.num_all} pairs were multiplied, a random sample in which each example meets as "
        "many others of each class; standard errors count that. What needs the products of all pairs (coherence, "
        "noise scale, the products of class means and their like) is not there."
    ]


def of_gradients(half: str, norms: np.ndarray) -> list[tuple[str, str]]:
    """On gradients of which most are zero or not finite.

    Args:
        half: Its name in words.
        norms: (n,) lengths of the gradients.

    Returns:
        What it is about, and the sentence.
    """
    found = []
    for what, count in (
        ("exactly zero, so that their stiffness counts as 0", int((norms == 0).sum())),
        ("not finite, so that their pairs are left out", int((~np.isfinite(norms)).sum())),
    ):
        if 2 * count > len(norms):
            found.append((what + half, f"Of the gradients of {half} examples {count} of {len(norms)} are {what}."))
    return found


def _absent_classes(probe: Probe) -> Iterator[str]:
    for half, name in ((probe.train, "training"), (probe.validation, "validation")):
        if half.classes is None or not len(half):
            continue
        absent = np.setdiff1d(np.arange(len(probe.class_names)), half.classes)
        if len(absent):
            names = listed([probe.class_names[index] for index in absent], _NAMED)
            yield f"The {name} half of the probe has no example of {_number(len(absent), 'class', 'classes')}: {names}."


def _in_both_halves(probe: Probe) -> Iterator[str]:
    first = dict(zip(_rows(probe.train), probe.train.ids.tolist(), strict=True))
    same = [
        (known, name)
        for row, name in zip(_rows(probe.validation), probe.validation.ids.tolist(), strict=True)
        if (known := first.get(row)) is not None
    ]
    if same:
        names = listed([f"{name} (as {known})" for known, name in same], _NAMED)
        yield (
            f"{_number(len(same), 'validation example has', 'validation examples have')} the inputs of a training "
            f"example of the probe, so that the halves are not independent: {names}."
        )


def _rows(half: ProbeHalf) -> list[bytes]:
    arrays = [np.ascontiguousarray(array) for array in keras.tree.flatten(half.x)]
    return [b"".join(array[index].tobytes() for array in arrays) for index in range(len(half))]


def _layers(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(layer)


def _is_image(array: np.ndarray) -> bool:
    if array.dtype.kind not in "iuf" or array.ndim not in (3, 4) or min(array.shape[1:3]) < _SMALLEST_IMAGE:
        return False
    return array.ndim == 3 or array.shape[3] in _CHANNELS


def _is_stored(array: np.ndarray) -> bool:
    is_in_range = array.min() >= 0 and _LARGEST_UNIT < array.max() <= 255
    return bool(is_in_range and (array == np.round(array)).all())


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
