"""What steps along directions in weight space do to the classes, as plain, immutable values. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfstiff.records.shown import Brief

DIRECTIONS = WEIGHTS, SINCE_INITIALISATION, UPDATE, NEXT_UPDATE, CLASS_MEANS = (
    "weights",
    "since_initialisation",
    "update",
    "next_update",
    "class_means",
)
MEASURED, UNKNOWN, NOT_MOVED, NOT_FINITE, NO_CLASSES, NO_PAIRS = (
    "ok",
    "not_known",
    "zero",
    "not_finite",
    "no_classes",
    "no_pairs",
)
_SCALARS = {"helped": "helped_by", "cosine": "cosine_with"}


@dataclass(frozen=True, repr=False)
class StepEffects(Brief):
    """What D steps do to the losses of one half's examples, by class (C = 1 without classes), to first order.

    Errors are standard errors over the draw of the examples of a class, the step being given: NaN with fewer than two.
    Examples without a finite gradient are left out.

    Attributes:
        num_examples: (D, C) int64, examples of each class that count.
        change: (D, C) float64, mean change of the loss by the whole step v, `g_i · v`: below 0, the step helps.
        change_se: (D, C) float64.
        cosine: (D, C) float64, mean cosine of gradient and step: below 0, the step helps.
        cosine_se: (D, C) float64.
        helped: (D, C) float64, share of the examples whose loss the step lowers, those with `g_i · v < 0`.
        helped_se: (D, C) float64.
        mean_cosine: Mean over the classes; where each class has a step of its own, over the effects on the own class.
        mean_cosine_se: Its standard error.
        mean_helped: The same of the shares.
        mean_helped_se: Its standard error.
    """

    num_examples: np.ndarray
    change: np.ndarray
    change_se: np.ndarray
    cosine: np.ndarray
    cosine_se: np.ndarray
    helped: np.ndarray
    helped_se: np.ndarray
    mean_cosine: float
    mean_cosine_se: float
    mean_helped: float
    mean_helped_se: float


@dataclass(frozen=True, repr=False)
class DirectionEffects(Brief):
    """One direction that a measurement was asked for.

    Attributes:
        status: `ok`; or why there is nothing: `not_known`, the weights that it leads from; `zero`, it has no length;
            `not_finite`, it holds NaN; `no_classes`, there are none to take means of; `no_pairs`, train_train was not
            measured, or a sample of its pairs alone.
        lengths: (D,) float64, lengths of its steps; None where there are none. D is 1, but C of `class_means`.
        train: What they do to the training half; None where that is not known.
        validation: What they do to the validation half.
    """

    status: str
    lengths: np.ndarray | None = field(default=None, compare=False)
    train: StepEffects | None = None
    validation: StepEffects | None = None


def direction_scalar_names(directions: Iterable[str], halves: Iterable[str]) -> Iterator[str]:
    """The names of the scalars of directions, in order: `stiffness_helped_by_update_train`, …"""
    halves = list(halves)
    for direction in directions:
        for part in _SCALARS.values():
            yield from (f"stiffness_{part}_{direction}_{half}" for half in halves)


def direction_scalars(found: Mapping[str, DirectionEffects], halves: Iterable[str], end: str = "") -> dict[str, float]:
    """Means over classes by those names, NaN where there is none; with the end `_se` their standard errors."""
    halves = list(halves)
    return {
        f"stiffness_{part}_{direction}_{half}": float(getattr(getattr(of, half), f"mean_{name}{end}", math.nan))
        for direction, of in found.items()
        for name, part in _SCALARS.items()
        for half in halves
    }
