"""The trials of a sweep: every combination of the settings' values, each with a name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tfstiff.errors import InvalidInput
from tfstiff.runs.spec import RunSpec
from tfstiff.sweeps.identity import spec_hash

# By setting: what it is called on the command line, where that is shorter.
_SHORT = {
    name: field.metadata["flag"] for name, field in RunSpec.__dataclass_fields__.items() if "flag" in field.metadata
}
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        name: Of its folder in `trials/`.
        spec: What to run.
    """

    name: str
    spec: RunSpec

    @cached_property
    def hash(self) -> str:
        """Of the specification."""
        return spec_hash(self.spec)


def grid(axes: Mapping[str, Sequence[Any]]) -> list[RunSpec]:
    """Every combination of values, without repetitions.

    Seeds change last, so that a sweep that is not finished has whole comparisons of fewer seeds.

    Args:
        axes: For each setting of `RunSpec`, and `preset`, the values it takes.

    Raises:
        InvalidInput: A setting has no value, or a combination is not a valid specification.
    """
    for name, values in axes.items():
        if not values:
            raise InvalidInput("A setting of a sweep needs a value.", received=name)
    names = sorted(axes, key=lambda name: name != "seed")
    combinations = itertools.product(*(axes[name] for name in names))
    return distinct(_spec(dict(zip(names, values, strict=True))) for values in combinations)


def distinct(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """The specifications in their order, each once."""
    return list({spec_hash(spec): spec for spec in specs}.values())


def varied_settings(specs: Sequence[RunSpec]) -> list[str]:
    """The settings in which specifications differ, the seed last."""
    settings = [spec.as_config() for spec in specs]
    names = [name for name in settings[0] if any(one[name] != settings[0][name] for one in settings)] if specs else []
    return sorted(names, key=lambda name: name == "seed")


def named(specs: Sequence[RunSpec], existing: Sequence[Trial] = ()) -> list[Trial]:
    """Gives each specification a name that says how it differs from the others, such as `lr0.0004-seed1`.

    Args:
        specs: All of the sweep, each once.
        existing: Trials that have a name already, and keep it.
    """
    varied = varied_settings(specs)
    names = {trial.hash: trial.name for trial in existing}
    taken = {name.lower() for name in names.values()}
    trials = []
    for spec in specs:
        identity = spec_hash(spec)
        if identity not in names:
            name = _name(spec, varied)
            if name.lower() in taken or len(name) > _LONGEST_NAME:
                name = f"{name[: _LONGEST_NAME - 9]}-{identity[:8]}"
            names[identity] = name
            taken.add(name.lower())
        trials.append(Trial(names[identity], spec))
    return trials


def _spec(settings: dict[str, Any]) -> RunSpec:
    return RunSpec.from_preset(settings.pop("preset", "iclr"), **settings)


def _name(spec: RunSpec, varied: Sequence[str]) -> str:
    parts = [f"{_SHORT.get(name, name)}{in_a_word(getattr(spec, name))}" for name in varied]
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts) or f"{spec.dataset}-{spec.arch}").strip("-.")
    return re.sub(r"-{2,}", "-", text)


def in_a_word(value: Any) -> str:
    """A setting's value without spaces: `0.0004`, `500x300`, `yes`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return "x".join(map(in_a_word, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value).rpartition("/")[2]
