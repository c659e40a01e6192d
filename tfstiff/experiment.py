"""`run`: from a specification to a run folder: data, model, `fit`, records, figures."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfstiff.errors import InvalidInput
from tfstiff.progress import LoggedProgress, Progress
from tfstiff.records import METRICS, Run, RunWriter, load_run, scalar_names
from tfstiff.records.provenance import provenance
from tfstiff.run_spec import RunSpec
from tfstiff.schedules import at_steps

if TYPE_CHECKING:
    import keras

    from tfstiff.callback import StiffnessCallback
    from tfstiff.datasets import Dataset
    from tfstiff.probe import Probe
    from tfstiff.stop_at_loss import StopAtTrainingLoss


def run(spec: RunSpec, folder: str | Path, *, progress: Progress | None = None) -> Run:
    """Trains as `spec` says, measuring, and leaves a run folder behind.

    A folder in which the same specification was completed is returned at once; one in which it was begun is begun anew.

    Args:
        spec: What to run.
        folder: The run's folder; created with its parents.
        progress: Is told what happens.

    Raises:
        InvalidInput: A name or value in `spec` cannot be used, or `folder` holds something else.
        UnsupportedModel: The model cannot be measured.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
        OSError: The folder cannot be written.
    """
    folder = Path(folder)
    completed = _claim(spec, folder)
    if completed is not None:
        return completed
    clock = time.perf_counter()
    started = {"pid": os.getpid(), "host": socket.gethostname(), "started": _now()}
    writer = RunWriter(folder)
    writer.write_config(dataclasses.asdict(spec))  # before anything slow, such as importing TensorFlow
    writer.write_status("running", **started)
    log = LoggedProgress(folder / "log.txt", progress or Progress())
    log.say(f"Loading {spec.dataset}.")
    try:
        trial = _prepare(spec, folder)
    except BaseException:
        shutil.rmtree(folder)  # nothing was recorded, and the same command, mended, must be free to run
        raise
    writer.write_config(dataclasses.asdict(spec) | _resolved(trial))
    writer.write_meta(provenance() | _inputs(trial))
    log.say(
        f"Training {trial.model.name} ({trial.model.count_params():,} parameters) on {len(trial.dataset.train):,} "
        f"examples: {spec.epochs} epochs of {trial.steps_per_epoch} steps."
    )
    timings: dict[str, Any] = {}
    try:
        diverged = _train(trial, log, timings)
        finished = load_run(folder)
        log.say("Drawing the figures.")
        _draw(finished, log)
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
        reason = f"{type(error).__name__}: {error}"
        writer.write_status(status, **started, ended=_now(), error=reason, **timings)
        log.say(f"The run was {status}; what it recorded is in {folder}.")
        raise
    timings["seconds"] = round(time.perf_counter() - clock, 3)
    writer.write_status("diverged" if diverged else "completed", **started, ended=_now(), **timings)
    return load_run(folder)


@dataclass(frozen=True)
class _Trial:
    """The parts of a run, ready to train."""

    spec: RunSpec
    folder: Path
    dataset: Dataset
    probe: Probe
    model: keras.Model
    stiffness: StiffnessCallback
    stop: StopAtTrainingLoss | None
    steps_per_epoch: int
    measured_steps: list[int]


def _prepare(spec: RunSpec, folder: Path) -> _Trial:
    _require_tensorflow_backend()
    from tfstiff.datasets import load, prepare

    raw = load(spec.dataset, data_dir=spec.data_dir, offline=spec.offline)
    options = {name: getattr(spec, name) for name in ("centering", "train_examples", "permute_labels", "seed")}
    dataset = prepare(raw, **options)
    if dataset.num_classes is None:
        raise InvalidInput(
            "A run trains a classifier, and this data set has regression targets.",
            received=spec.dataset,
            remedy="Use StiffnessCallback in a model.fit of your own.",
        )
    import keras

    from tfstiff import models
    from tfstiff.callback import StiffnessCallback
    from tfstiff.gradients.loss import check_model
    from tfstiff.measuring import check_labels
    from tfstiff.probe import Probe
    from tfstiff.stop_at_loss import StopAtTrainingLoss
    from tfstiff.training import steps_per_execution

    train, validation = dataset.train, dataset.validation
    probe = Probe.from_arrays(
        (train.x, train.y),
        (validation.x, validation.y),
        size=spec.probe_size,
        seed=spec.seed,
        class_names=dataset.class_names,
        ids=(train.ids, validation.ids),
    )
    keras.utils.set_random_seed(spec.seed)
    if spec.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    model = models.build(spec.arch, train.x.shape[1:], dataset.num_classes, spec.hidden)
    model.compile(
        keras.optimizers.Adam(spec.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution(spec.stop_interval if spec.stop_at_loss else None),
    )
    check_model(model, train.x)
    check_labels(model, probe)
    steps_per_epoch = -(-len(train) // spec.batch_size)
    steps = spec.measured_steps(steps_per_epoch)
    stiffness = StiffnessCallback(
        probe, at_steps(steps), log_dir=folder, publish=_published(spec), **spec.measure_options()
    )
    stop = None
    if spec.stop_at_loss:
        stop = StopAtTrainingLoss(
            train.x,
            train.y,
            spec.stop_at_loss,
            stiffness=stiffness,
            interval=spec.stop_interval,
            size=spec.stop_examples,
            seed=spec.seed,
        )
    return _Trial(spec, folder, dataset, probe, model, stiffness, stop, steps_per_epoch, steps)


def _published(spec: RunSpec) -> list[str]:
    """The scalars of the specification's pair sets, without those of metrics that it leaves out."""
    left_out = tuple(f"stiffness_{metric}_" for metric in METRICS if metric not in spec.metrics)
    return [name for name in scalar_names(True, spec.pair_sets) if not name.startswith(left_out)]


