"""A disk on which one operation fails: every open, write, sync, rename, … of a process within a folder is counted.

What is patched is what Python's own files and paths come down to: `io.open`, its `write`, and functions of `os`. Keras
writes weights through HDF5, whose calls are not Python's: `Model.save_weights` counts as one operation.

Modes: `error`, the operation does nothing and raises; `short`, a write leaves half of its bytes and raises (elsewhere
as `error`); `kill`, the operation and all after it do nothing, so that the folder stays as it is at that moment, as
where the process is killed: no handler can tidy up.
"""

from __future__ import annotations

import errno
import gc
import io
import os
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import keras

from tfstiff.records import claim

MODES = ("error", "short", "kill")
_OF_PATHS = ("mkdir", "unlink", "rmdir", "rename", "replace", "truncate", "chmod")


class Killed(BaseException):
    """Stands for a SIGKILL."""


class Disk:
    """Counts the operations within a folder and, where it is armed, fails one.

    Args:
        folder: The operations of other files are left alone.

    Attributes:
        operations: What was done, in order: `write records/.tmp-…`.
    """

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.operations = []
        self._place, self._mode, self._is_dead = None, "error", False
        self._descriptors = {}

    @contextmanager
    def failing(self, place=None, mode="error"):
        """Within it the operation of this place, counted from 0, fails; None: none does."""
        self.operations, self._place, self._mode, self._is_dead = [], place, mode, False
        self._descriptors = {}
        with contextmanager(self._patched)():
            yield
        if self._is_dead:
            release_claims()

    def _patched(self):
        patches = [mock.patch.object(os, name, self._wrapped(name, getattr(os, name))) for name in _OF_PATHS]
        patches += [
            mock.patch.object(os, "open", self._opened(os.open)),
            mock.patch.object(os, "fsync", self._synced(os.fsync)),
            mock.patch.object(io, "open", self._file(io.open)),
            mock.patch.object(keras.Model, "save_weights", self._saved(keras.Model.save_weights)),
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    def _path(self, path):
        if isinstance(path, int):
            return self._descriptors.get(path)
        text = os.path.abspath(os.fsdecode(path))
        return text if text == self.folder or text.startswith(self.folder + os.sep) else None

    def step(self, what, path, short=None):
        """Counts an operation; fails where it is its turn.

        Args:
            what: Its name.
            path: Of its file.
            short: Does half of it.
        """
        if self._is_dead:
            raise Killed
        self.operations.append(f"{what} {os.path.relpath(path, self.folder)}")
        if len(self.operations) - 1 != self._place:
            return
        if self._mode == "kill":
            self._is_dead = True
            raise Killed
        if self._mode == "short" and short is not None:
            short()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _wrapped(self, name, function):
        def call(path, *args, **kwargs):
            found = self._path(path)
            if found is not None:
                self.step(name, found)
            return function(path, *args, **kwargs)

        return call

    def _opened(self, function):
        def call(path, flags, *args, **kwargs):
            found = self._path(path)
            if found is not None and (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or os.path.isdir(found)):
                self.step("open", found)
            descriptor = function(path, flags, *args, **kwargs)
            if found is not None:
                self._descriptors[descriptor] = found
            return descriptor

        return call

    def _synced(self, function):
        def call(descriptor):
            found = self._descriptors.get(descriptor)
            if found is not None:
                self.step("fsync", found)
            return function(descriptor)

        return call

    def _file(self, function):
        def call(path, mode="r", *args, **kwargs):
            found = self._path(path)
            is_written = set(mode) & set("wax+")
            if found is None or not is_written:
                return function(path, mode, *args, **kwargs)
            if not isinstance(path, int):
                self.step("open", found)
            file = function(path, mode, *args, **kwargs)
            self._descriptors[file.fileno()] = found
            return _File(self, file, found)

        return call

    def _saved(self, function):
        def call(model, path, *args, **kwargs):
            found = self._path(path)
            if found is not None:
                self.step("save_weights", found, lambda: Path(found).write_bytes(b"half"))
            return function(model, path, *args, **kwargs)

        return call


class _File:
    """A file whose writes are counted."""

    def __init__(self, disk, file, path):
        self._disk, self._file, self._path = disk, file, path

    def write(self, content):
        self._disk.step("write", self._path, lambda: self._half(content))
        return self._file.write(content)

    def _half(self, content):
        self._file.write(content[: len(content) // 2])
        self._file.flush()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __iter__(self):
        return iter(self._file)


def release_claims():
    """Takes back what the system takes back where a process is killed: its locks; and ends its threads."""
    for found in [one for one in gc.get_objects() if isinstance(one, claim.Claim)]:
        if found._ended is not None:
            found._ended.set()
            found._ended = None
        found._unlock()
    claim._shared.clear()
