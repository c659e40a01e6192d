"""A run's folder, looked through: every file read, what is damaged named with what is lost, and mended if it can be.

What is derived from records is made again; what is damaged is moved aside, to `NAME.aside-TIME`, and of files that grow
by a line the lines that are whole are kept. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tfstiff.errors import CheckpointCorrupt, ModelCorrupt, RecordCorrupt, RecordUnreadable
from tfstiff.records import Measurement, RunFolder, open_run, scalar_row
from tfstiff.records.atomic import finite, write_json, write_text
from tfstiff.records.claim import in_use, is_alive
from tfstiff.records.reading import read_lines, read_object
from tfstiff.records.record import read_record
from tfstiff.records.run_folder import MODELS, record_path, step_of
from tfstiff.runs.checkpoints.rewinding import remove_leftovers
from tfstiff.runs.checkpoints.store import CheckpointStore, read_checkpoint
from tfstiff.runs.finding import Finding, damaged, moved
from tfstiff.runs.growing_files import growing_files
from tfstiff.runs.saved.files import check_readable

# By file: what it tells, which is lost where it is damaged.
_OBJECTS = {
    "config.json": "the run's settings, without which it cannot be resumed",
    "meta.json": "with which versions and data it was made",
    "status.json": "how it ended",
}
_SCALARS = "scalars.jsonl"


def inspect_run(folder: Path) -> list[Finding]:
    """Looks through a run's folder. Writes nothing.

    Raises:
        RunNotFound: It is none.
    """
    run = open_run(folder)
    measured, of_records = _records(run)
    return [
        *_state(run),
        *of_records,
        *(_object(folder / name, lost) for name, lost in _OBJECTS.items() if (folder / name).exists()),
        *_scalars(folder, measured),
        *growing_files(folder),
        *_probe(run),
        *_checkpoints(folder),
        *_models(folder),
        *_leftovers(folder),
    ]


def mend(folder: Path, findings: Iterable[Finding]) -> list[Finding]:
    """Mends what can be; returns all that is still wrong or was mended, with what was done.

    Raises:
        InvalidInput: A process is writing there.
        OSError: The folder cannot be written.
    """
    if is_alive(folder):
        raise in_use(folder)
    found = []
    for finding in findings:
        if finding.mend is not None:
            finding = dataclasses.replace(finding, text=finding.mend(), is_wrong=False, remedy="", mend=None)
        found.append(finding)
    return found


def _state(run: RunFolder) -> Iterator[Finding]:
    try:
        status = run.status
    except RecordCorrupt:
        return  # told of the file
    if status != "running":
        yield Finding("status", status)
    elif is_alive(run.folder):
        yield Finding("status", "running: a process is writing there, so that what follows may change")
    else:
        yield Finding(
            "status",
            "The run says that it is running, but its process has ended: it was killed or the machine stopped.",
            remedy=f"To go on with it: tfstiff run --resume {run.folder}",
        )


def _records(run: RunFolder) -> tuple[list[Measurement], list[Finding]]:
    measured, found = [], []
    for path in sorted((run.folder / "records").iterdir()):
        if path.name.startswith(".tmp-"):
            continue
        name, step = f"records/{path.name}", _step(path)
        if step is None or path != record_path(run.folder, step):
            found.append(Finding(name, "This is no record of tfstiff's; it is passed over."))
            continue
        try:
            measurement = read_record(path)
        except RecordCorrupt as error:
            found.append(damaged(path, run.folder, error, f"the measurement of step {step}"))
            continue
        if max(measurement.step, 0) != step:
            text = f"The record says that it is of step {measurement.step}, and its name that it is of step {step}."
            found.append(
                Finding(name, text, True, "which of the two it is of", "--repair moves it aside.", moved(path))
            )
            continue
        measured.append(measurement)
    found.insert(0, Finding("records", f"{len(measured)} measurements, each read and verified"))
    return measured, found


def _step(path: Path) -> int | None:
    try:
        return step_of(path)
    except ValueError:
        return None


def _object(path: Path, lost: str) -> Finding:
    try:
        read_object(path)
    except RecordCorrupt as error:
        finding = damaged(path, path.parent, error, lost)
        if path.name == "config.json" and (settings := _settings_of_checkpoint(path.parent)) is not None:
            return dataclasses.replace(
                finding,
                lost="",
                remedy="--repair makes it again from the newest checkpoint.",
                mend=lambda: moved(path)() + _written(lambda: write_json(path, settings), "from the checkpoint"),
            )
        return finding
    return Finding(path.name, "whole")


def _settings_of_checkpoint(folder: Path) -> Any:
    checkpoint = next(CheckpointStore(folder / "checkpoints").whole(lambda _: None), None)
    return None if checkpoint is None else checkpoint.state["settings"]


def _written(write: Callable[[], object], of: str) -> str:
    write()
    return f" Made again {of}."


def _scalars(folder: Path, measured: list[Measurement]) -> Iterator[Finding]:
    """scalars.jsonl, which is made of records."""
    path = folder / _SCALARS
    expected = [json.loads(json.dumps(finite(scalar_row(one)))) for one in sorted(measured, key=lambda one: one.step)]
    if not path.exists() and not expected:
        return

    def made_again() -> str:
        text = moved(path)() if path.exists() else ""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in expected)
        return (text + _written(lambda: write_text(path, lines), "")).strip()

    try:
        rows, problems = read_lines(path) if path.exists() else ([], [])
    except RecordUnreadable as error:
        yield damaged(path, folder, error, "")
        return
    except RecordCorrupt as error:
        rows, problems = [], [error]
    by_step = {row.get("step"): row for row in rows if isinstance(row.get("step"), int)}
    differing = [row["step"] for row in expected if by_step.get(row["step"]) != row]
    if problems or differing or len(rows) != len(expected):
        text = problems[0].what if problems else "It does not hold the same as the records."
        yield Finding(_SCALARS, text, True, "", "--repair makes it again from the records.", made_again)
    else:
        yield Finding(_SCALARS, "whole, and the same as the records")


def _probe(run: RunFolder) -> Iterator[Finding]:
    path = run.folder / "probe.npz"
    if not path.exists():
        return
    try:
        yield Finding("probe.npz", f"whole: {', '.join(sorted(run.probe))}")
    except RecordCorrupt as error:
        yield damaged(path, run.folder, error, "which examples the probe held")


def _checkpoints(folder: Path) -> Iterator[Finding]:
    for path in CheckpointStore(folder / "checkpoints").paths():
        try:
            checkpoint = read_checkpoint(path)
            yield Finding(f"checkpoints/{path.name}", f"whole: training can go on from step {checkpoint.step}")
        except (CheckpointCorrupt, OSError) as error:
            yield damaged(path, folder, error, "this point to go on from; the other checkpoints are unharmed")


def _models(folder: Path) -> Iterator[Finding]:
    paths = sorted((folder / MODELS).glob("step-*.weights.h5"))
    whole = []
    for path in paths:
        try:
            check_readable(path)
            whole.append(path)
        except ModelCorrupt as error:
            yield damaged(path, folder, error, f"the model of step {_step(path)}")
    if whole:
        yield Finding(MODELS, f"{len(whole)} kept models, each read")


def _leftovers(folder: Path) -> Iterator[Finding]:
    aside = sorted(path.relative_to(folder) for path in folder.rglob("*.aside-*"))
    if aside:
        yield Finding("moved aside", f"{', '.join(map(str, aside))}: kept, and read by nothing")
    left = [path for place in (".", "records", MODELS, "checkpoints") for path in (folder / place).glob(".tmp-*")]
    if left:

        def removed() -> str:
            remove_leftovers(folder)
            return "Removed."

        text = f"{len(left)} temporary file(s) of a process that was killed while it wrote, which hold nothing whole"
        yield Finding("temporary files", text, remedy="--repair removes them.", mend=removed)
