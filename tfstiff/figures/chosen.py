"""A run as some of it is drawn: some pair sets, metrics, stages of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tfstiff.errors import InvalidInput
from tfstiff.records import Measurement, RunFolder
from tfstiff.records.words import default_pair_set


@dataclass(frozen=True, repr=False)
class ChosenRun(RunFolder):
    """A run of which figures see a part.

    Attributes:
        pair_sets: Those that are drawn; all where empty.
        metrics: Those that are drawn; as the settings say where empty.
        stages: Epochs, of which each stands for the measurement nearest to it; all measurements where empty.
    """

    pair_sets: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    stages: tuple[float, ...] = ()

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The settings, of which the metrics are those chosen."""
        return self._whole.spec | ({"metrics": list(self.metrics)} if self.metrics else {})

    @cached_property
    def measurements(self) -> list[Measurement]:
        """Those of the stages, with the pair sets that are chosen.

        Raises:
            InvalidInput: None of the pair sets was measured, or epochs are not known.
        """
        found = at_epochs(self._whole.measurements, self.stages) if self.stages else self._whole.measurements
        return [_with_pair_sets(one, self.pair_sets) for one in found] if self.pair_sets else found

    def of_stages(self, *, are_chosen: bool) -> ChosenRun:
        """The same with its stages, or, for what is drawn over time, with all measurements."""
        return self if are_chosen or not self.stages else replace(self, stages=())

    @cached_property
    def _whole(self) -> RunFolder:
        return RunFolder(Path(self.folder))


def chosen_pair_sets(source: object, measured: Sequence[str]) -> list[str]:
    """The pair sets of a figure that has room for one: those that were asked for, else the one that stands for all."""
    if isinstance(source, ChosenRun) and source.pair_sets:
        return [one for one in measured if one in source.pair_sets]
    return [default_pair_set(measured)]


def at_epochs(measurements: Sequence[Measurement], epochs: Sequence[float]) -> list[Measurement]:
    """The measurements nearest to some epochs, each once, in order of time.

    Raises:
        InvalidInput: Their epochs are not known.
    """
    known = [one for one in measurements if math.isfinite(one.epoch)]
    if measurements and not known:
        raise InvalidInput("The epochs of these measurements are not known.", remedy="Leave out --stage.")
    nearest = {min(range(len(known)), key=lambda index: abs(known[index].epoch - epoch)) for epoch in epochs if known}
    return [known[index] for index in sorted(nearest)]


def _with_pair_sets(measurement: Measurement, names: Sequence[str]) -> Measurement:
    chosen = {name: measurement.pair_sets[name] for name in names if name in measurement.pair_sets}
    if not chosen:
        raise InvalidInput(
            "These pairs were not measured.", expected=", ".join(measurement.pair_sets), received=", ".join(names)
        )
    layers = {
        layer: {name: sets[name] for name in chosen if name in sets} for layer, sets in measurement.layers.items()
    }
    return replace(measurement, pair_sets=chosen, layers=layers)
