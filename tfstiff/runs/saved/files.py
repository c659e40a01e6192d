"""Which saved models a path stands for, and in which order they come. Imports no TensorFlow."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from tfstiff.errors import InvalidInput, ModelCorrupt
from tfstiff.records import open_run
from tfstiff.records.run_folder import model_path

WHOLE, WEIGHTS = ".keras", ".weights.h5"
_EPOCH = re.compile(r"epoch[-_=. ]?$", re.IGNORECASE)


@dataclass(frozen=True)
class ModelFile:
    """A saved model, and when it was saved, as far as that is known.

    Attributes:
        path: A file `.keras` or `.weights.h5`.
        step: Batches trained on; -1 where unknown.
        epoch: Epochs trained; NaN where unknown.
    """

    path: Path
    step: int = -1
    epoch: float = math.nan


def model_files(path: str | Path) -> list[ModelFile]:
    """The saved models that `path` stands for, in the order in which they were saved.

    Args:
        path: A file; a run's folder, for the models that were kept; or a folder of files. Their order, and the step of
            each, is told by the first number in which their names differ, such as 12 of `cnn3-epoch12-0.35.keras`;
            after "epoch" it is one of epochs. Where there is none they are numbered in the order of their names.

    Raises:
        InvalidInput: There is nothing of the kind.
    """
    path = Path(path)
    if not path.is_dir():
        return [ModelFile(path)]
    if (path / "records").is_dir():
        return _of_run(path)
    found = sorted(one for one in path.iterdir() if one.name.endswith((WHOLE, WEIGHTS)))
    if not found:
        raise InvalidInput(f"There are no models in {path}.", expected=f"files {WHOLE} or {WEIGHTS}, or a run's folder")
    return _in_order(found)


def check_readable(path: Path) -> None:
    """Sees that a file is there, of a kind that is read, and whole, as far as its format can tell.

    Raises:
        InvalidInput: It is not there, or of another kind.
        ModelCorrupt: It is damaged.
    """
    if not path.is_file():
        raise InvalidInput(f"There is no model {path}.", expected=f"a file {WHOLE} or {WEIGHTS}, or a folder of them")
    if not path.name.endswith((WHOLE, WEIGHTS)):
        raise InvalidInput(
            f"{path} is not a kind of model that is read.",
            expected=f"{WHOLE} or {WEIGHTS}",
            remedy="Load it with Keras and save it again with model.save('name.keras').",
        )
    try:
        if path.suffix == WHOLE:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"bad CRC-32 for member {damaged}")
        else:
            with h5py.File(path, "r") as file:
                file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
    # By the place of the damage this is BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error, …
    except Exception as error:
        raise ModelCorrupt(f"The model {path} cannot be read: {error}", remedy="Save it, or copy it, again.") from error


def _of_run(folder: Path) -> list[ModelFile]:
    run = open_run(folder)
    steps_per_epoch = run.spec.get("steps_per_epoch", math.nan)
    if not run.model_steps:
        raise InvalidInput(
            f"The run in {folder} kept no models.",
            expected="a run with --keep-models",
            remedy="Run it again with that option, or give the models' own files.",
        )
    return [ModelFile(model_path(folder, step), step, step / steps_per_epoch) for step in run.model_steps]


def _in_order(paths: Sequence[Path]) -> list[ModelFile]:
    if len(paths) == 1:
        return [ModelFile(paths[0])]
    numbers = [list(re.finditer(r"\d+", path.name)) for path in paths]
    for matches in zip(*numbers, strict=False):
        values = [int(match[0]) for match in matches]
        if len(set(values)) == len(paths):
            found = [
                ModelFile(path, value, float(value) if _EPOCH.search(path.name[: match.start()]) else math.nan)
                for path, match, value in zip(paths, matches, values, strict=True)
            ]
            return sorted(found, key=lambda one: one.step)
    return [ModelFile(path, place) for place, path in enumerate(paths)]
