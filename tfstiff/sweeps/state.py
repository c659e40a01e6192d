"""What is known of a trial from outside its process: a small file that the process rewrites while it lives."""

from __future__ import annotations

import dataclasses
import math
import os
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfstiff.errors import RecordCorrupt
from tfstiff.records.atomic import write_json
from tfstiff.records.reading import read_object
from tfstiff.runs.progress import Progress

DONE = ("completed", "diverged")
TELL_SECONDS = 1.0


@dataclass(frozen=True)
class TrialState:
    """How it stands with a trial.

    Attributes:
        state: waiting, running, completed, diverged, failed, or interrupted.
        driver: Which `tfstiff sweep` process began it.
        attempts: How often that one did.
        pid: Of the process; 0 where there was none.
        host: That it ran on.
        epoch: Epochs done, with a fraction.
        epochs: Epochs in all; 0 before training begins.
        loss: Training loss last told; NaN where there is none.
        seconds: Since this attempt began.
        seconds_training: Since its training began.
        begun_at_epoch: Where training began: above 0 in a run that was resumed.
        error: Why it failed or was interrupted.
        exit_code: Of the error.
    """

    state: str = "waiting"
    driver: str = ""
    attempts: int = 0
    pid: int = 0
    host: str = ""
    epoch: float = 0.0
    epochs: int = 0
    loss: float = math.nan
    seconds: float = 0.0
    seconds_training: float = 0.0
    begun_at_epoch: float = 0.0
    error: str = ""
    exit_code: int = 0

    @property
    def is_done(self) -> bool:
        """Whether there is a result; a diverged training is one."""
        return self.state in DONE

    @property
    def seconds_left(self) -> float:
        """How long training still takes at the pace so far; NaN where that is not known."""
        covered = self.epoch - self.begun_at_epoch
        if self.state != "running" or covered <= 0:
            return math.nan
        return self.seconds_training / covered * (self.epochs - self.epoch)


def read_state(path: Path) -> TrialState:
    """What a process last told; a state of waiting where it told nothing that can be read."""
    try:
        told = read_object(path)
        known = {field.name for field in dataclasses.fields(TrialState)}
        values: dict[str, Any] = {
            name: math.nan if value is None else value for name, value in told.items() if name in known
        }
        return TrialState(**values)
    except (RecordCorrupt, ValueError, TypeError):
        return TrialState()


def write_state(path: Path, state: TrialState) -> None:
    """Rewrites the file."""
    write_json(path, dataclasses.asdict(state))


class TrialProgress(Progress):
    """Tells how far a trial is, in its file, every second while there is news and every tenth second otherwise.

    A thread of its own writes. Use it as a context manager.

    Args:
        path: The file.
        state: The state to begin with.
    """

    def __init__(self, path: Path, state: TrialState) -> None:
        self.state = replace(state, state="running", pid=os.getpid(), host=socket.gethostname())
        self._path = path
        self._began = time.monotonic()
        self._training_began = self._began
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell_on, daemon=True)

    def __enter__(self) -> TrialProgress:
        write_state(self._path, self.state)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def finish(self, **changes: Any) -> TrialState:
        """Writes the last state and returns it."""
        self.__exit__()
        self.state = replace(self._timed(), **changes)
        write_state(self._path, self.state)
        return self.state

    def say(self, text: str) -> None:
        """Writes it to the process's log."""
        print(text, flush=True)  # noqa: T201  # standard output is that log

    def begin(self, epochs: int, steps_per_epoch: int) -> None:
        """Training begins."""
        self._steps = steps_per_epoch
        self._training_began = time.monotonic()
        self._first = True
        self.state = replace(self.state, epochs=epochs)

    def stepped(self, epoch: int, step: int, logs: dict[str, float]) -> None:
        """Takes in where training is."""
        reached = epoch + step / self._steps
        if self._first:  # the first steps bear the tracing, and are not representative of the pace
            self._first = False
            self._training_began = time.monotonic()
            self.state = replace(self.state, begun_at_epoch=reached)
        self.state = replace(self.state, epoch=reached, loss=float(logs.get("loss", math.nan)))

    def _timed(self) -> TrialState:
        now = time.monotonic()
        return replace(
            self.state, seconds=round(now - self._began, 3), seconds_training=round(now - self._training_began, 3)
        )

    def _tell_on(self) -> None:
        last, quiet = self.state, 0
        while not self._stop.wait(TELL_SECONDS):
            quiet += 1
            if self.state is last and quiet < 10:
                continue
            last, quiet = self.state, 0
            try:
                write_state(self._path, self._timed())
            except OSError:  # a full disk ends the run where its records are written, not here
                continue
