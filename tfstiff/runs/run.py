"""`run`: from a specification to a run folder, in one go or, where the process was killed, in several."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfstiff.cluster.provenance import provenance
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.records import RunWriter
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.store import Checkpoint, CheckpointStore
from tfstiff.runs.claim import LOCK, claimed, claimed_elsewhere, heard_of
from tfstiff.runs.load import Run, load_run
from tfstiff.runs.prepare import PreparedRun, Saving, prepare_run, train
from tfstiff.runs.progress import LoggedProgress, Progress
from tfstiff.runs.spec import RunSpec
from tfstiff.runs.status import RunStatus, now

_LOG, _CHECKPOINTS = "log.txt", "checkpoints"
_ENDED = ("completed", "diverged")
_MACHINE = ("python", "platform", "cpu_count", "devices", "environment")  # what numbers may depend on besides versions


def run(
    spec: RunSpec,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    checkpoints: CheckpointInterval | None = None,
) -> Run:
    """Trains as `spec` says, measuring, and leaves a run folder behind.

    A folder in which the same specification was completed is returned at once. One in which it was begun is gone on
    with from its newest whole checkpoint, to the same weights and records as if it had not ended there (bit for bit in
    the deterministic mode on CPU); where there is none, it is begun anew.

    While it trains, a first Ctrl-C or SIGTERM lets the step end and makes a checkpoint; a second one ends at once.

    Args:
        spec: What to run.
        folder: The run's folder; created with its parents.
        progress: Is told what happens.
        checkpoints: How often they are made; None is every minute, and more rarely where they would take more than a
            hundredth of the time. No matter for what the run comes to.

    Raises:
        InvalidInput: A name or value in `spec` cannot be used, `folder` holds something else or another process is
            running there, or the data set or the resolved settings are no longer those that the run was begun with.
        UnsupportedModel: The model cannot be measured.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
        OSError: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; the folder's status is `interrupted`, and the same call goes on.
        SystemExit: SIGTERM came; otherwise the same.
    """
    folder = Path(folder)
    found = _begun(spec, folder)  # before anything is written in a folder of something else
    if found is not None and found.status in _ENDED:
        return found
    with claimed(folder) as is_alone:
        found = _begun(spec, folder)
        if found is not None and found.status in _ENDED:  # by a process that had the folder until now
            return found
        if found is not None and found.is_running and not (is_alone and _is_of_here(found)):
            raise claimed_elsewhere(folder)
        with heard_of(folder / "status.json"):
            return _run(spec, folder, found, progress or Progress(), checkpoints or CheckpointInterval())


def _run(spec: RunSpec, folder: Path, found: Run | None, progress: Progress, interval: CheckpointInterval) -> Run:
    clock = time.perf_counter()
    log = LoggedProgress(folder / _LOG, progress)
    store = CheckpointStore(folder / _CHECKPOINTS)
    checkpoint = None if found is None else _rewound(folder, store, log.say)
    writer = RunWriter(folder)
    if checkpoint is None:
        writer.write_config(spec.as_config())  # before anything slow, such as importing TensorFlow
    else:
        log.say(f"Going on from step {checkpoint.step}.")
        clock -= checkpoint.state["seconds"]
    status = RunStatus(writer)
    log.say(f"Loading {spec.dataset}.")
    try:
        prepared = prepare_run(spec, folder)
        if found is None or checkpoint is None:
            writer.write_config(spec.as_config() | prepared.resolved())
            writer.write_meta(provenance() | prepared.inputs())
        else:
            writer.write_meta(_checked_meta(found, prepared, checkpoint, log.say))
    except BaseException as error:
        if checkpoint is None:
            shutil.rmtree(folder)  # nothing was recorded, and the same command, mended, must be free to run
        else:
            status.ended_by(error)
        raise
    log.say(
        f"Training {prepared.model.name} ({prepared.model.count_params():,} parameters) on "
        f"{len(prepared.dataset.train):,} examples: {spec.epochs} epochs of {prepared.steps_per_epoch} steps."
    )
    try:
        diverged = train(prepared, log, status.timings, Saving(store, interval, checkpoint, clock))
        finished = load_run(folder)
        log.say("Drawing the figures.")
        draw_figures(finished, log)
    except BaseException as error:
        log.say(f"The run was {status.ended_by(error)}; what it recorded is in {folder}.")
        raise
    status.timings["seconds"] = round(time.perf_counter() - clock, 3)
    status.ended("diverged" if diverged else "completed")
    shutil.rmtree(store.folder, ignore_errors=True)  # there is nothing to go on with
    return load_run(folder)


def _begun(spec: RunSpec, folder: Path) -> Run | None:
    """The run of the same specification that was begun in `folder`, or None where nothing was.

    Raises:
        InvalidInput: The folder holds something else.
    """
    if not folder.exists() or (folder.is_dir() and is_blank(folder)):
        return None
    found = load_run(folder) if (folder / "records").is_dir() else None
    differing = None
    if found is not None and found.spec:
        differing = _differing(RunSpec.from_config(found.spec).as_config(), spec.as_config())
    if found is None or differing is None or differing:
        raise InvalidInput(
            f"{folder} holds something else.",
            expected="a new or empty folder, or one of a run of the same specification",
            received=f"a run that differs in {'; '.join(differing)}" if differing else "no run",
            remedy="Choose another output folder.",
        )
    return found


def is_blank(folder: Path) -> bool:
    """Whether nothing is there, or only what a run that was killed at once leaves behind."""
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return all(path.name in (LOCK, _LOG) or path.name.startswith(".tmp-") for path in files)


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is otherwise now than it was, in words. What was not written then is not compared."""
    return [
        f"{name}: {before[name]!r}, now {value!r}"
        for name, value in now.items()
        if name in before and before[name] != value
    ]


