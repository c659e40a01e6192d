"""Checkpoints on disk: hashed, whole or damaged for all to see, the newest two kept. Imports no TensorFlow.

step-00000123.npz    the arrays, and everything else as JSON in the member `state`
step-00000123.json   its manifest: the SHA-256 and size of that file; written last, so that without it there is nothing
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.errors import CheckpointCorrupt
from tfstiff.records.atomic import write_atomically, write_json

SCHEMA = 1
_KEPT = 2


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
        state = np.asarray(json.dumps(checkpoint.state))
        np.savez(buffer, allow_pickle=False, state=state, **checkpoint.arrays)
        content = buffer.getbuffer()
        path = self.folder / f"step-{checkpoint.step:08d}.npz"
        self._remove(path)  # an older file of this name never goes with a newer manifest
        write_atomically(path, lambda file: file.write(content))
        manifest = {"schema": SCHEMA, "step": checkpoint.step, "bytes": len(content), "sha256": _digest(content)}
        write_json(path.with_suffix(".json"), manifest)
        for old in self._paths()[_KEPT:]:
            self._remove(old)

    def whole(self, say: Callable[[str], object]) -> Iterator[Checkpoint]:
        """Reads the checkpoints, the newest first, as far as they are asked for.

        Args:
            say: Is told of each that is damaged and passed over.
        """
        for path in self._paths():
            try:
                checkpoint = _read(path)
            except CheckpointCorrupt as error:
                say(f"Warning: {error}")
            else:
                yield checkpoint

    def remove_after(self, step: int) -> None:
        """Removes the checkpoints of later steps."""
        for path in self._paths():
            if _step(path) > step:
                self._remove(path)

    def _paths(self) -> list[Path]:
        """The files of arrays that have a manifest, the newest first."""
        found = [path for path in self.folder.glob("step-*.npz") if path.with_suffix(".json").exists()]
        return sorted(found, key=_step, reverse=True)

    def _remove(self, path: Path) -> None:
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> Checkpoint:
    try:
        manifest = json.loads(path.with_suffix(".json").read_text())
        content = path.read_bytes()
        schema, expected = manifest["schema"], manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointCorrupt(f"The checkpoint {path} or its manifest cannot be read: {error}") from error
    if schema != SCHEMA:
        raise CheckpointCorrupt(
            f"The checkpoint {path} has a schema that this version of tfstiff does not know.",
            expected=f"schema {SCHEMA}",
            received=schema,
        )
    if _digest(content) != expected:
        raise CheckpointCorrupt(
            f"The checkpoint {path} is damaged.", expected=f"SHA-256 {expected}", received=_digest(content)
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Checkpoint(manifest["step"], json.loads(arrays.pop("state").item()), arrays)
