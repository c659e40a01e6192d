"""One quantity of one run at an epoch or a training loss, with what is known where it lies beyond what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tfstiff.analysis.loss_level import at_loss_level
from tfstiff.analysis.readings import reading, reading_of_length
from tfstiff.errors import InvalidInput
from tfstiff.records import CriticalLength, Measurement, RunFolder, scalar_row

_LENGTH = "stiffness_critical_length_"
_SPACE = "@"  # between the name of a critical length and the space that its distances are of
_SAME_EPOCH = 0.01  # measurements this near, relative to the epoch, are of the same one
_NAN = math.nan


class ComparedRun(Protocol):
    """What is compared: a run as it is read."""

    @property
    def folder(self) -> Path:
        """Where it is."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its settings."""

    @property
    def measurements(self) -> Sequence[Measurement]:
        """In order of time."""


@dataclass(frozen=True)
class Observation:
    """A quantity of a run.

    Attributes:
        low: Its value, or what it is at least: -inf where it is known only to lie below `high`.
        high: The same as `low` where the value is known; +inf where it is known only to lie above `low`.
        se: Standard error of drawing the probe's examples; NaN where there is none.
        interval_low: Lower end of the 95 % interval over that draw; NaN where there is none.
        interval_high: Its upper end.
        status: `ok`; `censored`, where only a bound is known; `extrapolated`, where the zero of a line was taken all
            the same; else why there is no value: `not_measured`, `not_reached`, `begins_below`, `undefined`, or the
            status of a critical length.
    """

    low: float
    high: float
    se: float = _NAN
    interval_low: float = _NAN
    interval_high: float = _NAN
    status: str = "ok"

    @property
    def is_missing(self) -> bool:
        """Whether nothing is known."""
        return math.isnan(self.low)

    @property
    def value(self) -> float:
        """The value; NaN where it is not known, or by a bound only."""
        return self.low if self.low == self.high else _NAN


@dataclass(frozen=True)
class Milestone:
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


def observe(run: ComparedRun, quantity: str, milestone: Milestone, extrapolate: bool = False) -> Observation:
    """A quantity of a run at an epoch, or where its training loss first comes down to a level.

    Epochs must have been measured; nothing is interpolated between them. At a loss, values are interpolated as in
    `at_loss_level`, and so are bounds and the ends of intervals: both measurements are of the same examples, and
    whatever their correlation, the error of the sum is at most the sum of the errors.

    Args:
        run: With its measurements in order of time.
        quantity: As in scalars.jsonl, or of `length_in_space`.
        milestone: Where.
        extrapolate: See `censored`.
    """
    if milestone.by == "epoch":
        found = measurement_at_epoch(run, milestone.at)
        return _missing("not_measured") if found is None else observe_measurement(run, found, quantity, extrapolate)
    kept = [m for m in run.measurements if math.isfinite(m.train.loss)]
    position = at_loss_level([m.train.loss for m in kept], list(range(len(kept))), milestone.at)
    if position.status != "ok":
        return _missing(position.status)
    before = math.floor(position.value)
    weight = position.value - before
    first = observe_measurement(run, kept[before], quantity, extrapolate)
    if weight == 0:
        return first
    return _between(first, observe_measurement(run, kept[before + 1], quantity, extrapolate), weight)


def measurement_at_epoch(run: ComparedRun, epoch: float) -> Measurement | None:
    """The measurement of an epoch, within one in a hundred; None where there is none."""
    near = [m for m in run.measurements if abs(m.epoch - epoch) <= _SAME_EPOCH * epoch]
    return min(near, key=lambda m: abs(m.epoch - epoch), default=None)


