"""Folders that are free for a run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tfstiff.records.claim import CLAIM, LOCK
from tfstiff.records.run_folder import MODELS

_FILES = (LOCK, CLAIM, "log.txt", "config.json", "meta.json", "status.json", "probe.npz")
_FOLDERS = ("records", MODELS, "checkpoints", "parts")


def is_blank(folder: Path) -> bool:
    """Whether a folder is empty, or holds only what a run leaves behind that recorded nothing."""
    if not folder.is_dir():
        return False
    content = [path for path in folder.iterdir() if not path.name.startswith(".tmp-")]
    if content and not (folder / LOCK).exists():  # a log.txt, say, of the user's own
        return False
    return all(path.name in _FILES or (path.name in _FOLDERS and _holds_nothing(path)) for path in content)


def remove_blank(folder: Path) -> None:
    """Removes a folder that is blank, as far as the system lets us."""
    with contextlib.suppress(OSError):
        for name in _FOLDERS:
            if (folder / name).is_dir():
                (folder / name).rmdir()
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _holds_nothing(path: Path) -> bool:
    return path.is_dir() and all(one.name.startswith(".tmp-") for one in path.iterdir())
