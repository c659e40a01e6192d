"""The runs that a command is given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tfstiff.records import Run, load_run

_BESIDE_RUNS = ("figures", "report.html")  # that commands leave in a folder of runs


def open_runs(paths: Iterable[str]) -> list[Run]:
    """Opens each run once. Of several, as `runs/*` names them, what commands left beside the runs is passed over.

    Raises:
        RunNotFound: One is not a run.
    """
    given = list(dict.fromkeys(map(Path, paths)))
    runs = [path for path in given if path.name not in _BESIDE_RUNS or (path / "records").is_dir()]
    return [load_run(path) for path in runs or given]
