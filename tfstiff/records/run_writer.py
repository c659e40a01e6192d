"""Writing a run's folder: see `tfstiff.records.run_folder` for what is in it."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.records.aside import move_aside
from tfstiff.records.atomic import append, append_json_line, write_atomically, write_json
from tfstiff.records.measurement import Measurement, scalar_row
from tfstiff.records.npz import write_members
from tfstiff.records.record import write_record
from tfstiff.records.run_folder import record_path

GROWING = ("history.csv", "scalars.jsonl", "timings.csv", "events.jsonl")


class RunWriter:
    """Writes a run folder, creating it (and its parents) where it does not exist.

    Files that grow by a line are written as well as can be: one that cannot be is a warning.

    Args:
        folder: The run's folder.

    Raises:
        OSError: The folder cannot be created or written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        (self.folder / "records").mkdir(parents=True, exist_ok=True)

    def write_config(self, config: dict[str, Any]) -> None:
        write_json(self.folder / "config.json", config)

    def write_meta(self, meta: dict[str, Any]) -> None:
        write_json(self.folder / "meta.json", meta)

    def write_vocabulary(self, vocabulary: dict[str, Any]) -> None:
        """Writes vocabulary.json: how the texts of the run become token ids."""
        write_json(self.folder / "vocabulary.json", vocabulary)

    def write_status(self, status: str, **details: Any) -> None:
        """Writes status.json; `status` is running, completed, failed, interrupted or diverged."""
        write_json(self.folder / "status.json", {"status": status, **details})

    def write_probe(self, **members: np.ndarray) -> None:
        """Writes probe.npz: the ids, labels and inputs of the probe's examples."""
        write_atomically(self.folder / "probe.npz", lambda file: write_members(file, members))

    def add(self, measurement: Measurement, seconds: float) -> Path:
        """Writes one record, its line of scalars and the time it took; returns the record's path."""
        path = record_path(self.folder, measurement.step)
        write_record(path, measurement)
        self._append_json("scalars.jsonl", scalar_row(measurement))
        self._append_row("timings.csv", {"step": measurement.step, "seconds": round(seconds, 4)})
        return path

    def add_event(self, event: dict[str, Any]) -> None:
        """Appends one event to events.jsonl."""
        self._append_json("events.jsonl", event)

    def add_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Appends one epoch's Keras logs to history.csv; the first epoch decides the columns."""
        self._append_row("history.csv", {"epoch": epoch, **logs})

    def keep_lines(self, is_kept: Callable[[dict[str, Any]], bool]) -> None:
        """Leaves some lines of scalars.jsonl, timings.csv and events.jsonl; the files as they were are moved aside.

        Args:
            is_kept: Of a line, as a dict; CSV gives texts.
        """
        for name in ("scalars.jsonl", "timings.csv", "events.jsonl"):
            path = self.folder / name
            if not path.exists():
                continue
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            if name.endswith(".csv"):
                rows: list[dict[str, Any]] = list(csv.DictReader(lines))
                kept = [lines[0], *(line for line, row in zip(lines[1:], rows, strict=True) if is_kept(row))]
            else:
                kept = [line for line in lines if line.endswith("\n") and is_kept(json.loads(line))]
            move_aside(path)
            append(path, "".join(kept))

    def sizes(self) -> dict[str, int]:
        """The bytes of the files that grow, as they are safe on the disk."""
        return {name: _synced_size(self.folder / name) for name in GROWING if (self.folder / name).exists()}

    def _append_row(self, name: str, row: dict[str, Any]) -> None:
        path = self.folder / name
        with self._best_effort(path):
            columns = None
            if path.exists():
                with path.open(newline="") as file:
                    columns = next(csv.reader(file), None)
            lines = io.StringIO()
            rows = csv.DictWriter(lines, columns or list(row), extrasaction="ignore")
            if columns is None:
                rows.writeheader()
            rows.writerow(row)
            append(path, lines.getvalue())

    def _append_json(self, name: str, value: dict[str, Any]) -> None:
        path = self.folder / name
        with self._best_effort(path):
            append_json_line(path, value)

    @contextmanager
    def _best_effort(self, path: Path) -> Iterator[None]:
        """What can be made again from records, or done without, ends no training where the disk is full."""
        try:
            yield
        except OSError as error:
            warnings.warn(f"{path} has lost a line: {error}", stacklevel=4)


def _synced_size(path: Path) -> int:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
