"""The rules of `turning_points` on a training that goes on, at a cost that hardly grows with its measurements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfstiff.analysis.readings import Reading, loss_influence, reading
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turning_points import TurnWatch, departure, generalization_loss, turning_point
from tfstiff.records import Measurement

LEARNT_SHARE = 0.25  # by which the training loss must have come down before a turn of stiffness is told


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


class TrainingWatch:
    """Applies all rules for turning points to measurements, one by one.

    Args:
        monitor: The stiffness: a name in `Measurement.scalars()`.
        patience: Measurements in a row that confirm a turning point.
        z: Standard errors by which they do.
        alpha: Per cent of generalization loss.

    Attributes:
        monitor: As given.
        measurements: Those that were taken.
        times: Of each.
        unit: Of the times: as `tfstiff.analysis.readings.times_of` has it.
    """

    def __init__(self, monitor: str, *, patience: int = 3, z: float = 3.0, alpha: float = 5.0) -> None:
        self.monitor = monitor
        self._drop, self._alpha = {"patience": patience, "z": z}, {"alpha": alpha}
        self._units = {"epoch": -math.inf, "step": -math.inf}  # that increase so far, with the last of each
        self.measurements: list[Measurement] = []
        self._begin()

    def add(self, measurement: Measurement) -> None:
        """Takes the next measurement."""
        for unit, last in list(self._units.items()):
            time = float(getattr(measurement, unit))
            if max(last, 0) <= time < math.inf and time != last:
                self._units[unit] = time
            else:
                del self._units[unit]
        self.measurements.append(measurement)
        if self.unit == next(iter(self._units), "measurement"):
            self._take(measurement)
            return
        self._begin()  # in another unit everything is looked at again
        for one in self.measurements:
            self._take(one)

    @property
    def rules(self) -> dict[str, Turn]:
        """The turns of the measurements so far, by the names of their rules."""
        found = {name: watch.turn for name, watch in self._watches.items()}
        return found if self._has_gap else found | {"gap_growth": Turn("gap_growth", "unavailable")}

    def _begin(self) -> None:
        self.unit = next(iter(self._units), "measurement")
        self.times: list[float] = []
        self._is_late = StiffnessTurnsLate()
        self._has_gap = True
        self._gap_size: int | None = None
        self._watches = {
            name: TurnWatch(rule, name=name, goes_on=True, **options)
            for name, rule, options in (
                ("stiffness_drop", turning_point, self._drop),
                ("validation_minimum", turning_point, self._drop),
                ("generalization_loss", generalization_loss, self._alpha),
                ("gap_growth", departure, self._drop),
            )
        }

    def _take(self, m: Measurement) -> None:
        self.times.append(float(len(self.times) if self.unit == "measurement" else getattr(m, self.unit)))
        found = reading(m, self.monitor) if self.monitor in m.scalars() else Reading(math.nan)
        stiffness = found.value if self._is_late.add(found.value, m.train.loss) else math.nan
        self._add("stiffness_drop", stiffness, found.se, found.influence)
        train, validation = (loss_influence(half) for half in (m.train, m.validation))
        self._add("validation_minimum", -m.validation.loss, math.nan, validation)
        self._add("generalization_loss", m.validation.loss, math.nan, validation)
        gap = None if train is None or validation is None else np.concatenate([-train, validation])
        self._gap_size = len(gap) if gap is not None and self._gap_size is None else self._gap_size
        self._has_gap &= gap is not None and len(gap) == self._gap_size
        if self._has_gap:
            self._add("gap_growth", m.train.loss - m.validation.loss, math.nan, gap)

    def _add(self, name: str, value: float, *errors: Any) -> None:
        self._watches[name].add(self.times[-1], value, *errors)
