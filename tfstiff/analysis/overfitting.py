"""When a run began to overfit: by its losses, by its stiffness, and how far apart the two are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfstiff.analysis.curve import Curve
from tfstiff.analysis.turning_points import Onset, departure, generalization_loss, log_lag, turning_point
from tfstiff.errors import InvalidInput
from tfstiff.records import METRICS, PAIR_SETS, HalfSummary, Measurement, RunFolder
from tfstiff.records.words import default_pair_set

_PREFIX = "stiffness_"


@dataclass(frozen=True)
class OverfittingOnset:
    """The onset of overfitting by several rules, and how they compare.

    Attributes:
        stiffness_drop: Turning point of the stiffness, confirmed by a drop.
        validation_minimum: Turning point of the validation loss, confirmed by a rise.
        generalization_loss: When the validation loss was first some per cent above its lowest (Prechelt 1998).
        gap_growth: First significant growth of the gap between validation and training loss; `unavailable` where the
            records do not hold the examples' losses.
        unit: Of the times: "epoch", "step", or "measurement" (0, 1, 2, …) where neither is known.
        monitor: The scalar that the stiffness is.
    """

    stiffness_drop: Onset
    validation_minimum: Onset
    generalization_loss: Onset
    gap_growth: Onset
    unit: str
    monitor: str

    @property
    def rules(self) -> dict[str, Onset]:
        """The onsets by the names of their rules."""
        found = (self.stiffness_drop, self.validation_minimum, self.generalization_loss, self.gap_growth)
        return {onset.rule: onset for onset in found}

    @property
    def lag(self) -> float:
        """log10(t_S / t_L): decades by which stiffness turns after the validation loss does; NaN where one does not."""
        return log_lag(self.stiffness_drop, self.validation_minimum)


def overfitting_onset(
    source: RunFolder | Sequence[Measurement],
    monitor: str | None = None,
    *,
    patience: int = 3,
    z: float = 3.0,
    alpha: float = 5.0,
) -> OverfittingOnset:
    """Applies all rules for the onset of overfitting to a run.

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
        raise InvalidInput("There is no measurement to find an onset in.", expected="at least one")
    monitor = chosen_monitor(monitor, tuple(measurements[0].scalars()))
    when, unit = times_of(measurements)
    readings = [reading(measurement, monitor) for measurement in measurements]
    stiffness = Curve(
        when,
        [one.value for one in readings],
        [one.se for one in readings] if any(math.isfinite(one.se) for one in readings) else None,
        _stacked([one.influence for one in readings]),
    )
    losses = np.array([(m.train.loss, m.validation.loss) for m in measurements])
    influence = _stacked([_loss_influence(m.validation) for m in measurements])
    validation = Curve(when, losses[:, 1], influence=influence)
    gap_influence = _stacked([_gap_influence(m) for m in measurements])
    gap_growth = Onset("gap_growth", "unavailable")
    if gap_influence is not None:
        gap = Curve(when, losses[:, 1] - losses[:, 0], influence=gap_influence)
        gap_growth = departure(-gap, "gap_growth", patience=patience, z=z)
    return OverfittingOnset(
        stiffness_drop=turning_point(stiffness, "stiffness_drop", patience=patience, z=z),
        validation_minimum=turning_point(-validation, "validation_minimum", patience=patience, z=z),
        generalization_loss=generalization_loss(validation, alpha=alpha),
        gap_growth=gap_growth,
        unit=unit,
        monitor=monitor,
    )


def onset_details(onset: Onset, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """An onset in steps and epochs, as JSON can hold it: None where there is none.

    Args:
        onset: Found in these measurements.
        measurements: In order of time.
    """
    when = {"onset": onset.index, "confirmed": onset.confirmed_index}
    return {"status": onset.status} | {
        f"{name}_{unit}": getattr(measurements[index], unit) if index >= 0 else None
        for name, index in when.items()
        for unit in ("step", "epoch")
    }


def default_monitor(has_classes: bool, pair_sets: Sequence[str] = PAIR_SETS) -> str:
    """The scalar in which the onset is looked for: the cosine, within classes where there are any.

    It is that of `train_val`, or of the first pair set where that was not measured.
    """
    return f"{_PREFIX}cosine_{'within' if has_classes else 'mean'}_{default_pair_set(pair_sets)}"


def chosen_monitor(monitor: str | None, scalars: Sequence[str]) -> str:
    """The whole name of the scalar in which the onset is looked for.

    Args:
        monitor: Its name, with or without `stiffness_` before it; None means `default_monitor`.
        scalars: Names of all that is measured.

    Raises:
        InvalidInput: It is none of these.
    """
    if monitor is None:
        pair_sets = [name for name in PAIR_SETS if any(scalar.endswith(name) for scalar in scalars)]
        return default_monitor(any("_within_" in scalar for scalar in scalars), pair_sets)
    found = _PREFIX + monitor.removeprefix(_PREFIX)
    if found not in scalars:
        raise InvalidInput("Unknown scalar to monitor.", expected=", ".join(scalars), received=monitor)
    return found


@dataclass(frozen=True)
class Reading:
    """One scalar of a measurement, with its errors.

    Attributes:
        value: The scalar.
        se: Its standard error; NaN where it is not known.
        influence: (E,) the part of each example in it, whose squares add up to the variance; None where not known.
    """

    value: float
    se: float
    influence: np.ndarray | None


def reading(measurement: Measurement, monitor: str) -> Reading:
    """Reads one scalar of a measurement with its errors.

    Args:
        measurement: The measurement.
        monitor: A name in `Measurement.scalars()`, with or without `stiffness_` before it.

    Raises:
        InvalidInput: The measurement has no such scalar.
    """
    scalars = measurement.scalars()
    name = chosen_monitor(monitor, tuple(scalars))
    influence = None
    for pair_set, metric, part in itertools.product(measurement.pair_sets, METRICS, ("within", "between")):
        by_class = getattr(measurement[pair_set], metric)
        if name == f"{_PREFIX}{metric}_{part}_{pair_set}":
            influence = getattr(by_class, f"{part}_influence")
        elif name == f"{_PREFIX}{metric}_block_contrast_{pair_set}":
            influence = by_class.blocks.contrast_influence
    return Reading(scalars[name], measurement.standard_errors()[name], influence)


def times_of(measurements: Sequence[Measurement]) -> tuple[np.ndarray, str]:
    """The time of each measurement and its unit: epoch, else step, else measurement (0, 1, 2, …).

    Epochs are not known of every training, and a model fitted anew may repeat them: a unit must increase.
    """
    for unit in ("epoch", "step"):
        when = np.array([getattr(measurement, unit) for measurement in measurements], np.float64)
        if np.isfinite(when).all() and (when >= 0).all() and (np.diff(when) > 0).all():
            return when, unit
    return np.arange(len(measurements), dtype=np.float64), "measurement"


def _loss_influence(half: HalfSummary) -> np.ndarray | None:
    """(n,) the part of each example in the error of the mean loss; None where their losses are not known."""
    if half.scores is None or half.num_examples < 2:
        return None
    loss = half.scores.loss
    return (loss - loss.mean()) / math.sqrt(len(loss) * (len(loss) - 1))


def _gap_influence(measurement: Measurement) -> np.ndarray | None:
    train, validation = (_loss_influence(half) for half in (measurement.train, measurement.validation))
    return None if train is None or validation is None else np.concatenate([-train, validation])


def _stacked(influences: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """(T, E); None where one measurement has none, or they are of different examples."""
    known = [influence for influence in influences if influence is not None]
    if len(known) < len(influences) or len({len(influence) for influence in known}) > 1:
        return None
    return np.array(known)
