"""What tfstiff leaves for its peers in a file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Exchange(NamedTuple):
    """Trainable weights, examples, their Gram matrix and the seconds it took tfstiff."""

    weights: list[np.ndarray]
    x: np.ndarray
    y: np.ndarray
    gram: np.ndarray
    seconds: float

    def save(self, path: str) -> None:
        weights = {f"weight_{index}": weight for index, weight in enumerate(self.weights)}
        np.savez(path, **weights, x=self.x, y=self.y, gram=self.gram, seconds=self.seconds)

    @classmethod
    def load(cls, path: str) -> Exchange:
        with np.load(path) as file:
            weights = [file[f"weight_{index}"] for index in range(len(file.files) - 4)]
            return cls(weights, file["x"], file["y"], file["gram"], float(file["seconds"]))
