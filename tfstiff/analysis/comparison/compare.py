"""Compares groups of runs, quantity by quantity, at equal epochs and at equal training losses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfstiff.analysis.comparison.differences import Difference, difference
from tfstiff.analysis.comparison.groups import RATE, Group, extremes, families, group_runs
from tfstiff.analysis.comparison.milestones import default_milestones
from tfstiff.analysis.comparison.observations import ComparedRun, Milestone, Observation, observe
from tfstiff.analysis.comparison.over_seeds import OverSeeds, over_seeds
from tfstiff.analysis.comparison.trend import Trend, trend
from tfstiff.errors import InvalidInput
from tfstiff.records import METRICS, PAIR_SETS, scalar_row
from tfstiff.records.shown import Showing, Shown, from_above
from tfstiff.records.words import default_pair_set

_NOT_MEASURED = Observation(float("nan"), float("nan"), status="not_measured")
_NOT_COMPARED = ("step", "epoch", "learning_rate")


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Groups of runs, compared.

    Attributes:
        groups: Runs of the same settings.
        milestones: Where they are compared.
        quantities: What is compared.
        observations: By quantity, milestone and group, the observation of each seed.
        repeated: Runs left out, since another has the same settings and seed.
    """

    groups: tuple[Group, ...]
    milestones: tuple[Milestone, ...]
    quantities: tuple[str, ...]
    observations: dict[tuple[str, Milestone, int], dict[int, Observation]]
    repeated: tuple[ComparedRun, ...]

    def summary(self, quantity: str, milestone: Milestone, group: int) -> OverSeeds:
        """A group over its seeds."""
        return over_seeds(list(self.observations[quantity, milestone, group].values()))

    def difference(self, quantity: str, milestone: Milestone) -> tuple[int, int, Difference] | None:
        """How two groups differ, the only ones or those of the extreme learning rates; None where there are none."""
        ends = extremes(self.groups)
        if ends is None:
            return None
        first, second = (list(self.observations[quantity, milestone, group].values()) for group in ends)
        return *ends, difference(first, second)

    def trends(self, quantity: str, milestone: Milestone) -> list[tuple[dict[str, Any], Trend]]:
        """Whether a quantity goes up or down with the learning rate, for each choice of the other settings."""
        found = []
        for family in families(self.groups):
            by_seed = [self.observations[quantity, milestone, self.groups.index(group)] for group in family]
            seeds = sorted({seed for observations in by_seed for seed in observations})
            blocks = [[observations.get(seed, _NOT_MEASURED) for observations in by_seed] for seed in seeds]
            found.append((family[0].without(RATE), trend(blocks)))
        return found

    def run_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity, milestone and run."""
        return [
            {**self._where(quantity, milestone, group), "seed": seed, **asdict(observation)}
            for (quantity, milestone, group), observations in self.observations.items()
            for seed, observation in observations.items()
        ]

    def summary_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity, milestone and group."""
        return [{**self._where(*place), **asdict(self.summary(*place))} for place in self.observations]

    def difference_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity and milestone, where two groups can be set against one another."""
        rows = []
        for quantity, milestone in self._places():
            found = self.difference(quantity, milestone)
            if found is not None:
                first, second = (self.groups[group].label for group in found[:2])
                rows.append({**_named(quantity, milestone), "first": first, "second": second, **asdict(found[2])})
        return rows

    def trend_rows(self) -> list[dict[str, Any]]:
        """A row for each quantity, milestone and choice of the settings other than the learning rate."""
        return [
            {**_named(quantity, milestone), **settings, **asdict(found)}
            for quantity, milestone in self._places()
            for settings, found in self.trends(quantity, milestone)
        ]

    def _showing(self) -> Showing:
        return from_above("analysis.showings", "of_comparison")(self)

    def _places(self) -> Iterable[tuple[str, Milestone]]:
        return ((quantity, milestone) for quantity in self.quantities for milestone in self.milestones)

    def _where(self, quantity: str, milestone: Milestone, group: int) -> dict[str, Any]:
        return {**_named(quantity, milestone), **self.groups[group].settings}


def compare(
    runs: Sequence[ComparedRun],
    quantities: Sequence[str] | None = None,
    milestones: Sequence[Milestone] | None = None,
    *,
    extrapolate: bool = False,
) -> Comparison:
    """Compares runs.

    Args:
        runs: Each with at least one measurement.
        quantities: Names as in scalars.jsonl; None for `default_quantities`.
        milestones: Epochs and training losses; None for `default_milestones`.
        extrapolate: Whether the zero of a straight line is taken as ξ also where it lies beyond the distances observed;
            else it enters as a bound.

    Raises:
        InvalidInput: There is nothing to compare.
    """
    if not runs:
        raise InvalidInput("There is no run to compare.", expected="runs with at least one measurement")
    quantities = default_quantities(runs) if quantities is None else quantities
    milestones = default_milestones(runs) if milestones is None else milestones
    groups, repeated = group_runs(runs)
    places = [(q, milestone, index) for q in quantities for milestone in milestones for index in range(len(groups))]
    observations: dict[tuple[str, Milestone, int], dict[int, Observation]] = {place: {} for place in places}
    for index, group in enumerate(groups):  # run by run, so that what is read of a run need not be kept
        for seed, run in group.runs.items():
            for milestone in milestones:
                for quantity in quantities:
                    observations[quantity, milestone, index][seed] = observe(run, quantity, milestone, extrapolate)
    return Comparison(tuple(groups), tuple(milestones), tuple(quantities), observations, tuple(repeated))


def known_quantities(runs: Sequence[ComparedRun]) -> list[str]:
    """The names of what can be compared: all scalars but step, epoch and learning rate."""
    names = dict.fromkeys(name for run in runs for m in run.measurements[:1] for name in scalar_row(m))
    return [name for name in names if name not in _NOT_COMPARED]


def default_quantities(runs: Sequence[ComparedRun], pair_set: str | None = None) -> list[str]:
    """The stiffness and the critical length of one pair set, by the metrics that runs name.

    Args:
        runs: Each with at least one measurement.
        pair_set: None for the default one of those that all runs measured.
    """
    metrics = {metric for run in runs for metric in run.spec.get("metrics") or METRICS}
    left_out = tuple(f"stiffness_{metric}_" for metric in METRICS if metric not in metrics)
    chosen = pair_set or shared_pair_set(runs)
    return [name for name in known_quantities(runs) if name.endswith(f"_{chosen}") and not name.startswith(left_out)]


def shared_pair_set(runs: Sequence[ComparedRun]) -> str:
    """The default pair set of those that all runs measured; of runs that share none, the first run's."""
    measured = [run.measurements[-1].pair_sets for run in runs if run.measurements]
    shared = [name for name in PAIR_SETS if measured and all(name in one for one in measured)]
    return default_pair_set(shared or (measured[0] if measured else ()))


def _named(quantity: str, milestone: Milestone) -> dict[str, Any]:
    return {"quantity": quantity, "by": milestone.by, "at": milestone.at}
