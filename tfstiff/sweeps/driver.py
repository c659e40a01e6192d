"""Runs what is missing of a sweep."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from tfstiff.records.claim import Claim
from tfstiff.sweeps.executor import Executor
from tfstiff.sweeps.folder import Sweep, write_sweep
from tfstiff.sweeps.state import TrialState
from tfstiff.sweeps.trials import Trial


class SweepProgress:
    """Listens to a sweep and says nothing. Subclass it to show something."""

    def say(self, text: str) -> None:
        """A line of talk."""

    def begin(self, sweep: Sweep, missing: Sequence[Trial]) -> None:
        """The trials that are missing are about to be run."""

    def waiting(self) -> None:
        """A moment has passed; what the trials tell may have changed."""

    def ended(self, trial: Trial, state: TrialState) -> None:
        """A trial has ended, in whatever way."""

    def end(self) -> None:
        """The sweep has ended, in whatever way."""


def run_sweep(sweep: Sweep, executor: Executor, progress: SweepProgress | None = None) -> dict[str, TrialState]:
    """Runs the trials that are not done, and returns the state of all by name.

    Data sets are fetched and read once, before the first trial begins.

    Args:
        sweep: What to run; its folder is created where it does not exist.
        executor: Where to run it.
        progress: Is told what happens.

    Raises:
        DatasetUnavailable: A data set is not here and cannot be fetched.
        DatasetCorrupt: A data set is damaged.
        InvalidInput: There is no such data set, or another process runs this sweep.
        OSError: The folder cannot be written.
    """
    progress = progress or SweepProgress()
    _prepare_data(sweep.missing(), progress)
    write_sweep(sweep)
    with Claim(sweep.folder):
        missing = sweep.missing()
        progress.begin(sweep, missing)
        try:
            with contextlib.closing(executor.run(sweep, missing, progress.waiting)) as outcomes:
                for trial, state in outcomes:
                    progress.ended(trial, state)
        finally:
            progress.end()
    return {trial.name: sweep.state(trial) for trial in sweep.trials}


def _prepare_data(trials: Sequence[Trial], progress: SweepProgress) -> None:
    from tfstiff.datasets import load

    for name, data_dir, offline in sorted(
        {(trial.spec.dataset, trial.spec.data_dir, trial.spec.offline) for trial in trials}, key=str
    ):
        progress.say(f"Checking the data set {name}.")
        load(name, data_dir=data_dir, offline=offline)
