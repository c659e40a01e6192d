"""A job's folder: everything that a process must know to sum a part, and the totals of the parts that are done.

job.json           options, division into parts, edges of the distance bins     model.keras   the model, with its loss
arrays/*.npy       the probe's examples and their classes                       parts/*.npz   totals, one file a part
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfstiff.models.transformer  # noqa: F401  # makes its layers known to Keras, for models that are read
from tfstiff._keras import set_path
from tfstiff.errors import InvalidInput, RecordCorrupt, RecordUnreadable, UnsupportedModel
from tfstiff.gradients.loss import predict, resolve_loss
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.measuring.distributed.part_file import read_part
from tfstiff.measuring.distributed.structure import description_of, rebuilt
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe, ProbeHalf
from tfstiff.measuring.summation.probe_sums import ProbeTotals
from tfstiff.records.aside import move_aside
from tfstiff.records.atomic import write_json
from tfstiff.records.reading import read_object

_CHECKED_EXAMPLES = 8
_FILES = ("job.json", "probe.json", "model.keras", "loss.json", "paths.json")


@dataclass(frozen=True)
class Division:
    """How a measurement is divided; the same for every process.

    Attributes:
        num_parts: How many parts there are.
        num_bands: Bands of blocks that they are made of; see `tfstiff.measuring.summation.parts.divided`.
        block_size: Examples of a block.
        num_resident: Examples whose factors a process holds at a time.
        edges: By space and pair set: edges of the distance bins.
        num_spare: Bytes that a process may keep beside.
    """

    num_parts: int
    num_bands: int
    block_size: int
    num_resident: int
    edges: Mapping[str, Mapping[str, Sequence[float]]]
    num_spare: int = sys.maxsize

    @property
    def memory(self) -> MemoryPlan:
        """How a process holds gradients."""
        return MemoryPlan(self.block_size, self.num_resident, 0, self.num_spare)


@dataclass(frozen=True)
class Job:
    """A measurement that is made in parts.

    Attributes:
        folder: Where it is.
        options: What is measured, and how.
        division: How it is divided.
    """

    folder: Path
    options: MeasureOptions
    division: Division

    def part_path(self, index: int) -> Path:
        """Where the totals of a part are, once it is done."""
        return self.folder / "parts" / f"{index:05d}.npz"

    def missing(self) -> list[int]:
        """The parts that are not done; one that is damaged is moved aside, and is not done."""
        return [index for index in range(self.division.num_parts) if not self._is_done(index)]

    def _is_done(self, index: int) -> bool:
        path = self.part_path(index)
        if not path.exists():
            return False
        try:
            read_part(path)
        except RecordUnreadable:
            raise
        except RecordCorrupt as error:
            warnings.warn(f"{error} Moved aside, to be summed again: {move_aside(path)}.", stacklevel=3)
            return False
        return True

    def totals(self) -> Iterator[ProbeTotals]:
        """The totals of all parts, each read as it is asked for."""
        return (read_part(self.part_path(index)) for index in range(self.division.num_parts))

    def probe(self) -> Probe:
        """The probe, its inputs read from the disk as they are used."""
        description = json.loads((self.folder / "probe.json").read_text())
        paths = [self.folder / "arrays" / f"{place}.npy" for place in range(description["num"])]
        members = rebuilt(description["halves"], [np.load(path, mmap_mode="r") for path in paths])
        train, validation = (ProbeHalf(half["x"], half["y"], half.get("classes"), half["ids"]) for half in members)
        return Probe(train, validation, description["class_names"], **description["labels"])

    def model(self) -> keras.Model:
        """The model, compiled with its loss alone."""
        return load_with_loss(self.folder)


def write_job(
    folder: Path,
    model: keras.Model,
    probe: Probe,
    loss: Any,
    options: MeasureOptions,
    *,
    name: str,
    division: Division,
) -> Job:
    """Writes a job, with no part done. `name` is its `fingerprint`.

    Raises:
        UnsupportedModel: The model or its loss cannot be built again by another process.
        OSError: The folder cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):  # stopped while it was written; or somebody else's
        warnings.warn(f"Moved aside, since it was in the way: {move_aside(folder)}.", stacklevel=3)
    for part in ("arrays", "parts"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _write_model(folder, model, probe, loss)
    halves = [_members(half) for half in (probe.train, probe.validation)]
    leaves = keras.tree.flatten(halves)
    for place, array in enumerate(leaves):
        np.save(folder / "arrays" / f"{place}.npy", array, allow_pickle=False)
    write_json(
        folder / "probe.json",
        {
            "num": len(leaves),
            "halves": description_of(halves),
            "class_names": list(probe.class_names),
            "labels": probe.reading(),
        },
    )
    content = {
        "fingerprint": name,
        "options": asdict(options),
        "division": asdict(division),
    }
    write_json(folder / "job.json", content)  # last: where it is, the rest is whole
    return load_job(folder)


def remove_job(folder: Path) -> None:
    """Removes what `write_job` and the processes wrote, and no more, as far as the system lets us."""
    with contextlib.suppress(OSError):
        for path in (*folder.glob("arrays/*.npy"), *folder.glob("parts/*.npz"), *folder.glob("parts/.tmp-*")):
            if path.stem.isdigit() or path.name.startswith(".tmp-"):
                path.unlink(missing_ok=True)
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        for place in (folder / "arrays", folder / "parts", folder):
            place.rmdir()


def load_job(folder: Path) -> Job:
    """Reads a job.

    Raises:
        RecordCorrupt: There is none, or it is damaged.
    """
    content = read_object(folder / "job.json")
    return Job(folder, MeasureOptions(**content["options"]), Division(**content["division"]))


def begun_job(folder: Path, wanted: str) -> Job | None:
    """The job of the fingerprint `wanted` that was begun in `folder`; None where nothing was begun.

    Raises:
        InvalidInput: The folder holds something else.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return None
    path = folder / "job.json"
    is_job = (folder / "arrays").is_dir() and (folder / "parts").is_dir()
    if is_job and not path.exists():
        return None  # it was stopped while it was written
    if not path.exists() or read_object(path).get("fingerprint") != wanted:
        raise InvalidInput(
            f"{folder} holds something else.",
            expected="a new or empty folder, or one in which this measurement was begun",
            remedy="Choose another folder, or move this one away.",
        )
    return load_job(folder)


def fingerprint(model: keras.Model, probe: Probe, loss: Any, options: MeasureOptions) -> str:
    """Names a measurement: the model's weights, the probe, the loss and the options."""
    digest = hashlib.sha256(probe.sha256().encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
    digest.update(json.dumps([_loss_config(model, loss), asdict(options)], sort_keys=True, default=str).encode())
    return digest.hexdigest()


def load_with_loss(folder: Path) -> keras.Model:
    """The model of a job's folder, compiled with its loss alone.

    Raises:
        UnsupportedModel: It cannot be built again.
    """
    try:
        model = keras.saving.load_model(folder / "model.keras", compile=False)
        config = keras.saving.deserialize_keras_object(json.loads((folder / "loss.json").read_text()))
    except (TypeError, ValueError, AttributeError, ImportError) as error:
        raise UnsupportedModel(
            f"The model cannot be built again by another process: {error}",
            remedy="Define its classes and its loss in a module that can be imported, with "
            "keras.saving.register_keras_serializable, or measure in one process.",
        ) from error
    paths = json.loads((folder / "paths.json").read_text())
    for weight, path in zip(model.weights, paths, strict=True):
        set_path(weight, path)  # by which layers are known
    model.compile(**config)
    return model


def _write_model(folder: Path, model: keras.Model, probe: Probe, loss: Any) -> None:
    """Writes it, and sees that what is read back has the same weights and losses."""
    model.save(folder / "model.keras")
    write_json(folder / "loss.json", _loss_config(model, loss))
    write_json(folder / "paths.json", [weight.path for weight in model.weights])
    x, y = keras.tree.map_structure(lambda array: array[:_CHECKED_EXAMPLES], (probe.train.x, probe.train.y))
    again = load_with_loss(folder)
    for weight, other in zip(model.weights, again.weights, strict=True):
        if weight.trainable != other.trainable or not np.array_equal(weight.numpy(), other.numpy(), equal_nan=True):
            raise UnsupportedModel(
                f"The weight {weight.path} is another, or is not frozen, once the model has been saved and loaded.",
                remedy="Adapters (enable_lora) are merged into kernels by model.save: use one process.",
            )
    first, second = (resolve_loss(one, given)(y, predict(one, x)) for one, given in ((model, loss), (again, None)))
    if not np.allclose(first, second, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise UnsupportedModel(
            "The model has other losses once it has been saved and loaded.",
            remedy="See that the configurations of its layers and its loss say everything, or use one process.",
        )


def _loss_config(model: keras.Model, loss: Any) -> dict[str, Any]:
    """The arguments of `compile` that say what the loss is, as JSON."""
    if loss is not None:
        return {"loss": keras.saving.serialize_keras_object(loss)}
    config = model.get_compile_config() or {}
    return {name: config[name] for name in ("loss", "loss_weights") if config.get(name) is not None}


def _members(half: ProbeHalf) -> dict[str, Any]:
    classes = {} if half.classes is None else {"classes": half.classes}
    return {"x": half.x, "y": half.y, "ids": half.ids, **classes}
