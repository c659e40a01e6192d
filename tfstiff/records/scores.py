"""Scores of single examples, as plain, immutable values. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfstiff.records.shown import Brief


@dataclass(frozen=True, repr=False)
class ExampleStiffness(Brief):
    """Mean stiffness of each of n examples with the examples of one half of the probe, class by class.

    An example's pair with itself is left out. Errors are standard errors over the draw of those other examples, with
    one degree of freedom less than there are; the example itself is given. NaN where there is none, or its gradient is
    not finite.

    Attributes:
        counts: (n, C) int16, or int32 past 32,767, other examples of each class (C = 1 for regression targets).
        sign: (n, C) float32, mean sign with them; NaN without one.
        sign_se: (n, C) float32, its standard error; NaN with fewer than two.
        cosine: (n, C) float32, mean cosine with them.
        cosine_se: (n, C) float32, its standard error.
    """

    counts: np.ndarray
    sign: np.ndarray
    sign_se: np.ndarray
    cosine: np.ndarray
    cosine_se: np.ndarray


@dataclass(frozen=True, repr=False)
class ExampleScores(Brief):
    """How hard each example of one half of the probe is, and how it goes with the others.

    Attributes:
        loss: (n,) float64, loss of each example.
        gradient_norm: (n,) float64, length of each example's gradient; NaN where it is not finite. GraNd is its mean
            over trainings that differ in their random initialisation.
        el2n: (n,) float64, length of the error of the predicted probabilities, 0 to √2; NaN where a prediction is not
            finite. None where predictions are not one score a class.
        margin: (n,) float32, predicted probability of the example's class less the largest of another class, −1 to 1.
            None where `el2n` is.
        predicted: (n,) int32, class with the largest score; −1 where it is an output that stands for no class. None
            where `el2n` is.
        classes: (n,) int32, class of each example; None for regression targets.
        stiffness: Mean stiffness with the examples of each half, `train` and `validation`, by class; the halves whose
            pairs were measured.
    """

    loss: np.ndarray
    gradient_norm: np.ndarray
    el2n: np.ndarray | None
    margin: np.ndarray | None = None
    predicted: np.ndarray | None = None
    classes: np.ndarray | None = None
    stiffness: Mapping[str, ExampleStiffness] = field(default_factory=dict)
