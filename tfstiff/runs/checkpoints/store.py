"""Checkpoints on disk: whole or damaged for all to see, the newest two kept. Imports no TensorFlow.

`step-00000123-<SHA-256>.npz` holds arrays and, as JSON in the member `state`, everything else: the step and the run's
settings among it. The name holds the SHA-256 of the file's content, so that none of it can change unnoticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.errors import CheckpointCorrupt
from tfstiff.records.atomic import write_atomically
from tfstiff.records.npz import write_members

SCHEMA = 2
_KEPT = 2
_NAME = re.compile(r"step-(\d{8,12})-([0-9a-f]{64})\.npz")
OF_CALLBACKS = "callbacks/"  # before the names of the arrays of callbacks: `callbacks/<class>/<name>`
_STATE = ("settings", "training", "callbacks", "logs", "sizes", "seconds", "seconds_in_fit")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A moment of a training.

    Attributes:
        step: Batches trained on since the beginning.
        state: What is plain: numbers and texts in dicts and lists.
        arrays: The others, by name.
    """

    step: int
    state: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def arrays_of(self, callback: str) -> dict[str, np.ndarray]:
        """The arrays of a callback, by the name of its class."""
        before = f"{OF_CALLBACKS}{callback}/"
        return {name.removeprefix(before): array for name, array in self.arrays.items() if name.startswith(before)}


class CheckpointStore:
    """The checkpoints in a folder.

    Args:
        folder: Created when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, then removes all but the newest two.

        Raises:
            OSError: The disk is full, or the folder cannot be written; those saved before are unharmed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        state = json.dumps({**checkpoint.state, "schema": SCHEMA, "step": checkpoint.step})
        write_members(buffer, {"state": np.asarray(state), **checkpoint.arrays})
        content = buffer.getbuffer()
        path = self.folder / f"step-{checkpoint.step:08d}-{hashlib.sha256(content).hexdigest()}.npz"
        write_atomically(path, lambda file: file.write(content))
        others = [other for other in self.paths() if other != path]
        for old in others[_KEPT - 1 :]:
            old.unlink(missing_ok=True)

    def whole(self, say: Callable[[str], object]) -> Iterator[Checkpoint]:
        """Reads the checkpoints, the newest first, as far as they are asked for.

        Args:
            say: Is told of each that is damaged and passed over.

        Raises:
            OSError: One cannot be read now, which does not mean that it is damaged.
        """
        for path in self.paths():
            try:
                checkpoint = read_checkpoint(path)
            except CheckpointCorrupt as error:
                say(f"Warning: {error}")
            else:
                yield checkpoint

    def paths(self) -> list[Path]:
        """The checkpoints' files, the newest first."""
        found = [path for path in self.folder.glob("step-*.npz") if _NAME.fullmatch(path.name)]
        return sorted(found, key=step_of_checkpoint, reverse=True)

    def clear(self, *, but: int | None = None) -> None:
        """Removes the checkpoints of a training that has come to its end, and their folder where nothing else is in it.

        Args:
            but: A step whose checkpoint stays.

        Raises:
            OSError: The folder cannot be written.
        """
        for path in self.paths():
            if step_of_checkpoint(path) != but:
                path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def step_of_checkpoint(path: Path) -> int:
    """The step in the name of a checkpoint."""
    return int(path.name.split("-")[1])


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint, and verifies it.

    Raises:
        CheckpointCorrupt: It is damaged.
        OSError: It cannot be read now.
    """
    content = path.read_bytes()
    found, expected = hashlib.sha256(content).hexdigest(), path.name[-68:-4]
    if found != expected:
        raise CheckpointCorrupt(f"The checkpoint {path} is damaged.", expected=f"SHA-256 {expected}", received=found)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, as no checkpoint is")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        state = json.loads(arrays.pop("state").item())
        schema, step = state["schema"], state["step"]
        lacking = [name for name in _STATE if name not in state]
    except (ValueError, KeyError, TypeError, EOFError, MemoryError, RecursionError, zipfile.BadZipFile) as error:
        raise CheckpointCorrupt(f"The checkpoint {path} cannot be read: {type(error).__name__}: {error}") from error
    if schema != SCHEMA or lacking or not isinstance(step, int) or step < 1:
        raise CheckpointCorrupt(
            f"The checkpoint {path} is not one of this version of tfstiff.",
            expected=f"schema {SCHEMA}, with {', '.join(_STATE)}",
            received=f"schema {schema!r}" + (f", without {', '.join(lacking)}" if lacking else ""),
        )
    return Checkpoint(step, state, arrays)
