"""Trials as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tfstiff.cluster.resources import available_cores, process_environment, visible_gpus
from tfstiff.sweeps.executor import Outcomes
from tfstiff.sweeps.folder import Sweep
from tfstiff.sweeps.state import TrialState
from tfstiff.sweeps.trials import Trial

_POLL_SECONDS = 0.1


@dataclass
class _Running:
    trial: Trial
    process: subprocess.Popen[bytes]
    slot: int


class LocalExecutor:
    """Runs so many trials at a time, each in a fresh process with its share of the cores and, if there are any, a GPU.

    A process that dies (a signal, no memory) harms no other trial.

    Args:
        jobs: Trials at a time.
        threads: Threads of each; None divides the cores.
        retries: How often a trial is begun again whose process died. One that failed is not.
        patience: Seconds that trials get to end when they are asked to.
    """

    def __init__(self, jobs: int, threads: int | None = None, retries: int = 1, patience: float = 30.0) -> None:
        self.jobs = jobs
        self.threads = threads or max(1, available_cores() // jobs)
        self._retries = retries
        self._patience = patience
        self._driver = uuid.uuid4().hex
        self._gpus = visible_gpus()

    def run(self, sweep: Sweep, trials: Sequence[Trial], waiting: Callable[[], None]) -> Outcomes:
        """See `Executor`."""
        queue, running = deque(trials), list[_Running]()
        try:
            while queue or running:
                free = sorted(set(range(self.jobs)) - {one.slot for one in running})
                for slot in free[: len(queue)]:
                    running.append(self._start(sweep, queue.popleft(), slot))
                waiting()
                time.sleep(_POLL_SECONDS)
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    state = self._ended(sweep, one)
                    if state is None:
                        queue.appendleft(one.trial)
                    else:
                        yield one.trial, state
        finally:
            self._stop(running)

    def _start(self, sweep: Sweep, trial: Trial, slot: int) -> _Running:
        with sweep.log_file(trial).open("ab") as log:
            process = subprocess.Popen(
                self._command(sweep, trial),
                stdin=subprocess.PIPE,  # its end tells the trial that this process is gone
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment(slot),
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
        return _Running(trial, process, slot)

    def _command(self, sweep: Sweep, trial: Trial) -> list[str]:
        return [sys.executable, "-m", "tfstiff.sweeps.trial_process", str(sweep.folder), trial.name, self._driver]

    def _environment(self, slot: int) -> dict[str, str]:
        return process_environment(slot, self.jobs, self.threads, self._gpus)

    def _ended(self, sweep: Sweep, one: _Running) -> TrialState | None:
        """The state that a trial ended with; None where its process died and it is to be begun again."""
        code = one.process.returncode
        state = sweep.state(one.trial)
        if state.state not in ("running", "waiting"):
            return state
        if code < 0 and state.attempts <= self._retries:
            return None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        state = replace(
            state, state="failed", error=f"The process {how}; its last words: {sweep.log_file(one.trial)}", exit_code=1
        )
        sweep.record(one.trial, state)
        return state

    def _stop(self, running: Sequence[_Running]) -> None:
        """Asks processes to end, and makes those that do not."""
        for one in running:
            one.process.terminate()
        deadline = time.monotonic() + self._patience
        try:
            for one in running:
                one.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:  # a second Ctrl-C ends the wait
            for one in running:
                one.process.kill()
                one.process.wait()
