"""The training of a run: Keras' `fit`, measurements and checkpoints, from initialisation or from a checkpoint on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import keras

from tfstiff.callbacks.kept_models import KeepModels
from tfstiff.records import RunWriter
from tfstiff.runs.batches import Batches
from tfstiff.runs.checkpoints import training_state
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.saving import SaveCheckpoints
from tfstiff.runs.checkpoints.store import Checkpoint, CheckpointStore
from tfstiff.runs.interruption import Interruption
from tfstiff.runs.prepare import PreparedRun
from tfstiff.runs.progress import Progress
from tfstiff.runs.reporter import Reporter
from tfstiff.runs.segments import EpochCallbacks, fit_in_segments


@dataclass
class Saving:
    """Where and when a training's checkpoints are made, and the one that it goes on from.

    Attributes:
        store: Where.
        interval: When.
        begun_from: None where training begins at initialisation.
        run_began: Reading of `time.perf_counter` when the run began, or would have, had it not been interrupted.
        keeps_last: Whether one of the end is made.
    """

    store: CheckpointStore
    interval: CheckpointInterval
    begun_from: Checkpoint | None
    run_began: float
    keeps_last: bool = False


def train(prepared: PreparedRun, progress: Progress, timings: dict[str, Any], saving: Saving) -> bool:
    """Trains and measures; fills in `timings`; returns whether training diverged.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; there is a checkpoint of where training was.
        SystemExit: The process was told to end (SIGTERM); there is a checkpoint of where training was.
    """
    spec, examples, writer = prepared.spec, prepared.dataset.train, RunWriter(prepared.folder)
    reporter = Reporter(prepared.stiffness, progress, writer)
    begun_from = saving.begun_from
    start = time.perf_counter() - (0.0 if begun_from is None else begun_from.state["seconds_in_fit"])

    def kept_besides() -> dict[str, Any]:
        now = time.perf_counter()
        seconds = {"seconds": now - saving.run_began, "seconds_in_fit": now - start}
        return {"settings": spec.as_config(), "sizes": writer.sizes(), **seconds}

    keep = KeepModels(prepared.stiffness, prepared.folder) if spec.keep_models else None
    everyone = (prepared.stiffness, prepared.stop, *prepared.watchers, keep, reporter)
    callbacks = [one for one in everyone if one is not None]
    progress.begin(spec.epochs, prepared.steps_per_epoch)
    try:
        with Interruption(progress.say) as interruption:
            last = spec.epochs * prepared.steps_per_epoch if saving.keeps_last else None
            saver = SaveCheckpoints(
                saving.store, saving.interval, interruption, callbacks, kept_besides, progress.say, last=last
            )
            _fit(prepared, [*callbacks, saver], begun_from)
        if interruption.requested is not None:  # after the last batch
            interruption.end()
    finally:
        progress.end()
        fitting, measuring = time.perf_counter() - start, sum(prepared.stiffness.seconds)
        images = min(reporter.steps * spec.batch_size, spec.epochs * len(examples))
        timings["seconds_in_fit"] = round(fitting, 3)
        timings["seconds_measuring"] = round(measuring, 3)
        timings["images_per_second"] = round(images / (fitting - measuring), 1)
    if prepared.stop is not None and prepared.stop.waiting:
        progress.say(
            f"Not reached: training losses of {', '.join(map(str, prepared.stop.waiting))}; "
            f"the lowest was {min(loss for _, loss in prepared.stop.evaluations):.4g}."
        )
    return reporter.diverged


def _fit(prepared: PreparedRun, callbacks: list[keras.callbacks.Callback], begun_from: Checkpoint | None) -> None:
    model, spec, steps = prepared.model, prepared.spec, prepared.steps_per_epoch
    train = prepared.dataset.train
    batches = Batches(train.x, train.y, spec.batch_size, spec.seed)
    told = EpochCallbacks(callbacks, model, epochs=spec.epochs, steps=steps)
    if begun_from is None:
        told.begin()
    else:
        training_state.build(model, train.x[:1], train.y[:1])
        training_state.put_back(model, begun_from.state["training"], begun_from.arrays)
        epoch = (begun_from.step - 1) // steps
        told.begin(begun_from, epoch)
        if begun_from.step % steps == 0 or model.stop_training:  # the epoch had ended, and nobody been told
            told.end_epoch(epoch, dict(begun_from.state["logs"]))
        if model.stop_training:
            told.end()
            return
    trained = 0 if begun_from is None else begun_from.step
    fit_in_segments(model, batches, told, prepared.measured_steps, trained=trained)
