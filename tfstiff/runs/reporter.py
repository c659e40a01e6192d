"""What a `Progress` is told of Keras' training."""

from __future__ import annotations

import math
import time
from typing import Any

from tfstiff.callbacks.resumable import Resumable
from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.records import RunWriter
from tfstiff.runs.progress import Progress, describe_event


class Reporter(Resumable):
    """Tells a `Progress` what happens, and stops training where the loss is no longer finite.

    Args:
        stiffness: The callback whose measurements are told; it comes before this one.
        progress: Is told.
        writer: Keeps each epoch's logs.

    Attributes:
        steps: Batches trained on.
        diverged: Whether training was stopped because the loss was NaN or infinite.
    """

    resumed = ("_epoch", "_began", "steps", "diverged")

    def __init__(self, stiffness: StiffnessCallback, progress: Progress, writer: RunWriter) -> None:
        super().__init__()
        self.steps = 0
        self.diverged = False
        self._stiffness = stiffness
        self._progress = progress
        self._writer = writer
        self._reported = 0
        self._events_reported = 0

    def state(self) -> dict[str, Any]:
        """How far it is; of its clock, the seconds since the epoch began."""
        return {**super().state(), "seconds": time.perf_counter() - self._clock}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where another process was, whose measurements and events `stiffness` has."""
        super().restore(state)
        self._clock = time.perf_counter() - state["seconds"]
        self._reported, self._events_reported = len(self._stiffness.history), len(self._stiffness.events)

    def report(self) -> None:
        """Tells the measurements made, and what happened beside them, since the last call."""
        for event in self._stiffness.events[self._events_reported :]:
            if text := describe_event(event):
                self._progress.say(text)
        self._events_reported = len(self._stiffness.events)
        for index in range(self._reported, len(self._stiffness.history)):
            self._progress.measured(self._stiffness.history[index], self._stiffness.seconds[index])
        self._reported = len(self._stiffness.history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the measurement of initialisation."""
        self._epoch, self._began, self._clock = epoch, self.steps, time.perf_counter()
        self.report()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells how far the epoch is."""
        done = min(batch + 1, self.params["steps"])
        self.steps = self._began + done
        self.report()
        logs = logs or {}
        self._progress.stepped(self._epoch, done, logs)
        if not math.isfinite(logs.get("loss", 0.0)):
            self.diverged = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps and tells the epoch's logs."""
        self.report()
        logs = logs or {}
        self._writer.add_epoch(epoch, logs)
        kept = {name: value for name, value in logs.items() if not name.startswith("stiffness_")}
        self._progress.epoch_ended(epoch, kept, time.perf_counter() - self._clock)
