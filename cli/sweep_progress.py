"""How a sweep shows what it does, on standard error: a live table on a terminal, plain lines off one."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tfstiff.sweeps import Sweep, SweepProgress, Trial, TrialState

from .tables import plain_table

_ABSENT = "–"
_LOOK_SECONDS = 1.0


def choose_sweep_progress() -> SweepProgress:
    """The live table where standard error is a terminal, else plain lines."""
    console = Console(stderr=True)
    return LiveSweepProgress(console) if console.is_terminal else PlainSweepProgress()


class PlainSweepProgress(SweepProgress):
    """A line for each trial that ends."""

    def say(self, text: str) -> None:
        """Writes the line."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # what this class is for

    def begin(self, sweep: Sweep, missing: Sequence[Trial]) -> None:
        """Says how much there is to do."""
        self._sweep, self._missing = sweep, missing
        self._done = len(sweep.trials) - len(missing)
        self._ended: dict[str, TrialState] = {}
        self._began = time.monotonic()
        self.say(f"{len(sweep.trials)} trials, {self._done} of them done.")

    def ended(self, trial: Trial, state: TrialState) -> None:
        """Writes a line."""
        self._ended[trial.name] = state
        number = f"[{self._done + len(self._ended)}/{len(self._sweep.trials)}]"
        loss = f", loss {state.loss:.4g}" if math.isfinite(state.loss) else ""
        again = f", begun {state.attempts} times" if state.attempts > 1 else ""
        self.say(f"{number} {trial.name}: {state.state} in {state.seconds:.0f} s{loss}{again}")
        if state.error and not state.is_done:
            self.say("  " + state.error.replace("\n", "\n  "))


class LiveSweepProgress(PlainSweepProgress):
    """A table of the trials that run, with a line above it for each that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)

    def say(self, text: str) -> None:
        """Writes the line above the table."""
        self._console.print(text, markup=False, highlight=False)

    def begin(self, sweep: Sweep, missing: Sequence[Trial]) -> None:
        """Shows the table."""
        super().begin(sweep, missing)
        self._looked = -math.inf
        self._live.start()

    def waiting(self) -> None:
        """Looks what the trials tell, at most once a second."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._live.update(self._table(), refresh=True)

    def end(self) -> None:
        """Takes the table away."""
        self._live.stop()

    def _table(self) -> Group:
        told = {trial.name: self._sweep.state(trial) for trial in self._missing if trial.name not in self._ended}
        running = {name: state for name, state in told.items() if state.state == "running"}
        room = max(1, self._console.height - 4)
        table = plain_table("trial", "state", "epoch", "loss", "time left")
        for name, state in list(running.items())[:room]:
            table.add_row(name, *cells(state), duration(state.seconds_left))
        hidden = max(0, len(running) - room)
        return Group(table, Text(self._summary(running, len(told)) + (f"; {hidden} not shown" if hidden else "")))

    def _summary(self, running: dict[str, TrialState], unfinished: int) -> str:
        done = len(self._sweep.trials) - unfinished
        text = f"{done} of {len(self._sweep.trials)} ended, {len(running)} running, {unfinished - len(running)} waiting"
        return f"{text}; about {duration(self._seconds_left(running, unfinished))} left"

    def _seconds_left(self, running: dict[str, TrialState], unfinished: int) -> float:
        """From the pace of the trials that ended; before that, of those that run, as far as they know."""
        waiting = unfinished - len(running)
        if self._ended:
            return (time.monotonic() - self._began) / len(self._ended) * unfinished
        left = [state.seconds_left for state in running.values() if math.isfinite(state.seconds_left)]
        if not left:
            return math.nan
        whole = max(state.seconds + state.seconds_left for state in running.values())
        return max(left) + whole * math.ceil(waiting / len(running))


def cells(state: TrialState) -> list[str]:
    """State, epoch and loss of a trial."""
    epoch = f"{state.epoch:.3g}/{state.epochs}" if state.epochs else _ABSENT
    return [state.state, epoch, f"{state.loss:.4f}" if math.isfinite(state.loss) else _ABSENT]


def states_table(states: dict[str, TrialState]) -> Table:
    """A row for each trial: state, epoch, loss, seconds."""
    table = plain_table("trial", "state", "epoch", "loss", "seconds")
    for name, state in states.items():
        table.add_row(name, *cells(state), f"{state.seconds:.1f}" if state.seconds else _ABSENT)
    return table


def duration(seconds: float) -> str:
    """`0:42`, `1:02:03`, or a dash."""
    if not math.isfinite(seconds):
        return _ABSENT
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
