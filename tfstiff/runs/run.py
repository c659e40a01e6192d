"""`run`: from a specification to a run folder, in one go or, where the process was killed, in several."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfstiff._quiet import import_tensorflow
from tfstiff.cluster.provenance import provenance
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.records import RunWriter
from tfstiff.records.claim import Claim, holds_something_else
from tfstiff.records.names import check_name
from tfstiff.runs.blank import is_blank, remove_blank
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.rewinding import clear_the_way, remove_leftovers, rewind
from tfstiff.runs.checkpoints.store import Checkpoint, CheckpointStore
from tfstiff.runs.load import Run, encoding_of, load_run
from tfstiff.runs.prepare import PreparedRun, prepare_run
from tfstiff.runs.progress import LoggedProgress, Progress
from tfstiff.runs.spec import RunSpec
from tfstiff.runs.status import RunStatus, now

_EPOCHS = "epochs"  # may become more: what was trained until then is the same
_MACHINE = ("python", "platform", "cpu_count", "devices", "environment")  # what numbers may depend on besides versions


def run(
    spec: RunSpec,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    checkpoints: CheckpointInterval | None = None,
    patience: float = 0.0,
    tensorboard: bool = False,
    keep_last: bool = False,
) -> Run:
    """Trains as `spec` says, measuring, and leaves a run folder behind.

    A folder in which the same specification was completed is returned at once. One that was completed with fewer epochs
    is extended, where its last checkpoint was kept. One in which it was begun is gone on
    with from its newest whole checkpoint, to the same weights and records as if it had not ended there (bit for bit in
    the deterministic mode on CPU); where there is none, it is begun anew. Nothing that is there is deleted: what is in
    the way is moved aside, to `NAME.aside-TIME`.

    While it trains, a first Ctrl-C, SIGTERM or SIGHUP lets the step end and makes a checkpoint; a second one ends at
    once.

    Args:
        spec: What to run.
        folder: The run's folder; created with its parents.
        progress: Is told what happens.
        checkpoints: How often they are made; None is every minute, and more rarely where they would take more than a
            hundredth of the time. No matter for what the run comes to.
        patience: Seconds to wait for another process that is running there to end.
        tensorboard: Whether to write TensorBoard events into the folder too, as `StiffnessCallback` does.
        keep_last: Whether the checkpoint of the end stays in the folder, 3 to 5 times as large as the weights. The
            same specification with more `epochs` goes on from it then, to what it would have come to from the
            beginning.

    Raises:
        InvalidInput: A name or value in `spec` cannot be used, `folder` holds something else or another process is
            running there, an ended run did not keep what it takes to extend it, or the data set or the resolved
            settings are no longer those that the run was begun with.
        UnsupportedModel: The model cannot be measured.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
        OSError: The folder cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; the folder's status is `interrupted`, and the same call goes on.
        SystemExit: SIGTERM came; otherwise the same.
    """
    folder = Path(folder)
    check_name(folder)
    is_new = not folder.exists()
    found = _begun(spec, folder)  # before anything is written in a folder of something else
    if found is not None and _has_ended(found, spec):
        return found
    with Claim(folder, patience=patience, shared=True):
        found = _begun(spec, folder)
        if found is not None and _has_ended(found, spec):  # by a process that had the folder until now
            return found
        log = LoggedProgress(folder / "log.txt", progress or Progress())
        begun = _Begun(spec, folder, found, is_new, tensorboard, keep_last)
        return _run(begun, log, checkpoints or CheckpointInterval())


@dataclass(frozen=True)
class _Begun:
    spec: RunSpec
    folder: Path
    found: Run | None  # the run that goes on
    is_new: bool  # whether the folder was not there
    tensorboard: bool
    keep_last: bool


def _has_ended(found: Run, spec: RunSpec) -> bool:
    """Whether nothing of the run is left to do: it diverged, or has trained as many epochs as are asked for."""
    return found.status == "diverged" or (found.status == "completed" and _epochs(found.spec) >= spec.epochs)


def _epochs(config: Mapping[str, Any]) -> int:
    return int(config.get(_EPOCHS, 0))


def _run(begun: _Begun, log: Progress, interval: CheckpointInterval) -> Run:
    clock = time.perf_counter()
    ended = begun.found.state if begun.found is not None and begun.found.status == "completed" else None
    store, status = CheckpointStore(begun.folder / "checkpoints"), RunStatus(RunWriter(begun.folder))
    try:
        prepared, checkpoint = _prepared(begun, store, log.say)
    except BaseException as error:
        if ended is None:
            status.ended_by(error)
        else:  # it could not be extended, and has ended as before
            RunWriter(begun.folder).write_status(**ended)
        is_interrupted = isinstance(error, KeyboardInterrupt | SystemExit)  # what was begun can be gone on with
        if begun.is_new and not is_interrupted and is_blank(begun.folder):  # the same command, mended, is free to run
            remove_blank(begun.folder)
        raise
    if checkpoint is not None:
        log.say(f"Going on from step {checkpoint.step}.")
        clock -= checkpoint.state["seconds"]
    log.say(
        f"Training {prepared.model.name} ({prepared.model.count_params():,} parameters) on "
        f"{len(prepared.dataset.train):,} examples: {begun.spec.epochs} epoch{'s' * (begun.spec.epochs != 1)} of "
        f"{prepared.steps_per_epoch} step{'s' * (prepared.steps_per_epoch != 1)}."
    )
    from tfstiff.runs.fit import Saving, train

    try:
        diverged = train(prepared, log, status.timings, Saving(store, interval, checkpoint, clock, begun.keep_last))
    except BaseException as error:
        log.say(f"The run was {status.ended_by(error)}; what it recorded is in {begun.folder}.")
        raise
    status.timings["seconds"] = round(time.perf_counter() - clock, 3)
    status.ended("diverged" if diverged else "completed")
    try:
        end = begun.spec.epochs * prepared.steps_per_epoch
        store.clear(but=end if begun.keep_last else None)  # there is nothing else to go on with
    except OSError as error:
        log.say(f"Warning: the checkpoints could not be removed: {error}")
    draw_figures(load_run(begun.folder), log)
    return load_run(begun.folder)


def _prepared(
    begun: _Begun, store: CheckpointStore, say: Callable[[str], object]
) -> tuple[PreparedRun, Checkpoint | None]:
    """The run, ready to train, and the checkpoint to go on from; its folder is as it was then, or at the beginning."""
    spec, folder, found = begun.spec, begun.folder, begun.found
    if found is None:
        remove_leftovers(folder)  # of a process that was killed at once
        RunWriter(folder).write_config(spec.as_config())  # before anything slow, such as importing TensorFlow
    checkpoint = None if found is None else _newest(store, spec, say)
    if found is not None and found.status == "completed" and checkpoint is None:
        raise InvalidInput(
            f"The run in {folder} has ended, and did not keep what it takes to extend it.",
            expected="the checkpoint of its end, as `tfstiff run` and run(…, keep_last=True) keep it",
            remedy="Begin another run with more epochs in another folder.",
        )
    import_tensorflow()
    say(f"Loading {spec.dataset}.")
    prepared = prepare_run(spec, folder, begun.tensorboard, None if found is None else encoding_of(found))
    preparation = prepared.dataset.provenance["preparation"]
    say(preparation["preprocessing"]["in_words"])
    if "targets" in preparation:
        say("The targets are numbers; they were brought to mean 0 and variance 1 over the training examples.")
    if found is not None and checkpoint is not None:
        meta = _checked_meta(found, prepared, checkpoint, say)
        rewind(folder, store, checkpoint, say)
        RunWriter(folder).write_meta(meta)
        RunWriter(folder).write_config(spec.as_config() | prepared.resolved())  # of more epochs, where it is extended
        return prepared, checkpoint
    if found is not None:
        say("There is no checkpoint to go on from, so the run begins anew.")
        clear_the_way(folder, say)
    writer = RunWriter(folder)
    writer.write_config(spec.as_config() | prepared.resolved())
    if prepared.dataset.encoding is not None:
        writer.write_vocabulary(prepared.dataset.encoding.as_config())
    writer.write_meta(provenance() | prepared.inputs())
    return prepared, None


def _begun(spec: RunSpec, folder: Path) -> Run | None:
    """The run of the same specification that was begun in `folder`, or None where nothing was.

    Raises:
        InvalidInput: The folder holds something else.
    """
    if not folder.exists() or is_blank(folder):
        return None
    found = load_run(folder) if (folder / "records").is_dir() else None
    differing = None
    if found is not None and found.spec:
        differing = _differing(RunSpec.from_config(found.spec).as_config(), spec.as_config(), may_grow=_EPOCHS)
    if found is None or differing is None or differing:
        raise holds_something_else(
            folder,
            expected="a new or empty folder, or one of a run of the same specification",
            received=f"a run that differs in {'; '.join(differing)}" if differing else "no run",
        )
    return found


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], *, may_grow: str | None = None) -> list[str]:
    """What is otherwise now than it was, in words. What was not written then is not compared.

    Args:
        before: By name.
        now: By name.
        may_grow: A number, or a list, that may have become more.
    """
    return [
        f"{name}: {before[name]!r}, now {value!r}"
        for name, value in now.items()
        if name in before and before[name] != value and not (name == may_grow and _has_grown(before[name], value))
    ]


def _has_grown(before: Any, now: Any) -> bool:
    if isinstance(before, list) and isinstance(now, list):
        return now[: len(before)] == before
    return isinstance(before, int) and isinstance(now, int) and before < now


def _newest(store: CheckpointStore, spec: RunSpec, say: Callable[[str], object]) -> Checkpoint | None:
    """The newest whole checkpoint.

    Raises:
        InvalidInput: It is one of other settings.
    """
    checkpoint = next(store.whole(say), None)
    before = {} if checkpoint is None else checkpoint.state["settings"]
    if differing := _differing(before, spec.as_config(), may_grow=_EPOCHS):
        raise InvalidInput(
            f"The checkpoints in {store.folder} are of a run with other settings.",
            received="; ".join(differing),
            remedy="Was config.json changed by hand? Bring it back, or begin another run with --out.",
        )
    return checkpoint


def _checked_meta(
    found: Run, prepared: PreparedRun, checkpoint: Checkpoint, say: Callable[[str], object]
) -> dict[str, Any]:
    """The provenance of a run that goes on; tells what has changed.

    Raises:
        InvalidInput: What determines the run has.
    """
    found_now = json.loads(json.dumps(provenance() | prepared.inputs()))
    before = found.meta
    try:
        decisive = [
            *_differing(found.spec, json.loads(json.dumps(prepared.resolved())), may_grow="measured_steps"),
            *_differing(before["dataset"].get("splits", {}), found_now["dataset"].get("splits", {})),
            *_differing({"probe": before["probe"]["sha256"]}, {"probe": found_now["probe"]["sha256"]}),
        ]
        changed = [
            *_differing(before["packages"], found_now["packages"]),
            *_differing({name: before[name] for name in _MACHINE}, {name: found_now[name] for name in _MACHINE}),
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordCorrupt(
            f"{found.folder / 'meta.json'} does not say what the run was begun with: {type(error).__name__}: {error}"
        ) from error
    if decisive:
        raise InvalidInput(
            f"The run in {found.folder} cannot go on, since what it was begun with has changed.",
            received="; ".join(decisive),
            remedy="Bring back the data, the model's code or the version of tfstiff, or begin again in another folder.",
        )
    if changed:
        say(f"Warning: the run was begun with something else, so it may end otherwise. {'; '.join(changed)}.")
    segment = {"step": checkpoint.step, "time": now(), "changed": changed}
    return {**before, "resumed": [*before.get("resumed", []), segment]}


def draw_figures(finished: Run, progress: Progress) -> None:
    """Draws the figures of a run into its folder, if anything was measured. Where that fails it is said, no more."""
    if not finished.measurements:
        return
    progress.say("Drawing the figures.")
    try:
        from tfstiff.figures import draw

        draw(finished, formats=("png",), say=progress.say)  # `tfstiff plot` makes the others
    except Exception as error:  # whatever it is, the measurements are worth more than a picture of them
        progress.say(
            f"Warning: the figures could not be drawn: {type(error).__name__}: {error}\n"
            f"To draw them again: tfstiff plot {finished.folder}"
        )
