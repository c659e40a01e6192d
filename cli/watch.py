"""`tfstiff watch`: follows a run that another process writes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.live import Live

from tfstiff.errors import RecordCorrupt, RunNotFound
from tfstiff.records import METRICS, Measurement, RunFolder, open_run, read_record
from tfstiff.runs.progress import describe

from .completion import complete_runs
from .panel import measurement_panel

_DIED = "died"
_GONE = "gone"
# How a run ended: exit code, and what is said.
_ENDS = {
    "completed": (0, "The run is complete."),
    "diverged": (4, "The training loss is no longer finite, so training was stopped."),
    "failed": (1, "The run failed."),
    "interrupted": (1, "The run was interrupted."),
    _DIED: (1, "The run's process is gone, and left no word of how it ended."),
    _GONE: (1, "The run's folder was removed."),
}


class Look(NamedTuple):
    """What one look at a run found.

    Attributes:
        state: `running`, `died`, `gone`, `unknown` where the run keeps no status, or how it ended.
        measurements: All that can be read, in order of their step.
        new: Those that were not there at the last look.
        problems: Records that were found damaged since.
        run: The run.
    """

    state: str
    measurements: list[Measurement]
    new: list[Measurement]
    problems: list[RecordCorrupt]
    run: RunFolder

    @property
    def has_ended(self) -> bool:
        """Whether no more will come."""
        return self.state in _ENDS


class Follower:
    """Looks at a run folder again and again; reads each record once.

    Args:
        folder: The run's folder.

    Raises:
        RunNotFound: It is no run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self._run = open_run(folder)
        self._read: dict[Path, Measurement | None] = {}  # None: it is damaged

    def look(self) -> Look:
        """What there is now.

        Raises:
            RecordCorrupt: status.json is damaged.
        """
        state = self._state()  # before the records, so that none is missed of a run that has ended
        present = set((self._run.folder / "records").glob("step-*.npz"))
        self._read = {path: found for path, found in self._read.items() if path in present}  # a run begun anew
        new: list[Measurement] = []
        problems: list[RecordCorrupt] = []
        for path in sorted(present - self._read.keys()):
            self._read[path] = None
            try:
                found = dataclasses.replace(read_record(path), gram=None)  # which is large, and not shown
            except RecordCorrupt as problem:
                problems.append(problem)
            else:
                self._read[path] = found
                new.append(found)
        everything = [found for found in self._read.values() if found is not None]
        everything.sort(key=lambda measurement: measurement.step)
        return Look(state, everything, new, problems, self._run)

    def _state(self) -> str:
        try:
            self._run = open_run(self._run.folder)  # which keeps what it has read
        except RunNotFound:
            return _GONE
        state = str(self._run.state.get("status", "unknown"))
        if state != "running" or self._run.is_running:
            return state
        now = str(self._run.state.get("status", "unknown"))  # it may have ended between the two looks
        return _DIED if now == "running" else now


@click.command("watch")
@click.argument("run", metavar="RUN", type=click.Path(), shell_complete=complete_runs)
@click.option("--once", is_flag=True, help="Show how it stands now, and end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks at the folder.",
)
@click.pass_context
def command(ctx: click.Context, run: str, once: bool, interval: float) -> None:
    """Follow a run from another terminal, until it ends.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) writes. On a
    terminal the latest measurement stands in a panel, with sparklines of those before;
    elsewhere each measurement is a line.

    \b
    Exit codes: 0 the run is complete, or it is running and --once was given; 1 it failed,
    was interrupted, or its process is gone; 3 its status cannot be read; 4 its training
    loss is no longer finite.

    \b
    Examples:
      tfstiff watch runs/mine
      tfstiff watch runs/mine --once
      tfstiff watch runs/mine && tfstiff report runs/mine
    """  # noqa: D301  # click wants the character \b itself
    console = Console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or nullcontext():
        for look in _looks(Follower(run), once, interval):
            for problem in look.problems:
                click.echo(f"Warning: {problem}", err=True)
            if live is not None:
                metrics = look.run.spec.get("metrics", METRICS)
                live.update(measurement_panel(look.measurements, _note(look), metrics), refresh=True)
            for measurement in look.new if live is None else ():
                click.echo(describe(measurement))
    click.echo(_last_words(look), err=True)
    ctx.exit(_ENDS[look.state][0] if look.has_ended else 0)


def _looks(follower: Follower, once: bool, interval: float) -> Iterator[Look]:
    while True:
        look = follower.look()
        yield look
        if look.has_ended or once:
            return
        time.sleep(interval)


def _note(look: Look) -> str:
    """Below the panel: how the run stands, and how far it is."""
    planned = look.run.spec.get("measured_steps")
    number = f"{len(look.measurements)} of {len(planned)}" if isinstance(planned, list) else str(len(look.measurements))
    return f"{look.state}, {number} measurements"


def _last_words(look: Look) -> str:
    if not look.has_ended:
        begun = "" if look.measurements else " Nothing is measured yet."
        return ("The run is going on." if look.state == "running" else "Whether the run goes on is not known.") + begun
    reason = look.run.state.get("error") if look.state in ("failed", "interrupted") else None
    return _ENDS[look.state][1] + (f" {reason}" if reason else "")
