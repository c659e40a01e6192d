"""When a run turned, by its losses and by its stiffness, and how far apart the two are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tfstiff.analysis.readings import PREFIX, times_of
from tfstiff.analysis.training_watch import TrainingWatch
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turning_points import log_lag
from tfstiff.errors import InvalidInput
from tfstiff.records import PAIR_SETS, Measurement, RunFolder
from tfstiff.records.words import default_pair_set

FEWEST_MEASUREMENTS = 2  # fewer have no turn that is worth a word
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
    return _with_stop(found, measurements, times_of(measurements)[0], events)


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
    watch = TrainingWatch(monitor, patience=patience, z=z, alpha=alpha)
    for measurement in measurements:
        watch.add(measurement)
    return found_by(watch)


def found_by(watch: TrainingWatch, events: Sequence[Mapping[str, Any]] = ()) -> TurningPoints:
    """What a watch has found so far.

    Args:
        watch: With at least one measurement.
        events: Of the training. Where `StopWhenStiffnessDrops` ended it, its turning point of stiffness is the one.
    """
    found = TurningPoints(**watch.rules, unit=watch.unit, monitor=watch.monitor)
    return _with_stop(found, watch.measurements, watch.times, events)


def _with_stop(
    found: TurningPoints,
    measurements: Sequence[Measurement],
    times: Sequence[float],
    events: Sequence[Mapping[str, Any]],
) -> TurningPoints:
    drops = [event for event in events if event.get("event") == DROPPED]
    steps = [measurement.step for measurement in measurements] if drops else []
    for event in drops:
        is_of_these = event.get("peak_step") in steps and event.get("step") in steps
        if is_of_these and event.get("monitor", found.monitor) == found.monitor:
            peak, last = steps.index(event["peak_step"]), steps.index(event["step"])
            drop = Turn("stiffness_drop", "confirmed", peak, times[peak], last, times[last])
            found = replace(found, stiffness_drop=drop)
    return found


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
