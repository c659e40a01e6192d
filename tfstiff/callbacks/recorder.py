"""What a `StiffnessCallback` measured: in memory and, where there is a folder for it, on the disk."""

from __future__ import annotations

import itertools
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.callbacks.history import History
from tfstiff.errors import InvalidInput
from tfstiff.export import EVENT_FILE, EventWriter
from tfstiff.records import Measurement, RunWriter, open_run
from tfstiff.records.aside import move_aside
from tfstiff.records.claim import Claim, in_use, is_alive, is_shared
from tfstiff.records.names import check_name
from tfstiff.records.run_folder import record_path

ON_ERROR = ("raise", "warn")
REFUSE, OVERWRITE, RESUME = "refuse", "overwrite", "resume"


class Recorder:
    """Keeps measurements and events.

    Args:
        folder: Where to write records; None keeps them in memory only.
        tensorboard: Whether to write TensorBoard events into `folder` too, or the folder to write them to.
        on_error: `raise` or `warn`, where a record cannot be written.
        is_copy: Whether the folders are those of another recorder, and this one's come beside them.
        if_taken: What happens where a folder holds the records of a run: `refuse`, `overwrite` (they are moved aside),
            or `resume` (they are gone on with).

    Attributes:
        history: The measurements, in order.
        seconds: The time that each took.
        events: What happened beside them.

    Raises:
        InvalidInput: TensorBoard is not installed, or has nowhere to write.
    """

    def __init__(
        self,
        folder: Path | None,
        tensorboard: bool | str | Path,
        on_error: str = "raise",
        *,
        is_copy: bool = False,
        if_taken: str = REFUSE,
    ) -> None:
        if on_error not in ON_ERROR:
            raise InvalidInput("Unknown on_error.", expected=" or ".join(ON_ERROR), received=on_error)
        self.history = History()
        self.seconds: list[float] = []
        self.events: list[dict[str, Any]] = []
        self._folder = folder
        self._tensorboard = tensorboard
        self._on_error = on_error
        self._is_copy = is_copy
        self._if_taken = if_taken
        self._was_resumed = False  # and nobody has said yet from which step on
        self._claim: Claim | None = None
        self._writer: RunWriter | None = None
        self._event_writer: EventWriter | None = None
        if tensorboard is True and folder is None:
            raise InvalidInput(
                "tensorboard=True writes events into log_dir, and there is none.",
                remedy='Give a log_dir, or a folder of its own: tensorboard="logs/mine".',
            )
        if tensorboard:
            EventWriter.check()

    def begin(self, probe: Mapping[str, np.ndarray]) -> None:
        """Begins anew, in folders that hold nothing yet, and that no other process writes.

        Args:
            probe: Members of probe.npz.

        Raises:
            InvalidInput: A folder holds what another recorder wrote, or another process writes it.
        """
        self.end("interrupted")  # the fit before, if it did not end
        self._was_resumed = False
        if self._folder is not None:
            check_name(self._folder)
            taken = _holds_records(self._folder) and not self._is_copy
            if taken and self._if_taken == OVERWRITE:
                self._move_aside(self._folder)
            if taken and self._if_taken == RESUME:
                self._resume(self._folder, probe)
                return
            folder = self._free(self._folder, _holds_records, "log folder", "records")
            self.claim(folder)
            self._writer = RunWriter(folder)
            self._writer.write_probe(**probe)
        self._begin_events()
        self.history, self.seconds, self.events = History(), [], []

    def step_at(self, epoch: int) -> int:
        """The step at which an epoch begins, as far as records tell; 0 else."""
        return next((one.step for one in self.history if one.epoch == epoch), 0)

    def forget_after(self, step: int) -> None:
        """Moves aside what an interrupted training recorded after the step from which it now goes on, if it does.

        Args:
            step: Batches trained on; 0 where training begins anew.
        """
        if not self._was_resumed or self._writer is None:
            return
        self._was_resumed = False
        kept = step if step > 0 else -1  # at initialisation the weights are others
        later = [one for one in self.history if one.step > kept]
        for measurement in later:
            move_aside(record_path(self._writer.folder, measurement.step))
        if later:
            self._writer.keep_lines(lambda row: int(row.get("step", 0)) <= kept)
        earlier = [pair for pair in zip(self.history, self.seconds, strict=True) if pair[0].step <= kept]
        self.history = History(one for one, _ in earlier)
        self.seconds = [seconds for _, seconds in earlier]
        self.events = [event for event in self.events if event.get("step", 0) <= kept]

    def _resume(self, folder: Path, probe: Mapping[str, np.ndarray]) -> None:
        self.claim(folder)
        run = open_run(folder)
        of_examples = [name for name in probe if name.endswith(("_ids", "_classes"))]
        if not all(np.array_equal(run.probe.get(name, ()), probe[name]) for name in of_examples):
            self.end()
            raise InvalidInput(
                "The log folder holds the records of another probe, which cannot be gone on with.",
                expected="the same examples as before",
                received=str(folder),
                remedy="Give the probe its seed and size of before, or choose another log_dir.",
            )
        self._writer = RunWriter(folder)
        self._begin_events(goes_on=True)
        self.history = History(run.measurements)
        seconds = run.seconds_measuring
        self.seconds = seconds if len(seconds) == len(self.history) else [0.0] * len(self.history)
        self.events = [*run.events]
        self._was_resumed = True

    def _move_aside(self, folder: Path) -> None:
        if is_alive(folder):
            raise in_use(folder)
        warnings.warn(f"The records of another run in {folder} were moved to {move_aside(folder)}.", stacklevel=2)

    def state(self) -> dict[str, Any]:
        """What `go_on` takes, as JSON can hold it; the measurements themselves are in the folder."""
        return {"steps": [one.step for one in self.history], "seconds": self.seconds, "events": self.events}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Goes on where another process was. Measurements that are lost since are left out.

        Raises:
            InvalidInput: Nothing was kept to go on from.
        """
        if self._folder is None:
            raise InvalidInput("Without a log_dir no measurements were kept to go on from.")
        self.claim(self._folder)
        self._writer = RunWriter(self._folder)
        self._begin_events(goes_on=True)
        seconds = dict(zip(state["steps"], state["seconds"], strict=True))
        self.history = History(one for one in open_run(self._folder).measurements if one.step in seconds)
        self.seconds = [seconds[one.step] for one in self.history]
        self.events = [*state["events"]]

    def add(self, measurement: Measurement, seconds: float) -> None:
        """Keeps a measurement, which took so long."""
        if self._writer is not None:
            with self._or_warning("record", measurement.step, is_raised=self._on_error == "raise"):
                self._writer.add(measurement, seconds)
        if self._event_writer is not None:
            with self._or_warning("TensorBoard events", measurement.step, is_raised=False):
                self._event_writer.add(measurement, time.time())
        self.history.append(measurement)
        self.seconds.append(seconds)

    def note(self, event: dict[str, Any]) -> None:
        """Keeps an event."""
        self.events.append(event)
        if self._writer is not None:
            self._writer.add_event(event)

    def claim(self, folder: Path | None = None) -> None:
        """Keeps other processes from writing the folder, until `end`; that of before where none is given."""
        folder = folder or (None if self._writer is None else self._writer.folder)
        if folder is not None:
            self._claim = self._claim or Claim(folder)
            self._claim.take()
            self._tell(folder, "running", started=_now())

    def end(self, status: str = "completed") -> None:
        """Lets other processes write the folder.

        Args:
            status: How training ended.
        """
        if self._claim is not None:
            if self._writer is not None:
                self._tell(self._writer.folder, status, ended=_now())
            self._claim.release()
            self._claim = None

    def _tell(self, folder: Path, status: str, **details: str) -> None:
        """Says in status.json how training stands, unless who runs the training does."""
        if not is_shared(folder):
            with self._or_warning("status", 0, is_raised=False):
                RunWriter(folder).write_status(status, pid=os.getpid(), host=socket.gethostname(), **details)

    @contextmanager
    def _or_warning(self, what: str, step: int, *, is_raised: bool) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_raised:
                raise
            warnings.warn(f"The {what} of step {step} could not be written: {error}", stacklevel=2)

    def _begin_events(self, *, goes_on: bool = False) -> None:
        if isinstance(self._tensorboard, bool):
            is_wanted = self._tensorboard and self._writer is not None
            self._event_writer = EventWriter(self._writer.folder) if is_wanted and self._writer is not None else None
            return
        folder = Path(self._tensorboard)
        self._event_writer = EventWriter(
            folder if goes_on else self._free(folder, _holds_events, "TensorBoard folder", "events")
        )

    def _free(self, folder: Path, is_taken: Callable[[Path], bool], name: str, content: str) -> Path:
        """`folder` or, for a copy, the first of it, `folder-2`, `folder-3`, … that is not taken."""
        if not is_taken(folder) and not (self._is_copy and is_alive(folder)):
            return folder
        if not self._is_copy:
            raise InvalidInput(
                f"The {name} holds the {content} of another run.",
                expected="a folder that does not exist, or is empty",
                received=str(folder),
                remedy="Give each model that you train a folder of its own; or overwrite=True, which moves aside what "
                "is there, or resume=True, which goes on with it.",
            )
        candidates = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
        return next(found for found in candidates if not is_taken(found) and not is_alive(found))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _holds_records(folder: Path) -> bool:
    return any((folder / "records").glob("step-*.npz"))


def _holds_events(folder: Path) -> bool:
    return (folder / EVENT_FILE).exists()


def if_taken(*, overwrite: bool, resume: bool) -> str:
    """What happens with records of another run.

    Raises:
        InvalidInput: Both are asked for.
    """
    if overwrite and resume:
        raise InvalidInput("Records of another run are either moved aside or gone on with.", remedy="Choose one.")
    return OVERWRITE if overwrite else RESUME if resume else REFUSE
