"""The weights of earlier moments of a training, which directions lead from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from tfstiff.measuring.directions import SINCE
from tfstiff.records.directions import SINCE_INITIALISATION, UPDATE


class EarlierWeights:
    """Copies of the trainable weights at the beginning of training and at the last measurement, where they are needed.

    Args:
        directions: What is measured.
    """

    def __init__(self, directions: Sequence[str]) -> None:
        self._wanted = [name for name in SINCE if name in directions]
        self._kept: dict[str, list[np.ndarray]] = {}

    def begin(self, model: keras.Model, *, is_initial: bool) -> None:
        """Training begins: anew, or, where `is_initial` is false, with weights of which nobody knows the beginning."""
        self._kept = {}
        if is_initial:
            self._keep(SINCE_INITIALISATION, model)

    def measured(self, model: keras.Model) -> None:
        """A measurement was made."""
        self._keep(UPDATE, model)

    def of(self, model: keras.Model) -> dict[str, list[np.ndarray]]:
        """By direction: the weights that it leads from; without those that the model has no longer got."""
        shapes = [tuple(weight.shape) for weight in model.trainable_weights]
        return {name: kept for name, kept in self._kept.items() if [one.shape for one in kept] == shapes}

    def arrays(self) -> dict[str, np.ndarray]:
        """All of them, by name, for a checkpoint."""
        return {f"{name}/{place:05d}": one for name, kept in self._kept.items() for place, one in enumerate(kept)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` returned in another process."""
        self._kept = {}
        for name, array in sorted(arrays.items()):
            self._kept.setdefault(name.partition("/")[0], []).append(array)

    def _keep(self, name: str, model: keras.Model) -> None:
        if name in self._wanted:
            self._kept[name] = [_copy(weight) for weight in model.trainable_weights]


def _copy(weight: keras.Variable) -> np.ndarray:
    found = np.array(keras.ops.convert_to_numpy(weight.value))
    return found if found.dtype.isbuiltin else found.astype(np.float32)  # bfloat16, of which files do not know
