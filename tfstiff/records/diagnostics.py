"""Quantities beside stiffness that the same gradients give, as plain, immutable values. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GradientDiagnostics:
    """What the sums over the pairs of one half of the probe tell besides its stiffness.

    Formulas and sources stand with the functions that compute them (`tfstiff.stiffness.coherence`, `.alignment`). All
    but `mean_squared_norm`, `squared_mean_norm`, `class_mean_gram` and `within_class_trace`, which are in units of the
    squared gradient, are without unit. NaN where there are too few examples, or where all gradients are zero.

    Attributes:
        mean_squared_norm: Mean of `|g|²`.
        squared_mean_norm: Unbiased estimate of the squared length of the expected gradient. It may be negative.
        coherence: Their ratio, at most 1; 0 where gradients are orthogonal on average.
        coherence_se: Its standard error.
        m_coherence: How many examples a step on one helps, from 0 to the number of examples; 1 where they are
            orthogonal.
        gradient_diversity: The inverse of the m-coherence; infinite where all gradients cancel.
        batch_size_bound: The batch size up to which mini-batches speed up training, by gradient diversity.
        noise_scale: The simple gradient noise scale, in examples; infinite where no mean gradient stands out.
        noise_scale_low: Lower end of its 95 % interval.
        noise_scale_high: Upper end of its 95 % interval; infinite where the mean gradient may be zero.
        smallest_cosine: Smallest cosine of any pair.
        negative_share: Share of pairs whose product is negative.
        participation_ratio: How many directions the gradients fill, from 1 to the number of examples.
        in_class_alignment: Mean over classes of Ω, the alignment of gradients of one class weighted by their lengths.
        label_alignment: Centred alignment of the cosines with "same class", from -1 to 1.
        class_mean_gram: (C, C) float64, products of the classes' mean gradients; NaN for classes without an example.
            None where there are no classes.
        within_class_trace: Trace of the covariance of gradients within classes.
    """

    mean_squared_norm: float
    squared_mean_norm: float
    coherence: float
    coherence_se: float
    m_coherence: float
    gradient_diversity: float
    batch_size_bound: float
    noise_scale: float
    noise_scale_low: float
    noise_scale_high: float
    smallest_cosine: float
    negative_share: float
    participation_ratio: float
    in_class_alignment: float
    label_alignment: float
    class_mean_gram: np.ndarray | None
    within_class_trace: float


@dataclass(frozen=True)
class ExampleScores:
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
