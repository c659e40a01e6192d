"""Writing a run's folder: see `tfstiff.records.run_folder` for what is in it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.errors import RecordCorrupt
from tfstiff.records.atomic import append_json_line, write_atomically, write_json
from tfstiff.records.measurement import Measurement, scalar_row
from tfstiff.records.record import write_record
from tfstiff.records.run_folder import MODELS, open_run, record_path, step_of

_GROWING = ("history.csv", "scalars.jsonl", "timings.csv", "events.jsonl")


class RunWriter:
    """Writes a run folder, creating it (and its parents) where it does not exist.

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

    def write_status(self, status: str, **details: Any) -> None:
        """Writes status.json; `status` is running, completed, failed, interrupted or diverged."""
        write_json(self.folder / "status.json", {"status": status, **details})

    def write_probe(self, **members: np.ndarray) -> None:
        """Writes probe.npz: the ids and labels of the probe's examples."""
        write_atomically(self.folder / "probe.npz", lambda file: np.savez(file, allow_pickle=False, **members))

    def add(self, measurement: Measurement, seconds: float) -> Path:
        """Writes one record, its line of scalars and the time it took; returns the record's path."""
        path = record_path(self.folder, measurement.step)
        write_record(path, measurement)
        append_json_line(self.folder / "scalars.jsonl", scalar_row(measurement))
        self._append_row("timings.csv", {"step": measurement.step, "seconds": round(seconds, 4)})
        return path

    def add_event(self, event: dict[str, Any]) -> None:
        """Appends one event to events.jsonl."""
        append_json_line(self.folder / "events.jsonl", event)

    def add_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Appends one epoch's Keras logs to history.csv; the first epoch decides the columns."""
        self._append_row("history.csv", {"epoch": epoch, **logs})

    def sizes(self) -> dict[str, int]:
        """The bytes of the files that grow, as they are safe on the disk."""
        return {name: _synced_size(self.folder / name) for name in _GROWING if (self.folder / name).exists()}

    def rewind(self, step: int, sizes: dict[str, int]) -> None:
        """Takes back what was written after `step`, when `sizes` were as they are given. Nothing is, where it fails.

        Raises:
            RecordCorrupt: What was written until then is no longer there.
        """
        for name, size in sizes.items():
            path = self.folder / name
            if not path.exists() or path.stat().st_size < size:
                raise RecordCorrupt(f"{path} has lost lines that it had at step {step}.")
        rows = (self.folder / "scalars.jsonl").read_bytes()[: sizes.get("scalars.jsonl", 0)].splitlines()
        expected = [json.loads(row)["step"] for row in rows]
        found = [one for one in open_run(self.folder).measurements if one.step <= step]
        missing = sorted({*expected} - {one.step for one in found})
        if missing:
            raise RecordCorrupt(f"The records of {self.folder} of steps {missing} are missing or damaged.")
        for name in _GROWING:
            if name in sizes:
                os.truncate(self.folder / name, sizes[name])
            else:
                (self.folder / name).unlink(missing_ok=True)
        for path in (*(self.folder / "records").glob("step-*.npz"), *self.folder.glob(f"{MODELS}/step-*")):
            if step_of(path) not in expected:
                path.unlink()
        for leftover in self.folder.rglob(".tmp-*"):  # of a process that was killed while it wrote
            leftover.unlink()

    def _append_row(self, name: str, row: dict[str, Any]) -> None:
        path = self.folder / name
        columns = None
        if path.exists():
            with path.open(newline="") as file:
                columns = next(csv.reader(file), None)
        with path.open("a", newline="") as file:
            rows = csv.DictWriter(file, columns or list(row), extrasaction="ignore")
            if columns is None:
                rows.writeheader()
            rows.writerow(row)


def _synced_size(path: Path) -> int:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
