"""Scores of single examples, as plain, immutable values. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfstiff.records.shown import Brief


@dataclass(frozen=True, repr=False)
class ExampleScores(Brief):
    """How hard each example of one half of the probe is.

    Attributes:
        loss: (n,) float64, loss of each example.
        gradient_norm: (n,) float64, length of each example's gradient; NaN where it is not finite. GraNd is its mean
            over trainings that differ in their random initialisation.
        el2n: (n,) float64, length of the error of the predicted probabilities, 0 to √2; NaN where a prediction is not
            finite. None where predictions are not one score a class.
    """

    loss: np.ndarray
    gradient_norm: np.ndarray
    el2n: np.ndarray | None
