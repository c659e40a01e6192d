"""What measurements say: when they were taken, and each scalar with its error and its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.records import BlockStiffness, CriticalLength, HalfSummary, Measurement, PairSetStiffness, scalar_row
from tfstiff.records.directions import StepEffects
from tfstiff.records.shown import Brief
from tfstiff.records.words import status_of_length
from tfstiff.stiffness.intervals import interval

PREFIX = "stiffness_"
_LENGTH = "critical_length"
_DISAGREEMENT = "disagreement"  # of signs with a preconditioner and without
_NAN = math.nan


@dataclass(frozen=True, repr=False)
class Reading(Brief):
    """One scalar of a measurement, with what is known of its error.

    Attributes:
        value: The scalar.
        se: Its standard error; NaN where it is not known, or the interval is not symmetric.
        low: Lower end of its 95 % interval; NaN where there is none.
        high: Upper end.
        influence: (E,) the part of each example in it, whose squares add up to the variance; None where not known.
    """

    value: float
    se: float = _NAN
    low: float = _NAN
    high: float = _NAN
    influence: np.ndarray | None = None

    @property
    def half_width(self) -> float:
        """Half of the interval's width; NaN where there is none."""
        return (self.high - self.low) / 2


def reading(measurement: Measurement, name: str) -> Reading:
    """Reads one scalar of a measurement with its errors.

    Args:
        measurement: The measurement.
        name: As in scalars.jsonl; `stiffness_` before it may be left out.

    Raises:
        InvalidInput: The measurement has no such scalar.
    """
    half, _, part = name.partition("_")
    if half in ("train", "validation") and part in ("loss", "accuracy"):
        return _reading_of_half(getattr(measurement, half), part)
    kind, pair_set = _parts(measurement, name.removeprefix(PREFIX))
    if kind == _LENGTH:
        return reading_of_length(measurement[pair_set].critical_length)
    found = reading_of_pairs(measurement[pair_set], kind) if kind else None
    if found is not None:
        return found
    known = scalar_row(measurement)
    whole = name if name in known else PREFIX + name
    if whole not in known:
        raise InvalidInput("The measurement has no such scalar.", expected=", ".join(known), received=name)
    return _estimate(known[whole], measurement.standard_errors().get(whole, _NAN))


def reading_of_pairs(found: PairSetStiffness | None, kind: str) -> Reading | None:
    """Reads a mean over pairs of one pair set.

    Args:
        found: What was measured; None reads as NaN.
        kind: A metric and the part: `cosine_within`, `sign_between`, `cosine_contrast`, `cosine_mean`,
            `sign_block_contrast`, `sign_disagreement_within`.

    Returns:
        None where there is no mean of that kind.
    """
    metric, _, part = kind.partition("_")
    if part.startswith(f"{_DISAGREEMENT}_"):
        metric, part = f"{metric}_{_DISAGREEMENT}", part.removeprefix(f"{_DISAGREEMENT}_")
    if found is None:
        return Reading(_NAN)
    if part == "mean" and getattr(found, f"mean_{metric}") is not None:
        return _estimate(getattr(found, f"mean_{metric}"), getattr(found, f"mean_{metric}_se"))
    by_class = getattr(found, metric, None)
    if part == "block_contrast":
        return reading_of_blocks(getattr(by_class, "blocks", None), "contrast")
    return _reading_of(by_class, part)


def reading_of_blocks(found: BlockStiffness | None, kind: str) -> Reading | None:
    """Reads a mean over blocks of classes: `same_group`, `different_group` or `contrast`; None where there is none."""
    return _reading_of(found, kind)


def reading_of_length(length: CriticalLength) -> Reading:
    """Reads a critical length: NaN where its status says that there is none."""
    if not status_of_length(length.status).has_length:
        return Reading(_NAN)
    limits = (length.low, length.high) if length.interval == "bounded" else (_NAN, _NAN)
    return Reading(length.value, _NAN, *limits)


def readings_of_effects(effects: StepEffects, quantity: str) -> list[Reading]:
    """Reads what steps do to each class: those of one step, or of the steps on the classes that on the own class.

    Args:
        effects: On one half of the probe.
        quantity: `helped`, `cosine` or `change`.

    Returns:
        A reading a class; behind them, of several classes, that of the mean over them, which `change` has not.
    """
    values, errors = getattr(effects, quantity), getattr(effects, f"{quantity}_se")
    if values is None:  # of a record that was read without arrays
        return []
    counts = effects.num_examples
    places = np.arange(values.shape[1]) if len(values) > 1 else np.zeros(values.shape[1], int)
    at = places, np.arange(values.shape[1])
    read = [*zip(values[at], errors[at], np.maximum(counts[at] - 1.0, 1), strict=True)]
    if len(read) > 1 and hasattr(effects, f"mean_{quantity}"):
        read.append((getattr(effects, f"mean_{quantity}"), getattr(effects, f"mean_{quantity}_se"), math.inf))
    # Where a step helps all of the examples, or none, they do not tell how it would be with others.
    return [_estimate(value, se if se > 0 else _NAN, degrees) for value, se, degrees in read]


def times_of(measurements: Sequence[Measurement]) -> tuple[list[float], str]:
    """The time of each measurement and its unit: epoch, else step, else measurement (0, 1, 2, …).

    Epochs are not known of every training, and a model fitted anew may repeat them: a unit must increase.
    """
    for unit in ("epoch", "step"):
        when = [float(getattr(measurement, unit)) for measurement in measurements]
        if all(0 <= time < math.inf for time in when) and all(a < b for a, b in pairwise(when)):
            return when, unit
    return [float(index) for index in range(len(measurements))], "measurement"


def loss_influence(half: HalfSummary) -> np.ndarray | None:
    """(n,) the part of each example in the error of the mean loss; None where their losses are not known."""
    if half.scores is None or half.num_examples < 2:
        return None
    loss = half.scores.loss
    return (loss - loss.mean()) / math.sqrt(len(loss) * (len(loss) - 1))


def _reading_of_half(half: HalfSummary, part: str) -> Reading:
    value, number = getattr(half, part), half.num_examples
    if part == "accuracy":
        return _estimate(value, math.sqrt(value * (1 - value) / number) if 0 <= value <= 1 and number else _NAN)
    influence = loss_influence(half)
    se = _NAN if influence is None else float(np.linalg.norm(influence))
    return _estimate(value, se, number - 1, influence)


def _reading_of(holder: Any, kind: str) -> Reading | None:
    if holder is None or not hasattr(holder, f"{kind}_se"):
        return None
    degrees = getattr(holder, f"{kind}_df", math.inf)
    return _estimate(
        getattr(holder, kind), getattr(holder, f"{kind}_se"), degrees, getattr(holder, f"{kind}_influence", None)
    )


def _estimate(value: float, se: float, degrees: float = math.inf, influence: np.ndarray | None = None) -> Reading:
    low, high = interval(value, se, degrees)
    return Reading(float(value), float(se), float(low), float(high), influence)


def _parts(measurement: Measurement, name: str) -> tuple[str, str]:
    """Kind and pair set of a scalar's name: `cosine_within` and `train_val`; empty where it is of none."""
    for pair_set in measurement.pair_sets:
        if name.endswith(f"_{pair_set}"):
            return name.removesuffix(f"_{pair_set}"), pair_set
    return "", ""
