"""A run as it is shown: all that can be read of it, and a problem for each thing that cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfstiff.errors import RecordCorrupt
from tfstiff.records import METRICS, PAIR_SETS, Measurement, RunFolder
from tfstiff.records.shown import Brief
from tfstiff.records.words import default_pair_set


@dataclass(frozen=True, repr=False)
class Source(Brief):
    """A run as it is shown.

    Attributes:
        folder: Where it is.
        name: Its folder's name, with that of the folder above where names are equal.
        status: running, completed, failed, interrupted, diverged, or `unknown`.
        measurements: In order of time; may be empty.
        spec: Its settings; empty where they are not known.
        meta: Its provenance; empty where it is not known.
        events: What happened beside the schedule.
        timings: Where the time went.
        damages: One for each file that cannot be read.
        has_died: Whether it says that it is running, and its process is gone.
    """

    folder: Path
    name: str
    status: str
    measurements: Sequence[Measurement]
    spec: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    damages: Sequence[RecordCorrupt] = ()
    has_died: bool = False

    @property
    def problems(self) -> list[str]:
        """A text for each thing that cannot be read, or that went wrong."""
        died = "The run says that it is running, but its process has ended: it was killed or the machine stopped."
        return [*map(str, self.damages), *[died] * self.has_died]

    @property
    def has_classes(self) -> bool:
        """Whether stiffness is by class; false for regression targets."""
        return all(found.cosine is not None for one in self.measurements for found in one.pair_sets.values())

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the settings name, or both."""
        named = self.spec.get("metrics")
        chosen = tuple(metric for metric in METRICS if metric in named) if isinstance(named, list | tuple) else ()
        return chosen or METRICS

    @property
    def pair_sets(self) -> tuple[str, ...]:
        """The pair sets that any measurement has."""
        return tuple(name for name in PAIR_SETS if any(name in one.pair_sets for one in self.measurements))

    @property
    def main_pair_set(self) -> str:
        """The one that sentences are of."""
        return default_pair_set(self.measurements[-1].pair_sets if self.measurements else ())

    def having(self, pair_set: str) -> list[Measurement]:
        """The measurements that have a pair set."""
        return [measurement for measurement in self.measurements if pair_set in measurement.pair_sets]


def read_sources(runs: Sequence[RunFolder]) -> list[Source]:
    """Reads runs, of which a damaged file must not hide the rest."""
    return [_read(run, name) for run, name in zip(runs, _names([run.folder for run in runs]), strict=True)]


def _read(run: RunFolder, name: str) -> Source:
    damages = {str(problem): problem for problem in run.problems}
    found: dict[str, Any] = {"status": "unknown", "spec": {}, "meta": {}, "events": [], "timings": {}}
    for attribute in found:
        try:
            found[attribute] = getattr(run, attribute)
        except RecordCorrupt as problem:
            damages.setdefault(str(problem), problem)
    return Source(
        run.folder,
        name,
        measurements=run.measurements,
        damages=list(damages.values()),
        has_died=found["status"] == "running" and not run.is_running,
        **found,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names