def observe_measurement(
    run: ComparedRun, measurement: Measurement, quantity: str, extrapolate: bool = False
) -> Observation:
    """A quantity of one measurement of a run; see `observe`."""
    if quantity.startswith(_LENGTH):
        pair_set, _, space = quantity.removeprefix(_LENGTH).partition(_SPACE)
        spaces = measurement.pair_sets[pair_set].spaces if pair_set in measurement.pair_sets else {}
        found = spaces.get(space) if space else next(iter(spaces.values()), None)
        if found is None:
            return _missing("not_measured")
        return censored(found.critical_length, run.spec.get("distance") == "cosine_similarity", extrapolate)
    try:
        read = reading(measurement, quantity)
    except InvalidInput:
        return _missing("not_measured")
    if not math.isfinite(read.value):
        return _missing("undefined")
    return Observation(read.value, read.value, read.se, read.low, read.high)


def censored(length: CriticalLength, is_similarity: bool = False, extrapolate: bool = False) -> Observation:
    """What a critical length says: a value inside the distances observed, a bound outside of them.

    A straight line that reaches 0 beyond the last pair says no more than that stiffness has not decayed where there are
    pairs. Where it does not fall significantly, there is no ξ to speak of, and none is made up.

    Args:
        length: ξ.
        is_similarity: Whether the nearest pairs have the largest values.
        extrapolate: Whether the zero of a straight line that falls is taken as ξ wherever it lies.
    """
    read = reading_of_length(length)
    falls = length.status in ("extrapolated", "beyond", "all_nonpositive")
    if length.status == "ok" or (extrapolate and falls and math.isfinite(read.value)):
        status = "ok" if length.status == "ok" else "extrapolated"
        return Observation(read.value, read.value, _NAN, read.low, read.high, status)
    if not falls or not math.isfinite(length.distance_max):
        return _missing(length.status)
    if (length.status == "all_nonpositive") != is_similarity:
        return Observation(-math.inf, length.distance_min, status="censored")
    return Observation(length.distance_max, math.inf, status="censored")


def length_in_space(pair_set: str, space: str) -> str:
    """The quantity that is the critical length of one space."""
    return f"{_LENGTH}{pair_set}{_SPACE}{space}"


def at_training_loss(
    source: RunFolder | Sequence[Measurement], level: float, *, extrapolate: bool = False
) -> dict[str, Observation]:
    """Every scalar of a run where its training loss first comes down to `level`; see `observe`.

    The training loss is the mean over the training half of the probe, in inference mode: a fixed sample, the same in
    all runs of one data set, seed and probe size. It is another sample than that of `StopAtTrainingLoss`, so a run that
    stopped at a loss may not have come down to just that loss here.

    Args:
        source: A run, or measurements in order of time.
        level: The training loss.
        extrapolate: Whether the zero of a straight line is taken as ξ also where it lies beyond the distances observed;
            else it is known by a bound.

    Returns:
        By name as in scalars.jsonl, step and epoch among them; without the training loss, which is `level` there.

    Raises:
        InvalidInput: The level is not a finite number, or there is no measurement.
    """
    run = source if isinstance(source, RunFolder) else _Measured(source)
    if not run.measurements:
        raise InvalidInput("There is no measurement to interpolate.", expected="at least one")
    names = [name for name in scalar_row(run.measurements[0]) if name != "train_loss"]
    return {name: observe(run, name, Milestone("train_loss", level), extrapolate) for name in names}


@dataclass(frozen=True)
class _Measured:
    """Measurements of a run of which nothing else is known."""

    measurements: Sequence[Measurement]
    folder: Path = Path()

    @property
    def spec(self) -> Mapping[str, Any]:
        return {}


def _between(first: Observation, second: Observation, weight: float) -> Observation:
    if first.is_missing or second.is_missing:
        return first if first.is_missing else second
    names = ("low", "high", "se", "interval_low", "interval_high")
    values = [(1 - weight) * getattr(first, name) + weight * getattr(second, name) for name in names]
    order = ("ok", "extrapolated", "censored")
    status = max(first.status, second.status, key=order.index)
    if "censored" in (first.status, second.status):  # a bound has no interval
        values[3:] = [_NAN, _NAN]
    return Observation(**dict(zip(names, values, strict=True)), status=status)


def _missing(status: str) -> Observation:
    return Observation(_NAN, _NAN, status=status)
