"""status.json of a run that this process works on."""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import UTC, datetime
from typing import Any

from tfstiff.records import RunWriter


class RunStatus:
    """Says that the run is running, and in the end how it ended.

    Args:
        writer: Of the run's folder.

    Attributes:
        timings: What is written with the end; fill it in.
    """

    def __init__(self, writer: RunWriter) -> None:
        self.timings: dict[str, Any] = {}
        self._writer = writer
        self._started = {"pid": os.getpid(), "host": socket.gethostname(), "started": now()}
        writer.write_status("running", **self._started)

    def ended(self, status: str, **details: Any) -> None:
        """Writes how the run ended: completed, diverged, interrupted or failed."""
        self._writer.write_status(status, **self._started, ended=now(), **details, **self.timings)

    def ended_by(self, error: BaseException) -> str:
        """Writes that the run was ended by `error`; returns the status: interrupted or failed."""
        status = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
        with contextlib.suppress(OSError):  # `error` may be that the disk is full
            self.ended(status, error=f"{type(error).__name__}: {error}")
        return status


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
