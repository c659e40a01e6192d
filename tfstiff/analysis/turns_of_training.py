"""When a run turned, by its losses and by its stiffness, and how far apart the two are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfstiff.analysis.curve import Curve
from tfstiff.analysis.readings import PREFIX, Reading, loss_influence, reading, times_of
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turning_points import departure, generalization_loss, log_lag, turning_point
from tfstiff.errors import InvalidInput
from tfstiff.records import PAIR_SETS, Measurement, RunFolder
from tfstiff.records.words import default_pair_set

FEWEST_MEASUREMENTS = 2  # fewer have no turn that is worth a word
LEARNT_SHARE = 0.25  # by which the training loss must have come down before a turn of stiffness is told
DROPPED = "stiffness_dropped"  # the event of StopWhenStiffnessDrops, whose module imports TensorFlow


@dataclass(frozen=True)
class TurningPoints:
    """When a training turned, by several rules, and how they compare.

    Those of the losses tell overfitting; that of stiffness does not (see docs/reproduction.md).

    Attributes:
        stiffness_drop: Turning point of the stiffness, confirmed by a drop; of the measurements that count by
            `StiffnessTurnsLate`.
        validation_minimum: Turning point of the validation loss, confirmed by a rise.
        generalization_loss: When the validation loss was first some per cent above its lowest (Prechelt 1998).
        gap_growth: First significant growth of the gap between validation and training loss; `unavailable` where the
            records do not hold the examples' losses.
        unit: Of the times: "epoch", "step", or "measurement" (0, 1, 2, …) where neither is known.
        monitor: The scalar that the stiffness is.
    """

    stiffness_drop: Turn
    validation_minimum: Turn
    generalization_loss: Turn
    gap_growth: Turn
    unit: str
    monitor: str

    @property
    def rules(self) -> dict[str, Turn]:
        """The turns by the names of their rules, those of the losses first."""
        found = (self.validation_minimum, self.generalization_loss, self.gap_growth, self.stiffness_drop)
        return {turn.rule: turn for turn in found}

    @property
    def lag(self) -> float:
        """log10(t_S / t_L): decades by which stiffness turns after the validation loss does; NaN where one does not."""
        return log_lag(self.stiffness_drop, self.validation_minimum)


def turns_of(
    measurements: Sequence[Measurement], spec: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = ()
) -> TurningPoints | None:
    """The turns of a run as everything shows them: by its own monitor.

    Where `StopWhenStiffnessDrops` ended the training, its turning point of stiffness is the one.

    Args:
        measurements: In order of time.
        spec: The run's settings, of which `stiffness_monitor` is looked at. What was not measured is not monitored.
        events: The run's.

    Returns:
        None for fewer than two measurements.
    """
    if len(measurements) < FEWEST_MEASUREMENTS:
        return None
    named = spec.get("stiffness_monitor")
    monitor = named if isinstance(named, str) else None
    try:
        found = turning_points(measurements, monitor)
    except InvalidInput:  # records of other settings than these
        found = turning_points(measurements)
    steps = [measurement.step for measurement in measurements]
    for event in events:
        is_of_these = event.get("peak_step") in steps and event.get("step") in steps
        if event.get("event") == DROPPED and is_of_these and event.get("monitor", found.monitor) == found.monitor:
            peak, last = steps.index(event["peak_step"]), steps.index(event["step"])
            times = times_of(measurements)[0]
            drop = Turn("stiffness_drop", "confirmed", peak, times[peak], last, times[last])
            found = replace(found, stiffness_drop=drop)
    return found


def turning_points(
    source: RunFolder | Sequence[Measurement],
    monitor: str | None = None,
    *,
    patience: int = 3,
    z: float = 3.0,
    alpha: float = 5.0,
) -> TurningPoints:
    """Applies all rules for turning points to a run.

    Errors are those of differences between measurements of the same examples (see `tfstiff.analysis.curve`). Losses
    and stiffness are those of the probe.

    Args:
        source: A run, or measurements in order of time.
        monitor: The stiffness: a name in `Measurement.scalars()`. None is `default_monitor`.
        patience: Measurements in a row that confirm a turning point.
        z: Standard errors by which they do.
        alpha: Per cent of generalization loss.

    Raises:
        InvalidInput: There is no measurement, or no such scalar.
    """
    measurements = list(source.measurements if isinstance(source, RunFolder) else source)
    if not measurements:
        raise InvalidInput("There is no measurement to find a turn in.", expected="at least one")
    monitor = chosen_monitor(monitor, tuple(dict.fromkeys(name for m in measurements for name in m.scalars())))
    when, unit = times_of(measurements)
    nothing = Reading(math.nan)
    losses = np.array([(m.train.loss, m.validation.loss) for m in measurements])
    readings = [reading(m, monitor) if monitor in m.scalars() else nothing for m in measurements]
    is_late = StiffnessTurnsLate()
    counts = [is_late.add(one.value, loss) for one, loss in zip(readings, losses[:, 0], strict=True)]
    stiffness = _curve(when, readings, np.array(counts))
    influence = _stacked([loss_influence(m.validation) for m in measurements])
    validation = Curve(when, losses[:, 1], influence=influence)
    gap_influence = _stacked([_gap_influence(m) for m in measurements])
    gap_growth = Turn("gap_growth", "unavailable")
    if gap_influence is not None:
        gap = Curve(when, losses[:, 1] - losses[:, 0], influence=gap_influence)
        gap_growth = departure(-gap, "gap_growth", patience=patience, z=z)
    return TurningPoints(
        stiffness_drop=turning_point(stiffness, "stiffness_drop", patience=patience, z=z),
        validation_minimum=turning_point(-validation, "validation_minimum", patience=patience, z=z),
        generalization_loss=generalization_loss(validation, alpha=alpha),
        gap_growth=gap_growth,
        unit=unit,
        monitor=monitor,
    )


class StiffnessTurnsLate:
    """Says of each measurement whether a turn of stiffness may be there.

    Stiffness changes most while a network that knows nothing yet begins to learn: the within-class cosine falls in the
    first fraction of an epoch, at an accuracy of a fifth. That is no turn from learning to memorising. So a turn is one
    of the measurements from that on at which the training loss has come down by a quarter of what it was first, and
    stiffness is as high as it ever was: a curve that falls from the beginning has none.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._highest = -math.inf
        self._counts = False

    def add(self, value: float, loss: float) -> bool:
        """Takes the next measurement.

        Args:
            value: The stiffness; NaN where there is none.
            loss: Of the train half of the probe.
        """
        if self._first is None:
            self._first = loss
        has_learnt = loss <= self._first - LEARNT_SHARE * abs(self._first)
        self._counts |= has_learnt and value >= self._highest
        if value > self._highest:
            self._highest = value
        return self._counts


