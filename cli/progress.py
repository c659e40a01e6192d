"""How a run shows what it does, on standard error: a live bar on a terminal, plain lines off one."""

from __future__ import annotations

import dataclasses
import sys

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tfstiff.records import Measurement
from tfstiff.runs import progress
from tfstiff.runs.progress import describe, in_words

from .panel import measurement_panel


def choose_progress() -> progress.Progress:
    """The live display where standard error is a terminal, else plain lines."""
    console = Console(stderr=True)
    return LiveProgress(console) if console.is_terminal else PlainProgress()


class PlainProgress(progress.Progress):
    """A line for each epoch and each measurement."""

    def say(self, text: str) -> None:
        """Writes the line."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # what this class is for

    def begin(self, epochs: int, steps_per_epoch: int) -> None:
        """Keeps how many there are."""
        self._epochs = epochs

    def epoch_ended(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Writes a line."""
        self.say(f"epoch {epoch + 1}/{self._epochs} in {seconds:.1f} s: {in_words(logs)}")

    def measured(self, measurement: Measurement, seconds: float) -> None:
        """Writes a line."""
        self.say(describe(measurement, seconds))


class LiveProgress(PlainProgress):
    """The latest measurement in a panel, with sparklines of those before, and a bar for the current epoch below it.

    What is said stands above them and stays; they go when training ends. Epochs have no line: the log has them.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[values]}"),
            console=console,
        )
        self._live = Live(self._bar, console=console, transient=True)
        self._task: TaskID | None = None
        self._measurements: list[Measurement] = []

    def say(self, text: str) -> None:
        """Writes the line above."""
        self._console.print(text, markup=False, highlight=False)

    def begin(self, epochs: int, steps_per_epoch: int) -> None:
        """Shows the bar."""
        super().begin(epochs, steps_per_epoch)
        self._task = self._bar.add_task(f"epoch 1/{epochs}", total=steps_per_epoch, values="")
        self._live.start()

    def stepped(self, epoch: int, step: int, logs: dict[str, float]) -> None:
        """Moves the bar."""
        if self._task is not None:
            description = f"epoch {epoch + 1}/{self._epochs}"
            self._bar.update(self._task, completed=step, description=description, values=in_words(logs))

    def epoch_ended(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Says nothing."""

    def measured(self, measurement: Measurement, seconds: float) -> None:
        """Shows the measurement."""
        self._measurements.append(dataclasses.replace(measurement, gram=None))  # which is large, and not shown
        note = f"measured in {seconds:.1f} s"
        self._live.update(Group(measurement_panel(self._measurements, note), self._bar))

    def end(self) -> None:
        """Takes panel and bar away."""
        self._live.stop()
