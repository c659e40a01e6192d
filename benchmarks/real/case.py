"""What is measured of a real model, and its random examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

EXAMPLES, CLASSES = 6, 3


class Case(NamedTuple):
    """A model to measure.

    Attributes:
        family: What it is one of.
        build: Makes model, inputs and integer labels.
    """

    family: str
    build: Callable[[], tuple[keras.Model, Any, np.ndarray]]


def loss() -> keras.losses.Loss:
    """That of all of them."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def random_like(tensor: Any, name: str, random: np.random.Generator, vocabulary: int, length: int) -> np.ndarray:
    """Random examples for a symbolic input; axes of unknown size get `length` entries."""
    shape = (EXAMPLES, *(length if size is None else size for size in tensor.shape[1:]))
    if "mask" in name and "positions" not in name:
        mask = np.ones(shape, keras.backend.standardize_dtype(tensor.dtype))
        mask[: EXAMPLES // 2, ..., -(shape[-1] // 3) :] = 0
        return mask
    if "int" in keras.backend.standardize_dtype(tensor.dtype):
        top = {"segment_ids": 2, "mask_positions": length}.get(name, vocabulary)
        return random.integers(min(1, top - 2), top, shape).astype("int32")
    return random.normal(size=shape).astype("float32")


def labels(random: np.random.Generator, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Integer targets."""
    return random.integers(0, classes, (EXAMPLES, *shape))