def turn_details(turn: Turn, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """A turn in steps and epochs, as JSON can hold it: None where there is none.

    Args:
        turn: Found in these measurements.
        measurements: In order of time.
    """
    when = {"turn": turn.index, "confirmed": turn.confirmed_index}
    return {"status": turn.status} | {
        f"{name}_{unit}": getattr(measurements[index], unit) if index >= 0 else None
        for name, index in when.items()
        for unit in ("step", "epoch")
    }


def chosen_monitor(monitor: str | None, scalars: Sequence[str]) -> str:
    """The whole name of the scalar in which the turn is looked for.

    Args:
        monitor: Its name, with or without `stiffness_` before it; None means the cosine of the default pair set, within
            classes where there are any.
        scalars: Names of all that is measured.

    Raises:
        InvalidInput: It is none of these.
    """
    if monitor is None:
        pair_set = default_pair_set(name for name in PAIR_SETS if any(scalar.endswith(name) for scalar in scalars))
        part = "within" if any("_within_" in scalar for scalar in scalars) else "mean"
        return f"{PREFIX}cosine_{part}_{pair_set}"
    found = PREFIX + monitor.removeprefix(PREFIX)
    if found not in scalars:
        raise InvalidInput("Unknown scalar to monitor.", expected=", ".join(scalars), received=monitor)
    return found


def _curve(when: Sequence[float], readings: Sequence[Reading], counts: np.ndarray) -> Curve:
    values, errors = np.array([(one.value, one.se) for one in readings]).T
    values[~counts] = math.nan
    measured = np.isfinite(values)
    influence = _stacked([one.influence for one, is_known in zip(readings, measured, strict=True) if is_known])
    if influence is not None:
        whole = np.zeros((len(readings), *influence.shape[1:]))
        whole[measured] = influence
        influence = whole
    return Curve(when, values, errors if np.isfinite(errors).any() else None, influence)


def _gap_influence(measurement: Measurement) -> np.ndarray | None:
    train, validation = (loss_influence(half) for half in (measurement.train, measurement.validation))
    return None if train is None or validation is None else np.concatenate([-train, validation])


def _stacked(influences: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """(T, E); None where one measurement has none, or they are of different examples."""
    known = [influence for influence in influences if influence is not None]
    if len(known) < len(influences) or len({len(influence) for influence in known}) > 1:
        return None
    return np.array(known)
