"""`KeepModels`: the weights at each measurement, in a run's folder."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras

from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.records.atomic import write_atomically
from tfstiff.records.run_folder import model_path


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
        whole = Path(folder) / "all.weights.h5"
        model.save_weights(whole)
        with h5py.File(whole, "r") as source, h5py.File(content, "w") as target:
            target.attrs.update(source.attrs)
            for name in source:
                if name != "optimizer":
                    source.copy(name, target)
    write_atomically(path, lambda file: file.write(content.getbuffer()))
