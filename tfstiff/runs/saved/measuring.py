"""`measure_saved`: the stiffness of models that are trained already, as a run's folder, without training."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras

from tfstiff import models
from tfstiff._options import option_fields
from tfstiff.callbacks.steps import num_updates
from tfstiff.cluster.provenance import provenance
from tfstiff.datasets import Dataset
from tfstiff.datasets.text import TextEncoding
from tfstiff.errors import InvalidInput
from tfstiff.measuring.distributed import measure_in_parts
from tfstiff.measuring.distributed.job import remove_job
from tfstiff.measuring.distributed.measure import Processes
from tfstiff.measuring.distributed.parts_done import PartsDone
from tfstiff.measuring.measure import measure
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.records import RunWriter
from tfstiff.records.claim import Claim, holds_something_else
from tfstiff.records.names import check_name
from tfstiff.records.run_folder import record_path
from tfstiff.runs.blank import is_blank, remove_blank
from tfstiff.runs.checkpoints.rewinding import remove_leftovers
from tfstiff.runs.data import STANDARDIZED, draw_probe, load_examples
from tfstiff.runs.load import Run, load_run
from tfstiff.runs.progress import LoggedProgress, Progress
from tfstiff.runs.saved.files import ModelFile, check_readable
from tfstiff.runs.saved.on_data import fitted
from tfstiff.runs.saved.reading import load_model
from tfstiff.runs.spec import MEASURED_ON, RunSpec
from tfstiff.runs.status import RunStatus

_EXPECTED = "a new or empty folder, or one in which the same was begun"
_PARTS = "parts"  # folder of what several processes have summed
# Settings of a specification that matter where nothing is trained.
_SETTINGS = (*MEASURED_ON, *(field.name for field in option_fields(MeasureOptions)))


@dataclasses.dataclass(frozen=True)
class SavedModels:
    """Saved models of one network.

    Attributes:
        files: In the order in which they were saved.
        arch: The network that their weights are of, as `RunSpec.arch`. None where the files hold whole models.
        hidden: Widths of its hidden layers, as `RunSpec.hidden`.
        input_shape: Of its inputs; None means that of the data set's examples.
        num_outputs: Of the network; None means the data set's number of classes.
        num_token_ids: Of the network; None means the data set's.
        encoding: How texts become its token ids; None fits it to the data set's training texts.
        learning_rate: With which they were trained; NaN where unknown.
        loss: A name that Keras knows. None means that of the file, else cross-entropy.
        objective: In place of a loss, `package.module:function`, as `RunSpec.objective`.
    """

    files: Sequence[ModelFile]
    arch: str | None = None
    hidden: tuple[int, ...] | None = None
    input_shape: tuple[int, ...] | None = None
    num_outputs: int | None = None
    num_token_ids: int | None = None
    encoding: TextEncoding | None = None
    learning_rate: float = math.nan
    loss: str | None = None
    objective: str | None = None


def measure_saved(
    saved: SavedModels,
    spec: RunSpec,
    folder: str | Path,
    *,
    inputs: str = STANDARDIZED,
    processes: Processes | int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Measures saved models on a data set, one after the other, and leaves a run's folder behind.

    Models are read in Keras' safe mode: no code that a file holds is run. A folder in which the same was completed is
    returned at once; one in which it was begun is gone on with.

    Args:
        saved: The models.
        spec: The data set, the probe and what is measured; settings of training are not used.
        folder: New, empty, or one in which the same was begun; created with its parents.
        inputs: What the models take: `standardized`, `raw` or `unit`; see `tfstiff.runs.data.load_examples`.
        processes: Over which each measurement is spread; see `measure_in_parts`. None is this
            one.
        progress: Is told what happens.

    Raises:
        PartFailed: One of these processes failed; what the others summed is kept for the same call.
        InvalidInput: A name or value cannot be used, a file is none of a model, the models do not take the data set's
            examples, have too few outputs for its classes, or the folder is in use.
        ModelCorrupt: A file is damaged.
        UnsupportedModel: A model cannot be measured, or holds code.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
    """
    folder = Path(folder)
    for file in saved.files:
        check_readable(file.path)
    check_name(folder)
    is_new = not folder.exists()
    _begun(folder)  # before anything is written in a folder of something else
    with Claim(folder):
        begun = _begun(folder)
        log = LoggedProgress(folder / "log.txt", progress or Progress())
        try:
            return _measured(saved, spec, begun, RunWriter(folder), inputs, processes, log)
        except BaseException:
            if is_new and is_blank(folder):
                remove_blank(folder)
            raise


