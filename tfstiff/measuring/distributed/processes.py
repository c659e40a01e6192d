"""Processes of this machine that sum parts."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from tfstiff.cluster.resources import available_cores, process_environment, visible_gpus
from tfstiff.errors import PartFailed

_ATTEMPTS = 2  # at a part, where the process that sums it dies


class LocalProcesses:
    """Sums parts in so many processes at a time, each with its share of the cores and, if there are any, a GPU.

    Args:
        jobs: Processes.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._gpus = visible_gpus()
        self._workers: list[_Worker] = []

    def run(self, folder: Path, indices: Sequence[int]) -> Iterator[int]:
        """Yields each part when its totals are on disk.

        Where the iterator is closed, or an exception passes through it, the processes are ended.

        Raises:
            PartFailed: A process failed, or died more than once at the same part.
        """
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in indices:
            waiting.put(index)
        answers: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
        self._workers = [_Worker(folder, self._environment(slot)) for slot in range(min(self.jobs, len(indices)))]
        threads = [
            threading.Thread(target=_serve, args=(worker, waiting, answers), daemon=True) for worker in self._workers
        ]
        try:
            for thread in threads:
                thread.start()
            for _ in indices:
                answer = answers.get()
                if isinstance(answer, BaseException):
                    raise answer
                yield answer
        finally:
            for worker in self._workers:
                worker.end()

    def _environment(self, slot: int) -> dict[str, str]:
        threads = max(1, available_cores() // self.jobs)
        own = process_environment(slot, self.jobs, threads, self._gpus)
        return os.environ | own | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class _Worker:
    """One process, begun when it is first asked, and again when it died."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "tfstiff.measuring.distributed.worker", str(folder)]
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with this object

    def compute(self, index: int) -> None:
        """Has a part summed.

        Raises:
            PartFailed: The process failed.
        """
        for _ in range(_ATTEMPTS):
            if self._process is None:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    env=self._environment,
                    text=True,
                    start_new_session=True,  # Ctrl-C is ours to pass on
                )
            if self._answers(index):
                return
            code = self._process.wait()
            self._process = None
            if code >= 0 or self._ended:  # not killed: it would fail again
                break
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip().splitlines()
        raise PartFailed(
            f"A process that sums a part of the pairs ended with code {code}. Its last words: "
            + ("\n".join(words[-5:]) or "none"),
            remedy="Call again: what was summed is kept. If memory was short, use fewer processes.",
        )

    def end(self) -> None:
        """Ends the process."""
        self._ended = True
        if self._process is not None:
            self._process.kill()

    def _answers(self, index: int) -> bool:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return False
        try:
            process.stdin.write(f"{index}\n")
            process.stdin.flush()
        except BrokenPipeError:
            return False
        return process.stdout.readline().strip() == str(index)


def _serve(worker: _Worker, waiting: queue.SimpleQueue[int], answers: queue.SimpleQueue[int | BaseException]) -> None:
    while True:
        try:
            index = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            worker.compute(index)
        except BaseException as error:
            answers.put(error)
            return
        answers.put(index)
