"""`KeepModels`: the weights at each measurement, in a run's folder."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras

from tfstiff.callbacks.resumable import Resumable
from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.records.atomic import write_atomically
from tfstiff.records.run_folder import model_path


class KeepModels(Resumable):
    """Keeps the weights at each measurement, in a run's folder. Comes after what measures.

    Args:
        stiffness: Measures.
        folder: The run's folder.
    """

    resumed = ("_kept",)

    def __init__(self, stiffness: StiffnessCallback, folder: Path) -> None:
        super().__init__()
        self._stiffness = stiffness
        self._folder = folder
        self._kept = -1  # step of the model that was kept last

    def keep(self) -> None:
        """Saves the weights if something was measured since the last call."""
        history = self._stiffness.history
        if not history or history[-1].step <= self._kept:
            return
        self._kept = history[-1].step
        path = model_path(self._folder, self._kept)
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
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=".weights.h5")
    os.close(descriptor)
    try:
        model.save_weights(temporary)
        with h5py.File(temporary, "r") as source, h5py.File(content, "w") as target:
            target.attrs.update(source.attrs)
            for name in source:
                if name != "optimizer":
                    source.copy(name, target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    write_atomically(path, lambda file: file.write(content.getbuffer()))
