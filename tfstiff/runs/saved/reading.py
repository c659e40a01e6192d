"""Models that are kept and read again: Keras' own files, of whole models (.keras) or of weights (.weights.h5)."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras

from tfstiff import models
from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.errors import InvalidInput, ModelCorrupt, UnsupportedModel
from tfstiff.records import Run
from tfstiff.records.atomic import write_atomically
from tfstiff.records.run_folder import model_path
from tfstiff.runs.saved.files import WEIGHTS, WHOLE


class KeepModels(keras.callbacks.Callback):
    """Keeps the weights at each measurement, in a run's folder. Comes after what measures.

    Args:
        stiffness: Measures.
        folder: The run's folder.
    """

    def __init__(self, stiffness: StiffnessCallback, folder: Path) -> None:
        super().__init__()
        self._stiffness = stiffness
        self._folder = folder
        self._known = 0

    def keep(self) -> None:
        """Saves the weights if something was measured since the last call."""
        if len(self._stiffness.history) == self._known:
            return
        self._known = len(self._stiffness.history)
        path = model_path(self._folder, self._stiffness.history[-1].step)
        if not path.exists():  # it does where a run goes on
            path.parent.mkdir(exist_ok=True)
            save_weights(self.model, path)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the model of a measurement before the first batch."""
        self.keep()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the model of a measurement after this batch."""
        self.keep()


def save_weights(model: keras.Model, path: Path) -> None:
    """Saves the weights of `model`, whole or not at all, in Keras' format for them, without the optimizer's variables.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    content = io.BytesIO()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".tmp-") as folder:
        whole = Path(folder) / f"all{WEIGHTS}"
        model.save_weights(whole)
        with h5py.File(whole, "r") as source, h5py.File(content, "w") as target:
            target.attrs.update(source.attrs)
            for name in source:
                if name != "optimizer":
                    source.copy(name, target)
    write_atomically(path, lambda file: file.write(content.getbuffer()))


def load_model(path: str | Path, build: Callable[[], keras.Model] | None = None) -> keras.Model:
    """Reads a model in Keras' safe mode, in which no code that the file holds is run.

    Args:
        path: A file `.keras`, or one `.weights.h5`.
        build: Builds the model that the weights of the file are of. Needed for a file of weights; a whole model that
            holds code or classes unknown to Keras can be read with it too, for its weights.

    Returns:
        The model, compiled as it was saved where the file says how and nothing was built.

    Raises:
        InvalidInput: There is no such file, it is of another kind, or its weights do not fit what was built.
        ModelCorrupt: It is damaged.
        UnsupportedModel: It holds code that would have to be run, or a class that is not known here.
    """
    path = Path(path)
    check_readable(path)
    if build is not None:
        return _with_weights(build(), path)
    if path.name.endswith(WEIGHTS):
        raise InvalidInput(
            f"{path} holds weights, not the model that they are of.",
            remedy="Say which with --arch: a name, or package.module:function.",
        )
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise _reason(path, error) from error


def model_of_run(run: Run, step: int) -> keras.Model:
    """What `Run.model_at` returns."""
    if step not in run.model_steps:
        raise InvalidInput(
            f"{run.folder} has no model of step {step}.",
            expected=f"one of {run.model_steps}" if run.model_steps else "a run with --keep-models",
            received=step,
        )
    config = run.spec
    build = partial(models.build, config["arch"], tuple(config["input_shape"]), config["num_classes"], config["hidden"])
    model = load_model(model_path(run.folder, step), build)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


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


def _with_weights(model: keras.Model, path: Path) -> keras.Model:
    try:
        model.load_weights(path)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"The weights in {path} do not fit the architecture: {_first_line(error)}",
            remedy="Give the architecture, and its hidden widths, that they were saved of.",
        ) from error
    return model


def _reason(path: Path, error: Exception) -> InvalidInput | ModelCorrupt:
    """The error to raise where Keras could not read a file whose archive is whole."""
    text = str(error)
    if "safe_mode" in text or "nsafe deserialization" in text:
        return UnsupportedModel(
            f"The model {path} holds Python code (a Lambda layer), which is not run.",
            remedy="Give --arch package.module:function, your own code that builds it; its weights are read then.",
        )
    if "Could not locate" in text or "could not be deserialized" in text or "cannot be deserialized" in text:
        return UnsupportedModel(
            f"The model {path} has a part that is not known here: {_first_line(error)}",
            remedy="Give --arch package.module:function, your own code that builds it; its weights are read then.",
        )
    return ModelCorrupt(f"The model {path} cannot be read: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
