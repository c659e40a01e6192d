"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Calls `write` with a temporary file in `path`'s folder, then gives that file the name `path`.

    A reader, or a process that is killed at any moment, sees the old file, the new one, or none, never a part.

    Raises:
        OSError: The folder cannot be written or the disk is full; nothing is left behind then.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` in UTF-8, atomically.

    Raises:
        OSError: As `write_atomically`.
    """
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically. NaN and infinities become null, so that any JSON reader copes."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def append_json_line(path: Path, value: Any) -> None:
    """Appends `value` as one line of JSON. A reader must tolerate a partial last line, of a process that was killed."""
    append(path, json.dumps(finite(value), ensure_ascii=False, allow_nan=False) + "\n")


def append(path: Path, text: str) -> None:
    """Appends text, whole or, where that fails, not at all.

    Raises:
        OSError: The file cannot be written or the disk is full.
    """
    with path.open("ab", buffering=0) as file:
        before, content = file.tell(), text.encode()
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise


def finite(value: Any) -> Any:
    """`value` with None for NaN and infinities, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