def _measured(
    saved: SavedModels,
    spec: RunSpec,
    begun: Run | None,
    writer: RunWriter,
    inputs: str,
    processes: Processes | int | None,
    log: Progress,
) -> Run:
    clock = time.perf_counter()
    log.say(f"Loading {spec.dataset}.")
    dataset = load_examples(dataclasses.replace(spec, arch=saved.arch or spec.arch), inputs, saved.encoding)
    if saved.encoding is None and dataset.encoding is not None:
        log.say(
            "Warning: which vocabulary these models were trained with is not known, and one fitted to the training "
            "texts of this data set is used. Measure the folder of a run, which keeps its own, or give token ids."
        )
    probe = draw_probe(spec, dataset)
    config = _config(saved, spec, inputs, dataset)
    if begun is not None and begun.spec != config:
        raise holds_something_else(writer.folder, _EXPECTED, "other models or settings")
    if begun is not None and begun.status == "completed":
        return begun
    status = RunStatus(writer)
    try:
        writer.write_config(config)
        writer.write_meta(provenance() | {"dataset": dataset.provenance, "probe": {"sha256": probe.sha256()}})
        writer.write_probe(**probe.members())
        if dataset.encoding is not None:
            writer.write_vocabulary(dataset.encoding.as_config())
        remove_leftovers(writer.folder)
        _measure_all(saved, spec, dataset, probe, writer, processes, log)
    except BaseException as error:
        status.ended_by(error)
        raise
    status.timings["seconds"] = round(time.perf_counter() - clock, 3)
    status.ended("completed")
    return load_run(writer.folder)


def _begun(folder: Path) -> Run | None:
    """What was begun in a folder; None where nothing was."""
    if not folder.exists() or is_blank(folder):
        return None
    if not (folder / "records").is_dir():
        raise holds_something_else(folder, _EXPECTED)
    return load_run(folder)


def _measure_all(
    saved: SavedModels,
    spec: RunSpec,
    dataset: Dataset,
    probe: Probe,
    writer: RunWriter,
    processes: Processes | int | None,
    progress: Progress,
) -> None:
    last = -1
    # Weights are read into one network, which is traced once and whose layers keep their names.
    build = builder(saved, dataset)
    objective = None if saved.objective is None else models.imported(saved.objective, "objective")
    if objective is not None and processes is not None:
        raise InvalidInput("A measurement of an objective is made by one process.", remedy="Leave out --jobs.")
    say = cache(progress.say)  # what is so of all models is said once
    for file in saved.files:
        model = load_model(file.path, build)
        loss, own_probe = fitted(model, dataset, probe, saved.loss, say, objective)
        updates = num_updates(model)
        last = max(file.step if file.step >= 0 else updates, last + 1)  # every record has a step of its own
        if record_path(writer.folder, last).exists():  # made before this call
            continue
        start = time.perf_counter()
        if processes is None:
            found = measure(model, own_probe, loss=loss, objective=objective, **vars(spec.measure_options()))
        else:
            found = measure_in_parts(
                model,
                own_probe,
                writer.folder / _PARTS / f"step-{last}",
                processes=processes,
                progress=PartsDone(progress.say),
                loss=loss,
                **vars(spec.measure_options()),
            )
        seconds = time.perf_counter() - start
        found = dataclasses.replace(
            found, step=last, epoch=file.epoch, updates=updates, learning_rate=saved.learning_rate
        )
        writer.add(found, seconds)
        _remove_parts(writer.folder / _PARTS / f"step-{last}")
        progress.say(f"Measured {file.path}.")
        progress.measured(found, seconds)


def _remove_parts(folder: Path) -> None:
    """Removes what the processes of a measurement that is recorded have summed."""
    remove_job(folder)
    with contextlib.suppress(OSError):  # there are none, or something else is there too
        folder.parent.rmdir()


def builder(saved: SavedModels, dataset: Dataset) -> Callable[[], keras.Model] | None:
    """What builds the network that weights are of, one for all; None where the files hold whole models."""
    return None if saved.arch is None else cache(partial(_build, saved.arch, saved, dataset))


def _build(arch: str, saved: SavedModels, dataset: Dataset) -> keras.Model:
    shape = saved.input_shape or dataset.train.x.shape[1:]
    outputs = saved.num_outputs or dataset.num_outputs
    return models.build(arch, tuple(shape), outputs, saved.hidden, saved.num_token_ids or dataset.num_token_ids)


def _config(saved: SavedModels, spec: RunSpec, inputs: str, dataset: Dataset) -> dict[str, Any]:
    settings = {name: value for name, value in spec.as_config().items() if name in _SETTINGS}
    config = {
        "models": [str(file.path) for file in saved.files],
        "arch": saved.arch,
        "hidden": saved.hidden,
        "loss": saved.loss,
        "objective": saved.objective,
        "inputs": inputs,
        **settings,
        "num_classes": dataset.num_classes,
        "vocabulary_sha256": dataset.encoding and dataset.encoding.sha256(),
    }
    return json.loads(json.dumps(config))  # as it is read again
