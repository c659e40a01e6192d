"""Runs that differ in nothing but the seed, put together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfstiff.records import RunFolder
from tfstiff.records.settings import SEED, separates_runs
from tfstiff.records.words import settings_in_words

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Group:
    """Runs of the same settings, with a seed each.

    Attributes:
        settings: Those in which groups differ, and their values here.
        runs: By seed, in order.
    """

    settings: Mapping[str, Any]
    runs: Mapping[int, RunFolder]

    @property
    def label(self) -> str:
        """The settings in words: `learning rate 0.0004`."""
        return settings_in_words(self.settings.items()) or "all runs"

    def without(self, name: str) -> dict[str, Any]:
        """The settings but for one."""
        return {key: value for key, value in self.settings.items() if key != name}


def group_runs(runs: Sequence[RunFolder]) -> tuple[list[Group], list[RunFolder]]:
    """Groups runs by everything but their seeds, in order of the settings' values.

    Args:
        runs: Runs with settings, such as those of `tfstiff run`. Those of a callback, which have none, are told apart
            by nothing, and count as seeds in their order.

    Returns:
        The groups, and the runs that were left out because another has the same settings and seed.
    """
    names = filter(separates_runs, dict.fromkeys(name for run in runs for name in run.spec))
    varied = [name for name in names if len({_key(run.spec.get(name)) for run in runs}) > 1]
    found: dict[str, tuple[dict[str, Any], dict[int, RunFolder]]] = {}
    repeated = []
    for position, run in enumerate(runs):
        settings = {name: run.spec.get(name, _UNKNOWN) for name in varied}
        by_seed = found.setdefault(_key(settings), (settings, {}))[1]
        seed = int(run.spec.get(SEED, position))
        if seed in by_seed:
            repeated.append(run)
        else:
            by_seed[seed] = run
    groups = [Group(settings, dict(sorted(by_seed.items()))) for settings, by_seed in found.values()]
    return sorted(groups, key=lambda group: [_order(value) for value in group.settings.values()]), repeated


def families(groups: Sequence[Group], setting: str = "learning_rate") -> list[list[Group]]:
    """Groups that differ in one setting only, three or more, in order of its value."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        if isinstance(group.settings.get(setting), int | float):
            found.setdefault(_key(group.without(setting)), []).append(group)
    return [sorted(one, key=lambda group: group.settings[setting]) for one in found.values() if len(one) >= 3]


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, before everything else."""
    if isinstance(value, int | float):
        return False, float(value), ""
    return True, 0.0, _key(value)
