"""Which training examples helped which validation examples, over a whole training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tfstiff.analysis.from_gram import whole_gram
from tfstiff.errors import InvalidInput
from tfstiff.records import Measurement
from tfstiff.records.shown import Brief


@dataclass(frozen=True, repr=False)
class Influence(Brief):
    """Influence of the probe's training examples, summed over measurements.

    Attributes:
        train_on_validation: (n, m) float64, in units of the loss: how far training on example i lowered the loss of
            validation example j. Negative where it raised it (an opponent of j).
        self_influence: (n,) float64, of each training example on itself; large for mislabelled and unusual ones.
        steps: The measurements it is of.
    """

    train_on_validation: np.ndarray
    self_influence: np.ndarray
    steps: tuple[int, ...]


def tracin_influence(measurements: Iterable[Measurement]) -> Influence:
    """TracInCP: `Σ_t η_t g_t(z) · g_t(z')` over checkpoints t (Pruthi et al. 2020, arXiv 2002.08484).

    Each checkpoint stands for one visit of every training example, at the learning rate η_t, with the gradients as they
    are, not their cosines: measure at even distances, such as every epoch. The formula is that of plain stochastic
    gradient descent; with Adam, whose steps are rescaled weight by weight, it is a heuristic.

    Args:
        measurements: Of one training and one probe, each with its Gram matrix and learning rate.

    Raises:
        Unavailable: A measurement did not keep its Gram matrix.
        InvalidInput: There is no measurement, one has no learning rate, or their probes differ in size.
    """
    influence, steps, num_train = None, [], 0
    for measurement in measurements:
        gram = whole_gram(measurement)
        rate = measurement.learning_rate
        if not math.isfinite(rate):
            raise InvalidInput(
                f"The measurement at step {measurement.step} has no learning rate.",
                expected="measurements that StiffnessCallback made",
                received=rate,
            )
        if influence is None:
            influence, num_train = np.zeros(gram.shape), measurement.train.num_examples
        if gram.shape != influence.shape or measurement.train.num_examples != num_train:
            raise InvalidInput("The measurements are of probes of different sizes.", received=gram.shape)
        influence += rate * gram
        steps.append(measurement.step)
    if influence is None:
        raise InvalidInput("There is no measurement to sum over.", expected="at least one")
    return Influence(
        train_on_validation=influence[:num_train, num_train:],
        self_influence=np.diag(influence)[:num_train].copy(),
        steps=tuple(steps),
    )
