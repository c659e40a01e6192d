"""What runs on the nodes of a Ray cluster: a look at what they see, and the trials. Does not import Ray."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfstiff.cluster.provenance import versions
from tfstiff.datasets import catalog
from tfstiff.runs.own_code import OWN_CODE
from tfstiff.sweeps.folder import load_sweep
from tfstiff.sweeps.state import read_state
from tfstiff.sweeps.trial_process import run_trial
from tfstiff.sweeps.trials import Trial

_FILE = "npz:"


@dataclass(frozen=True)
class Needs:
    """What trials need of a node.

    Attributes:
        folder: Of the sweep.
        directory: To work in: a network of the user's own is imported from there.
        has_own_code: Whether a trial has one.
        data: Names of data sets and the folders they are in, as in `RunSpec`.
        versions: Of Python and packages.
    """

    folder: str
    directory: str
    has_own_code: bool
    data: tuple[tuple[str, str | None], ...]
    versions: tuple[tuple[str, str], ...]


def needs_of(folder: Path, trials: Sequence[Trial]) -> Needs:
    """What these trials need, as it is here."""
    return Needs(
        str(folder),
        str(Path.cwd()),
        any(":" in (getattr(trial.spec, name) or "") for trial in trials for name in OWN_CODE),
        tuple(sorted({(trial.spec.dataset, trial.spec.data_dir) for trial in trials}, key=str)),
        _versions(),
    )


def lacking(needs: Needs, token: Path | None = None) -> list[str]:
    """What is not on this node as it is needed, in words; nothing where all is well.

    Args:
        needs: What it should have.
        token: A file that was written just now.
    """
    found = []
    if not Path(needs.folder, "sweep.json").is_file() or not (token is None or token.is_file()):
        found.append(f"{needs.folder} is not there, or another folder than the sweep's")
    if needs.has_own_code and not Path(needs.directory).is_dir():
        found.append(f"the working directory {needs.directory} is not there")
    for name, data_dir in needs.data:
        if not _is_here(name, data_dir):
            found.append(f"the data set {name} is not there" + (f" in {data_dir}" if data_dir else ""))
    here = dict(_versions())
    found += [
        f"{package} is {here.get(package, 'not installed')} instead of {wanted}"
        for package, wanted in needs.versions
        if here.get(package) != wanted
    ]
    return found


def run_task(needs: Needs, name: str, driver: str, most_attempts: int) -> str:
    """Runs a trial in this process, which has not run another.

    Args:
        needs: Looked for again, since nodes may have come later.
        name: Of the trial.
        driver: See `run_trial`.
        most_attempts: Ray begins a task without end again whose node is out of memory.

    Returns:
        What is lacking on this node, or nothing.
    """
    if found := lacking(needs):
        return f"On {platform.node()}: {'; '.join(found)}"
    if needs.has_own_code:
        os.chdir(needs.directory)
        sys.path.insert(0, "")
    sweep = load_sweep(needs.folder)
    trial = sweep.find(name)
    before = read_state(sweep.state_file(trial))
    if before.driver == driver and before.attempts >= most_attempts:
        return f"Its process died {before.attempts} times."
    with sweep.log_file(trial).open("ab") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    run_trial(sweep, trial, driver)
    return ""


def _is_here(name: str, data_dir: str | None) -> bool:
    if name.startswith(_FILE):
        return Path(name.removeprefix(_FILE)).is_file()
    return all(row.available is not False for row in catalog(data_dir) if row.name == name)


def _versions() -> tuple[tuple[str, str], ...]:
    return tuple({"python": platform.python_version(), **versions()}.items())