def _require_tensorflow_backend() -> None:
    try:
        import keras

        backend = keras.backend.backend()
    except ModuleNotFoundError as error:  # Keras imports the backend that it is set to
        backend = error.name or "unknown"
    if backend != "tensorflow":
        raise InvalidInput(
            "Keras is set to another backend.",
            expected="tensorflow",
            received=backend,
            remedy="Set the environment variable KERAS_BACKEND=tensorflow, or change ~/.keras/keras.json.",
        )


def _train(trial: _Trial, progress: Progress, timings: dict[str, Any]) -> bool:
    """Trains and measures; fills in `timings`; returns whether training diverged."""
    from tfstiff.training import Batches, ExactSteps, Reporter

    train = trial.dataset.train
    batches = Batches(train.x, train.y, trial.spec.batch_size, trial.spec.seed)
    reporter = Reporter(trial.stiffness, progress, RunWriter(trial.folder))

    def reached(done: int) -> None:
        trial.stiffness.on_train_batch_end(done - 1)
        reporter.report()

    exact = ExactSteps(trial.measured_steps, reached)
    progress.begin(trial.spec.epochs, trial.steps_per_epoch)
    start = time.perf_counter()
    try:
        trial.model.fit(
            batches.dataset,
            epochs=trial.spec.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[batches, exact, trial.stiffness, *([trial.stop] if trial.stop else []), reporter],
        )
    finally:
        progress.end()
        fitting, measuring = time.perf_counter() - start, sum(trial.stiffness.seconds)
        images = min(reporter.steps * trial.spec.batch_size, trial.spec.epochs * len(train))
        timings["seconds_in_fit"] = round(fitting, 3)
        timings["seconds_measuring"] = round(measuring, 3)
        timings["images_per_second"] = round(images / (fitting - measuring), 1)
    if trial.stop is not None and trial.stop.waiting:
        progress.say(
            f"Not reached: training losses of {', '.join(map(str, trial.stop.waiting))}; "
            f"the lowest was {min(loss for _, loss in trial.stop.evaluations):.4g}."
        )
    return reporter.diverged


def _draw(finished: Run, progress: Progress) -> None:
    from tfstiff.figures import draw

    if finished.measurements:
        draw(finished, formats=("png",), say=progress.say)  # `tfstiff plot` makes the others


def _resolved(trial: _Trial) -> dict[str, Any]:
    """What the specification leaves open, as the data decided it. Training may stop before the last measured steps."""
    stopping = {} if trial.stop is None else {"num_stop_examples": trial.stop.num_examples}
    return {
        **stopping,
        "optimizer": "adam",
        "loss": "sparse_categorical_crossentropy",
        "steps_per_epoch": trial.steps_per_epoch,
        "steps_per_execution": trial.model.steps_per_execution,
        "measured_steps": trial.measured_steps,
        "num_train_examples": len(trial.dataset.train),
        "num_parameters": int(trial.model.count_params()),
    }


def _inputs(trial: _Trial) -> dict[str, Any]:
    """Provenance of what the run worked on."""
    import tensorflow as tf

    return {
        "devices": [device.name for device in tf.config.list_physical_devices()],
        "dataset": trial.dataset.provenance,
        "probe": {
            "train_examples": len(trial.probe.train),
            "validation_examples": len(trial.probe.validation),
            "sha256": trial.probe.sha256(),
        },
    }


def _claim(spec: RunSpec, folder: Path) -> Run | None:
    """Makes sure that a run may begin in `folder`; returns the run where the same specification was completed there."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    found = load_run(folder) if (folder / "records").is_dir() else None
    wanted = json.loads(json.dumps(dataclasses.asdict(spec)))
    if found is None or {name: found.spec.get(name) for name in wanted} != wanted:
        raise InvalidInput(
            f"{folder} holds something else.",
            expected="a new or empty folder, or one of a run of the same specification",
            remedy="Choose another output folder.",
        )
    if found.status in ("completed", "diverged"):
        return found
    if found.is_running:
        raise InvalidInput(
            f"Another process is running in {folder}.", remedy="Wait for it, or choose another output folder."
        )
    shutil.rmtree(folder)
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