def _rewound(folder: Path, store: CheckpointStore, say: Callable[[str], object]) -> Checkpoint | None:
    """The newest checkpoint that can be gone on from, with the folder as it was then; without one, an empty folder."""
    for checkpoint in store.whole(say):
        try:
            RunWriter(folder).rewind(checkpoint.step, checkpoint.state["sizes"])
        except RecordCorrupt as error:
            say(f"Warning: The checkpoint of step {checkpoint.step} cannot be gone on from. {error}")
        else:
            store.remove_after(checkpoint.step)
            return checkpoint
    say("There is no checkpoint to go on from, so the run begins anew.")
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (LOCK, _LOG):
            path.unlink()
    return None


def _checked_meta(
    found: Run, prepared: PreparedRun, checkpoint: Checkpoint, say: Callable[[str], object]
) -> dict[str, Any]:
    """The provenance of a run that goes on; tells what has changed.

    Raises:
        InvalidInput: What determines the run has.
    """
    found_now = json.loads(json.dumps(provenance() | prepared.inputs()))
    before = found.meta
    decisive = [
        *_differing(found.spec, json.loads(json.dumps(prepared.resolved()))),
        *_differing(before["dataset"].get("splits", {}), found_now["dataset"].get("splits", {})),
        *_differing({"probe": before["probe"]["sha256"]}, {"probe": found_now["probe"]["sha256"]}),
    ]
    if decisive:
        raise InvalidInput(
            f"The run in {found.folder} cannot go on, since what it was begun with has changed.",
            received="; ".join(decisive),
            remedy="Bring back the data, the model's code or the version of tfstiff, or begin again in another folder.",
        )
    changed = [
        *_differing(before["packages"], found_now["packages"]),
        *_differing({name: before[name] for name in _MACHINE}, {name: found_now[name] for name in _MACHINE}),
    ]
    if changed:
        say(f"Warning: the run was begun with something else, so it may end otherwise. {'; '.join(changed)}.")
    segment = {"step": checkpoint.step, "time": now(), "changed": changed}
    return {**before, "resumed": [*before.get("resumed", []), segment]}


def draw_figures(finished: Run, progress: Progress) -> None:
    """Draws the figures of a run into its folder, if anything was measured."""
    from tfstiff.figures import draw

    if finished.measurements:
        draw(finished, formats=("png",), say=progress.say)  # `tfstiff plot` makes the others


def _is_of_here(found: Run) -> bool:
    return found.state.get("host") == socket.gethostname()
