"""What runs the trials of a sweep, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeAlias

from tfstiff.sweeps.folder import Sweep
from tfstiff.sweeps.state import TrialState
from tfstiff.sweeps.trials import Trial

Outcomes: TypeAlias = Generator[tuple[Trial, TrialState], None, None]


class Executor(Protocol):
    """Runs trials, each in a process of its own that calls `run_trial`."""

    def run(self, sweep: Sweep, trials: Sequence[Trial], waiting: Callable[[], None]) -> Outcomes:
        """Yields each trial with its last state, in the order in which they end.

        Where the generator is closed, or an exception passes through it, trials that are running are asked to end, and
        it returns when they have.

        Args:
            sweep: Its folder exists.
            trials: Those to run.
            waiting: Is called at least every second.
        """
        ...
