"""A run's folder has one writer at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tfstiff.errors import InvalidInput

LOCK = ".lock"  # stays in the folder: a lock file that is removed can be locked twice
_BEAT = 30.0  # seconds


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Keeps other processes from running in `folder`, which is created where it does not exist.

    The system takes the lock back when the process ends, in whatever way.

    Yields:
        Whether the file system knows locks. Where it does not, another process can only be told by what it wrote.

    Raises:
        InvalidInput: Another process is running there.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise claimed_elsewhere(folder) from None
    except (NotImplementedError, OSError) as error:
        if not os.access(folder, os.W_OK):
            raise error
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def claimed_elsewhere(folder: Path) -> InvalidInput:
    """The error that says so."""
    return InvalidInput(
        f"Another process is running in {folder}.", remedy="Wait for it, or choose another output folder."
    )


@contextmanager
def heard_of(path: Path) -> Iterator[None]:
    """Touches `path`, where it exists, twice a minute, so that other machines can see that this process is alive."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_BEAT):
            try:
                os.utime(path)
            except OSError:  # it is being replaced, or the disk has a moment's trouble
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
