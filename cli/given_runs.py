"""The runs that a command is given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from tfstiff.errors import RunNotFound
from tfstiff.records import RunFolder, open_run
from tfstiff.sweeps import is_sweep, load_sweep

_BESIDE_RUNS = ("figures", "report.html")  # that commands leave in a folder of runs


def open_runs(paths: Iterable[str | Path], *, is_light: bool = False) -> list[RunFolder]:
    """Opens each run once; of a sweep its trials, and says which have not run.

    Args:
        paths: Folders of runs and of sweeps.
        is_light: As in `RunFolder`.

    Raises:
        RunNotFound: One is neither, or a sweep none of whose trials has begun.
    """
    folders: dict[Path, Path] = {}
    for path in without_leftovers(map(Path, paths)):
        found = _trials(path) if is_sweep(path) else [path]
        folders |= {one.resolve(): one for one in found}
    return [open_run(folder, is_light=is_light) for folder in folders.values()]


def _trials(folder: Path) -> list[Path]:
    """The folders of a sweep's trials that have begun."""
    sweep = load_sweep(folder)
    folders = {trial.name: sweep.run_folder(trial) for trial in sweep.trials}
    begun = [one for one in folders.values() if (one / "records").is_dir()]
    waiting = [name for name, one in folders.items() if one not in begun]
    if not begun:
        raise RunNotFound(
            f"No trial of the sweep {folder} has begun.",
            expected="at least one run in trials/",
            remedy=f"Run it: tfstiff sweep --resume {folder}",
        )
    for name in waiting:
        click.echo(f"The trial {name} has not run.", err=True)
    return [_shortest(one) for one in begun]


def _shortest(folder: Path) -> Path:
    """The folder as it is seen from here, where it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def without_leftovers(paths: Iterable[Path]) -> list[Path]:
    """Each path once. Of several, as `runs/*` names them, what commands left beside the runs is passed over."""
    given = list(dict.fromkeys(paths))
    return [path for path in given if path.name not in _BESIDE_RUNS or (path / "records").is_dir()] or given
