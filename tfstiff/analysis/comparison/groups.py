"""Runs that differ in nothing but the seed, put together."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfstiff.analysis.comparison.observations import ComparedRun
from tfstiff.records.settings import SEED, separates_runs
from tfstiff.records.shown import Brief
from tfstiff.records.words import settings_in_words

RATE, WEIGHTS = "learning_rate", "weights"


@dataclass(frozen=True, repr=False)
class Group(Brief):
    """Runs of the same settings, with a seed each.

    Attributes:
        settings: Those in which groups differ, and their values here.
        runs: By seed, in order.
    """

    settings: Mapping[str, Any]
    runs: Mapping[int, ComparedRun]

    @property
    def label(self) -> str:
        """The settings in words: `learning rate 0.0004`."""
        return settings_in_words(self.settings.items()) or "all runs"

    def without(self, name: str) -> dict[str, Any]:
        """The settings but for one."""
        return {key: value for key, value in self.settings.items() if key != name}


def settings_of(run: ComparedRun) -> dict[str, Any]:
    """A run's settings; learning rate and weights are those of its first measurement where no setting names them."""
    found: dict[str, Any] = {}
    for first in run.measurements[:1]:
        found = {RATE: first.learning_rate} if math.isfinite(first.learning_rate) else {}
        found[WEIGHTS] = first.weights
    return {**run.spec, **{name: value for name, value in found.items() if name not in run.spec}}


def separating_settings(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings in which runs differ, of those that separate runs (`tfstiff.records.settings`)."""
    names = filter(separates_runs, dict.fromkeys(name for one in settings for name in one))
    return [name for name in names if len({_key(one.get(name)) for one in settings}) > 1]


def group_runs(runs: Sequence[ComparedRun]) -> tuple[list[Group], list[ComparedRun]]:
    """Groups runs by everything but their seeds, in order of the settings' values.

    Args:
        runs: Runs. Those of a callback, which keep no settings, are told apart by their learning rates and by the
            weights that were measured, and count as seeds in their order.

    Returns:
        The groups, and the runs that were left out because another has the same settings and seed.
    """
    settings = [settings_of(run) for run in runs]
    varied = separating_settings(settings)
    found: dict[str, tuple[dict[str, Any], dict[int, ComparedRun]]] = {}
    repeated = []
    for position, (run, given) in enumerate(zip(runs, settings, strict=True)):
        own = {name: given.get(name, "unknown") for name in varied}
        by_seed = found.setdefault(_key(own), (own, {}))[1]
        seed = int(given.get(SEED, position))
        if seed in by_seed:
            repeated.append(run)
        else:
            by_seed[seed] = run
    groups = [Group(own, dict(sorted(by_seed.items()))) for own, by_seed in found.values()]
    return sorted(groups, key=lambda group: [_order(value) for value in group.settings.values()]), repeated


def families(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups that differ in their learning rate only, three or more, in its order."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        if isinstance(group.settings.get(RATE), int | float):
            found.setdefault(_key(group.without(RATE)), []).append(group)
    return [sorted(one, key=lambda group: group.settings[RATE]) for one in found.values() if len(one) >= 3]


def extremes(groups: Sequence[Group]) -> tuple[int, int] | None:
    """The only two groups, or those of the smallest and the largest learning rate where nothing else differs."""
    if len(groups) > 2 and any(set(group.settings) != {RATE} for group in groups):
        return None
    return (0, len(groups) - 1) if len(groups) > 1 else None


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before everything else."""
    if isinstance(value, int | float):
        return False, float(value), ""
    return True, 0.0, _key(value)
