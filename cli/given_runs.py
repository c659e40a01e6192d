"""The runs that a command is given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tfstiff.records import RunFolder, open_run

_BESIDE_RUNS = ("figures", "report.html")  # that commands leave in a folder of runs


def open_runs(paths: Iterable[str]) -> list[RunFolder]:
    """Opens each run once.

    Raises:
        RunNotFound: One is not a run.
    """
    return [open_run(path) for path in without_leftovers(map(Path, paths))]


def without_leftovers(paths: Iterable[Path]) -> list[Path]:
    """Each path once. Of several, as `runs/*` names them, what commands left beside the runs is passed over."""
    given = list(dict.fromkeys(paths))
    return [path for path in given if path.name not in _BESIDE_RUNS or (path / "records").is_dir()] or given
