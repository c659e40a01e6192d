"""A run's folder as it was at a checkpoint, or at the beginning. Imports no TensorFlow.

Nothing that was recorded is deleted: what is in the way is moved aside, and said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from tfstiff.errors import RecordCorrupt
from tfstiff.records.aside import move_aside
from tfstiff.records.record import read_record
from tfstiff.records.run_folder import MODELS, record_path, step_of
from tfstiff.records.run_writer import GROWING
from tfstiff.runs.checkpoints.store import Checkpoint, CheckpointStore, step_of_checkpoint

_OF_A_STEP = re.compile(r"step-\d{8,12}\.(npz|weights\.h5)")


def rewind(folder: Path, store: CheckpointStore, checkpoint: Checkpoint, say: Callable[[str], object]) -> None:
    """Brings a run's folder to where it was at a checkpoint.

    A record that was made by then and is damaged, or missing, is left out.

    Args:
        folder: The run's.
        store: Its checkpoints; later ones are moved aside.
        checkpoint: To go on from.
        say: Is told what was moved aside, and what is left out.

    Raises:
        OSError: A file cannot be read or moved.
    """
    steps = checkpoint.state["callbacks"]["StiffnessCallback"]["steps"]
    unreadable = dict(_unreadable(folder, steps))
    in_the_way = [path for path in _of_a_step(folder) if step_of(path) not in steps or path in unreadable]
    in_the_way += [path for path in store.paths() if step_of_checkpoint(path) > checkpoint.step]
    in_the_way += [
        path for name in GROWING if name not in checkpoint.state["sizes"] and (path := folder / name).exists()
    ]
    for path, reason in unreadable.items():
        say(f"Warning: the record of step {step_of(path)} is left out: {reason}")
    aside(in_the_way, say)
    for name, size in checkpoint.state["sizes"].items():
        path = folder / name
        if name not in GROWING:
            continue
        if not path.exists() or path.stat().st_size < size:
            say(f"Warning: {path} has lost lines that it had at step {checkpoint.step}.")
        else:
            os.truncate(path, size)
    remove_leftovers(folder)


def clear_the_way(folder: Path, say: Callable[[str], object]) -> None:
    """Moves aside all that a run writes into its folder, so that it can begin anew."""
    names = ("records", MODELS, "checkpoints", "probe.npz", *GROWING)
    aside([path for name in names if os.path.lexists(path := folder / name)], say)
    remove_leftovers(folder)


def aside(paths: Collection[Path], say: Callable[[str], object]) -> None:
    """Moves files and folders aside, and says so in one line."""
    if paths:
        names = ", ".join(str(move_aside(path)) for path in paths)
        say(f"Moved aside, since it was in the way: {names}.")


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of a process that was killed while it wrote."""
    for place in (folder, *(folder / name for name in ("records", MODELS, "checkpoints"))):
        for path in place.glob(".tmp-*"):
            if path.is_file():
                path.unlink(missing_ok=True)


def _of_a_step(folder: Path) -> list[Path]:
    places = ((folder / name).glob("step-*") for name in ("records", MODELS))
    return sorted(path for place in places for path in place if _OF_A_STEP.fullmatch(path.name))


def _unreadable(folder: Path, steps: Collection[int]) -> Iterator[tuple[Path, str]]:
    for path in (record_path(folder, step) for step in steps):
        try:
            with path.open("rb"):  # what cannot be read for want of permission, say, is not damaged
                pass
            read_record(path)
        except FileNotFoundError:
            yield path, "it is missing."
        except RecordCorrupt as error:
            yield path, str(error)
