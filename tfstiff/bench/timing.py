"""The one way in which speed and memory are measured: in turns, by medians, against the same run's own baseline.

A machine that others use too is slower at one moment than at the next, so functions that are compared take turns
(A B C A B C …), ratios are taken within a round, and the median of them is what is told.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from tfstiff._quiet import standard_error_held_back
from tfstiff.cluster.provenance import versions
from tfstiff.errors import TfstiffError

Name = TypeVar("Name")


class BenchmarkFailed(TfstiffError):
    """A benchmark's process ended without a result: an error, no memory, or out of time."""


@dataclass(frozen=True)
class Timing:
    """How long one function took.

    Attributes:
        rounds: Seconds, one number a round.
    """

    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    def ratio(self, other: Timing) -> float:
        """How many times as long as `other` it took: the median over rounds of the ratio within a round."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))


def take_turns(
    functions: Mapping[Name, Callable[[], object]], *, rounds: int = 5, warm_ups: int = 1
) -> dict[Name, Timing]:
    """Times functions that are to be compared: all of them once, then all of them again, and so on.

    Args:
        functions: By any name. What they return is dropped, so it must be computed by the time they return.
        rounds: How often each is timed.
        warm_ups: How often each is called before, untimed: for tracing, compiling and filling of caches.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in functions}
    for turn in range(warm_ups + rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            elapsed = time.perf_counter() - start
            if turn >= warm_ups:
                seconds[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def processor_seconds(function: Callable[[], object]) -> float:
    """Seconds of processors that a call takes, of all threads together: what else runs does not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_memory(function: Callable[[], object]) -> int | None:
    """The bytes of memory that a call takes at its peak, above what the process has before it.

    It is the operating system's count of resident memory, so memory of every library is in it. Where that count cannot
    be started anew, an earlier peak may hide this one; None is returned then, and where there is no count.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed, but kept by the C library, would not be counted again
    begun_anew = False
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        begun_anew = True
    before, resident = _peak_so_far(), _status("VmRSS")
    function()
    after = _peak_so_far()
    if before is None or after is None or (after == before and not begun_anew):
        return None
    return max(0, after - (before if resident is None else resident))


def _peak_so_far() -> int | None:
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int | None:
    """Bytes, of a field of the process's status that is given in kB."""
    return _field("/proc/self/status", field, lambda value: int(value.split()[0]) * 1024)


def in_new_process(
    function: Callable[..., Any],
    *arguments: Any,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Calls `function` in a Python of its own, where nothing has been imported, computed or allocated before.

    Args:
        function: One that can be imported, by its module and name.
        *arguments: Passed to it; they are pickled, as is what it returns.
        seconds: How long it may take; None means as long as it likes.
        environment: Variables that the process has besides those of this one.

    Raises:
        BenchmarkFailed: It raised an error, ran out of time, or its process was killed (for memory, say).
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, pickle.dumps((function, arguments))))
    with _environment(environment or {}):
        process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise BenchmarkFailed(f"Not done after {seconds:.0f} s.")
        result, error = receiver.recv()
    except EOFError:
        process.join()
        raise BenchmarkFailed(f"The process ended with exit code {process.exitcode}.") from None
    finally:
        process.kill()
        process.join()
    if error is not None:
        raise BenchmarkFailed(error)
    return result


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    kept = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _answer(sender: Connection, call: bytes) -> None:
    """Runs in the new process. What is called comes pickled, since unpickling it imports, which may be loud."""
    try:
        with standard_error_held_back():
            function, arguments = pickle.loads(call)
            sender.send((function(*arguments), None))
    except Exception as error:
        sender.send((None, f"{type(error).__name__}: {error}"))


def machine(*packages: str) -> dict[str, Any]:
    """What numbers are measured on: processor, cores, memory (bytes), system, versions and the date (UTC).

    Args:
        *packages: Whose versions are told besides those of tfstiff and what it stands on.
    """
    return {
        "processor": _field("/proc/cpuinfo", "model name", str) or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _field("/proc/meminfo", "MemTotal", lambda value: int(value.split()[0]) * 1024),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions(*packages),
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _field(path: str, name: str, read: Callable[[str], Any]) -> Any:
    """What stands behind the first `name:` of a file of the kernel's; None where there is no such file or name."""
    with suppress(OSError):
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return read(value.strip())
    return None
