"""One quantity of one run at a given epoch or training loss, with what is known where it lies beyond what was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfstiff.analysis.loss_level import at_loss_level
from tfstiff.records import CriticalLength, Measurement, RunFolder, scalar_row

_LENGTH = "stiffness_critical_length_"
_SAME_EPOCH = 0.01  # measurements this near, relative to the epoch, are of the same one


@dataclass(frozen=True)
class Observation:
    """A quantity of a run.

    Attributes:
        low: Its value, or what it is at least: -inf where it is known only to lie below `high`.
        high: The same as `low` where the value is known; +inf where it is known only to lie above `low`.
        se: Standard error of drawing the probe's examples; NaN where there is none.
        status: `ok`; `censored`, where only a bound is known; else why there is no value: `not_measured`,
            `not_reached`, `begins_below`, `undefined`, or the status of a critical length.
    """

    low: float
    high: float
    se: float
    status: str

    @property
    def is_missing(self) -> bool:
        """Whether nothing is known."""
        return math.isnan(self.low)


@dataclass(frozen=True)
class Place:
    """Where runs are compared.

    Attributes:
        by: `epoch` or `train_loss`.
        at: Its value.
    """

    by: str
    at: float

    @property
    def label(self) -> str:
        """In words."""
        return f"{'epoch' if self.by == 'epoch' else 'training loss'} {self.at:.3g}"


def observe(run: RunFolder, quantity: str, place: Place, extrapolate: bool = False) -> Observation:
    """A quantity of a run at an epoch, or where its training loss first comes down to a level.

    Epochs must have been measured; nothing is interpolated between them. At a loss, values are interpolated as in
    `at_training_loss`; bounds are interpolated like values.

    Args:
        run: With its measurements in order of time.
        quantity: As in scalars.jsonl.
        place: Where.
        extrapolate: See `censored`.
    """

    def observed(measurement: Measurement) -> Observation:
        return _observed(measurement, quantity, run.spec.get("distance") == "cosine_similarity", extrapolate)

    if place.by == "epoch":
        near = [m for m in run.measurements if abs(m.epoch - place.at) <= _SAME_EPOCH * place.at]
        if not near:
            return _missing("not_measured")
        return observed(min(near, key=lambda m: abs(m.epoch - place.at)))
    kept = [m for m in run.measurements if math.isfinite(m.train.loss)]
    position = at_loss_level([m.train.loss for m in kept], list(range(len(kept))), place.at)
    if position.status != "ok":
        return _missing(position.status)
    before = math.floor(position.value)
    weight = position.value - before
    first = observed(kept[before])
    return first if weight == 0 else _between(first, observed(kept[before + 1]), weight)


def quantities(run: RunFolder) -> list[str]:
    """The names of what can be compared: all scalars but step, epoch and learning rate."""
    return [] if not run.measurements else list(scalar_row(run.measurements[0]))[3:]


def _observed(measurement: Measurement, quantity: str, is_similarity: bool, extrapolate: bool) -> Observation:
    if quantity.startswith(_LENGTH):
        pair_set = quantity.removeprefix(_LENGTH)
        if pair_set not in measurement.pair_sets:
            return _missing("not_measured")
        return censored(measurement[pair_set].critical_length, is_similarity, extrapolate)
    value = scalar_row(measurement).get(quantity, math.nan)
    if not math.isfinite(value):
        return _missing("undefined")
    return Observation(value, value, measurement.standard_errors().get(quantity, math.nan), "ok")


def censored(length: CriticalLength, is_similarity: bool = False, extrapolate: bool = False) -> Observation:
    """What a critical length says: a value inside the distances observed, a bound outside of them.

    A straight line that reaches 0 beyond the last pair says no more than that stiffness has not decayed where there are
    pairs. Where it does not fall significantly, there is no ξ to speak of, and none is made up.

    Args:
        length: ξ.
        is_similarity: Whether the nearest pairs have the largest values.
        extrapolate: Whether the zero of a straight line that falls is taken as ξ wherever it lies.
    """
    falls = length.status in ("extrapolated", "beyond", "all_nonpositive")
    if length.status == "ok" or (extrapolate and falls and math.isfinite(length.value)):
        return Observation(length.value, length.value, math.nan, "ok")
    above = Observation(length.distance_max, math.inf, math.nan, "censored")
    below = Observation(-math.inf, length.distance_min, math.nan, "censored")
    if length.status in ("extrapolated", "beyond"):
        found = below if is_similarity else above
    elif length.status == "all_nonpositive":
        found = above if is_similarity else below
    else:
        return _missing(length.status)
    return found if math.isfinite(length.distance_max) else _missing(length.status)


def _between(first: Observation, second: Observation, weight: float) -> Observation:
    if first.is_missing or second.is_missing:
        return first if first.is_missing else second
    low = (1 - weight) * first.low + weight * second.low
    high = (1 - weight) * first.high + weight * second.high
    error = (1 - weight) * first.se + weight * second.se
    return Observation(low, high, error, "ok" if first.status == second.status == "ok" else "censored")


def _missing(status: str) -> Observation:
    return Observation(math.nan, math.nan, math.nan, status)
