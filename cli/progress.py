"""How a run shows what it does, on standard error: a live bar on a terminal, plain lines off one."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tfstiff import progress
from tfstiff.progress import describe, in_words
from tfstiff.records import Measurement


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
    """A bar for the current epoch, with a line above it for each epoch done and each measurement."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[values]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """Writes the line above the bar."""
        self._console.print(text, markup=False, highlight=False)

    def begin(self, epochs: int, steps_per_epoch: int) -> None:
        """Shows the bar."""
        super().begin(epochs, steps_per_epoch)
        self._task = self._bar.add_task(f"epoch 1/{epochs}", total=steps_per_epoch, values="")
        self._bar.start()

    def stepped(self, epoch: int, step: int, logs: dict[str, float]) -> None:
        """Moves the bar."""
        if self._task is not None:
            description = f"epoch {epoch + 1}/{self._epochs}"
            self._bar.update(self._task, completed=step, description=description, values=in_words(logs))

    def end(self) -> None:
        """Takes the bar away."""
        self._bar.stop()
