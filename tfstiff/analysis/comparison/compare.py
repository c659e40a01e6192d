"""Compares groups of runs, quantity by quantity, at equal epochs and at equal training losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfstiff.analysis.comparison.groups import Group, families, group_runs
from tfstiff.analysis.comparison.observations import Observation, Place, observe
from tfstiff.analysis.comparison.over_seeds import OverSeeds, over_seeds
from tfstiff.analysis.comparison.trend import Trend, trend
from tfstiff.errors import InvalidInput
from tfstiff.records import RunFolder

_NUM_DEFAULT = 3


@dataclass(frozen=True)
class Comparison:
    """Groups of runs, compared.

    Attributes:
        groups: Runs of the same settings.
        places: Where they are compared.
        quantities: What is compared.
        observations: By quantity, place and group, the observation of each seed.
        repeated: Runs left out, since another has the same settings and seed.
    """

    groups: tuple[Group, ...]
    places: tuple[Place, ...]
    quantities: tuple[str, ...]
    observations: dict[tuple[str, Place, int], dict[int, Observation]]
    repeated: tuple[RunFolder, ...]

    def summary(self, quantity: str, place: Place, group: int) -> OverSeeds:
        """A group over its seeds."""
        return over_seeds(list(self.observations[quantity, place, group].values()))

    def trends(self, quantity: str, place: Place) -> list[tuple[dict[str, Any], Trend]]:
        """Whether a quantity goes up or down with the learning rate, for each choice of the other settings."""
        found = []
        for family in families(self.groups):
            by_seed = [self.observations[quantity, place, self.groups.index(group)] for group in family]
            seeds = sorted({seed for observations in by_seed for seed in observations})
            absent = Observation(math.nan, math.nan, math.nan, "not_measured")
            blocks = [[observations.get(seed, absent) for observations in by_seed] for seed in seeds]
            found.append((family[0].without("learning_rate"), trend(blocks)))
        return found

    def run_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity, place and run."""
        return [
            {**self._where(quantity, place, group), "seed": seed, **asdict(observation)}
            for (quantity, place, group), observations in self.observations.items()
            for seed, observation in observations.items()
        ]

    def summary_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity, place and group."""
        return [
            {**self._where(quantity, place, group), **asdict(self.summary(quantity, place, group))}
            for quantity, place, group in self.observations
        ]

    def trend_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity, place and choice of the settings other than the learning rate."""
        return [
            {"quantity": quantity, "by": place.by, "at": place.at, **settings, **asdict(found)}
            for quantity in self.quantities
            for place in self.places
            for settings, found in self.trends(quantity, place)
        ]

    def _where(self, quantity: str, place: Place, group: int) -> dict[str, Any]:
        return {"quantity": quantity, "by": place.by, "at": place.at, **self.groups[group].settings}


def compare(
    runs: Sequence[RunFolder], quantities: Sequence[str], places: Sequence[Place], *, extrapolate: bool = False
) -> Comparison:
    """Compares runs.

    Args:
        runs: Each with at least one measurement.
        quantities: Names as in scalars.jsonl.
        places: Epochs and training losses.
        extrapolate: Whether the zero of a straight line is taken as ξ also where it lies beyond the distances observed;
            else it enters as a bound.

    Raises:
        InvalidInput: There is nothing to compare.
    """
    if not runs:
        raise InvalidInput("There is no run to compare.", expected="runs with at least one measurement")
    groups, repeated = group_runs(runs)
    observations = {
        (quantity, place, index): {seed: observe(run, quantity, place, extrapolate) for seed, run in group.runs.items()}
        for quantity in quantities
        for place in places
        for index, group in enumerate(groups)
    }
    return Comparison(tuple(groups), tuple(places), tuple(quantities), observations, tuple(repeated))


def common_epochs(runs: Sequence[RunFolder], most: int = _NUM_DEFAULT) -> list[Place]:
    """Epochs, after initialisation, at which all runs were measured: the last, and others far apart by their ratio."""
    measured = [[m.epoch for m in run.measurements if m.epoch > 0] for run in runs]
    common = [
        epoch
        for epoch in (measured[0] if measured else [])
        if all(any(abs(other - epoch) <= 1e-6 * epoch for other in epochs) for epochs in measured)
    ]
    whole = [epoch for epoch in common if epoch == round(epoch)]
    common = whole if len(whole) >= most else common
    return [Place("epoch", epoch) for epoch in _spread(common, most)]


def common_losses(runs: Sequence[RunFolder], most: int = _NUM_DEFAULT) -> list[Place]:
    """Training losses that all runs came down to: those that all were to measure at, or else some between them."""
    asked = [tuple(run.spec.get("stop_at_loss") or ()) for run in runs]
    reached, started = [], []
    for run in runs:
        losses = [m.train.loss for m in run.measurements if math.isfinite(m.train.loss)]
        if losses:
            reached.append(min(losses))
            started.append(losses[0])
    if not reached or min(started) <= max(reached) or max(reached) <= 0:
        return []
    shared = sorted(set(asked[0]).intersection(*asked), reverse=True)
    if shared:
        return [Place("train_loss", loss) for loss in shared]
    between = np.geomspace(min(started), max(reached), most + 1)[1:]
    rounded = [_rounded_up(loss) for loss in between.tolist()]
    return [Place("train_loss", loss) for loss in dict.fromkeys(rounded) if loss < min(started)]


def _spread(values: Sequence[float], most: int) -> list[float]:
    """The last of increasing values, and others such that their ratios are alike."""
    if len(values) <= most:
        return list(values)
    wanted = np.geomspace(values[0], values[-1], most)
    return sorted({min(values, key=lambda value: abs(math.log(value / target))) for target in wanted})


def _rounded_up(loss: float) -> float:
    """To two digits, so that a run that comes down to `loss` comes down to it."""
    digits = 1 - math.floor(math.log10(loss))
    return round(math.ceil(loss * 10**digits) / 10**digits, max(0, digits))
