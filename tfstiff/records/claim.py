"""A folder has one writer at a time, and others can tell whether it is alive.

Who writes a folder holds a lock on its `.lock`, which the system takes back when the process ends in whatever way, and
touches its `.claim`, which names the machine, every few seconds. On that machine the lock decides. From another one a
lock that is free proves nothing (some network file systems keep locks to a machine), and some file systems have none:
then a process is alive as long as something was heard of it in the last half minute.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from tfstiff.errors import InvalidInput
from tfstiff.records.atomic import write_json
from tfstiff.records.names import check_name

LOCK, CLAIM = ".lock", ".claim"  # the lock stays in the folder: one that is removed can be locked twice
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
_LEAST_PATIENCE = 1.0  # who looks whether a folder is locked holds the lock for a moment
_shared: set[Path] = set()  # folders that this process has claimed for all that it puts there


class Claim:
    """Of a folder, from entering it to leaving it, or from `take` to `release`.

    Args:
        folder: Created, with its parents, where it does not exist.
        patience: Seconds to wait for another process to end.
        shared: Whether it stands for all other claims of this process on the folder, which then do nothing.
    """

    def __init__(self, folder: Path, *, patience: float = 0.0, shared: bool = False) -> None:
        self._folder = folder
        self._patience = patience
        self._is_shared = shared
        self._lock: FileLock | None = None
        self._ended: threading.Event | None = None  # the heart's

    def take(self) -> None:
        """Keeps other processes from writing there.

        Where a process of another machine was heard of just now, whose lock is free, it is waited for its next beat.

        Raises:
            InvalidInput: Another process is alive there, or no folder can have its name.
            OSError: The folder cannot be written.
        """
        if self._ended is not None or self._folder.resolve() in _shared:
            return
        check_name(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self._patience
        self._lock = _locked(self._folder, max(self._patience, _LEAST_PATIENCE))
        while _was_heard(self._folder, is_locked=False if self._lock is not None else None) and _beats(self._folder):
            if time.monotonic() > deadline:
                self._unlock()
                raise in_use(self._folder)
        write_json(self._folder / CLAIM, {"host": socket.gethostname(), "pid": os.getpid()})
        self._ended = threading.Event()
        threading.Thread(target=_beat, args=(self._folder / CLAIM, self._ended), daemon=True).start()
        if self._is_shared:
            _shared.add(self._folder.resolve())

    def release(self) -> None:
        """Lets others write there."""
        if self._ended is None:
            return
        self._ended.set()
        self._ended = None
        _shared.discard(self._folder.resolve())
        (self._folder / CLAIM).unlink(missing_ok=True)
        self._unlock()

    def __enter__(self) -> Claim:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if self._ended is not None:  # the lock goes too
            self._ended.set()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def is_shared(folder: Path) -> bool:
    """Whether this process has claimed a folder for all that it puts there."""
    return folder.resolve() in _shared


def is_alive(folder: Path) -> bool:
    """Whether a process that claimed a folder is alive, as far as it can be told from here."""
    if not (folder / CLAIM).exists():
        return False
    try:
        lock = _locked(folder, 0.0)
    except (InvalidInput, OSError) as error:  # held; or not to be opened by us
        return isinstance(error, InvalidInput) or _was_heard(folder, is_locked=None)
    if lock is not None:
        lock.release()
    return _was_heard(folder, is_locked=None if lock is None else False)


def in_use(folder: Path) -> InvalidInput:
    """The error of a folder that another process writes."""
    return InvalidInput(
        f"Another process is running in {folder}.", remedy="Wait for it, or choose another output folder."
    )


def holds_something_else(
    folder: Path, expected: str, received: str | None = None, remedy: str = "Choose another output folder."
) -> InvalidInput:
    """The error of a folder that is not written in because of what it holds."""
    details = {} if received is None else {"received": received}
    return InvalidInput(f"{folder} holds something else.", expected=expected, remedy=remedy, **details)


def _locked(folder: Path, patience: float) -> FileLock | None:
    """The folder's lock, held; None where the file system has none."""
    lock = FileLock(folder / LOCK, timeout=patience, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise in_use(folder) from None
    except (NotImplementedError, OSError) as error:
        if not os.access(folder, os.W_OK):
            raise error
        (folder / LOCK).touch()  # by which the folder is known to be one of ours
        return None
    return lock


def _was_heard(folder: Path, is_locked: bool | None) -> bool:
    """Whether a process may be alive whose lock is free, or cannot be told (None)."""
    try:
        with (folder / CLAIM).open() as file:  # opened, since network file systems look for what is new then
            host = json.load(file)["host"]
            age = time.time() - os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return age < SILENT_SECONDS and not (is_locked is False and host == socket.gethostname())


def _beats(folder: Path) -> bool:
    """Waits for the next beat of a process that was heard of; whether it came."""
    first, deadline = _last_beat(folder), time.monotonic() + SILENT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, BEAT_SECONDS))
        now = _last_beat(folder)
        if now != first:
            return now is not None
    return False


def _last_beat(folder: Path) -> int | None:
    try:
        with (folder / CLAIM).open() as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            os.utime(path)
        except OSError:  # the disk has a moment's trouble
            continue
