"""One trial of a sweep in this process. As a program: `python -m tfstiff.sweeps.trial_process FOLDER NAME DRIVER`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

from tfstiff._quiet import import_tensorflow
from tfstiff.errors import TfstiffError
from tfstiff.records import RunWriter, open_run
from tfstiff.sweeps.folder import Sweep, load_sweep
from tfstiff.sweeps.state import SILENT_SECONDS, Heartbeat, TrialState, read_state, silent_seconds
from tfstiff.sweeps.trials import Trial


def run_trial(sweep: Sweep, trial: Trial, driver: str) -> TrialState:
    """Runs a trial as `tfstiff run` would; keeps in its state file how that goes and how it ends.

    Args:
        sweep: Its sweep.
        trial: What to run.
        driver: Names the process that runs the sweep. One that begins a trial again has seen the process before die.

    Returns:
        The state at the end. An error of the run is in it, and not raised; an interruption is raised on.
    """
    path = sweep.state_file(trial)
    before = read_state(path)
    _release(sweep, trial, before, driver)
    attempts = before.attempts + 1 if before.driver == driver else 1
    heartbeat = Heartbeat(path, TrialState(driver=driver, attempts=attempts))
    with heartbeat:
        try:
            import_tensorflow()
            from tfstiff.runs.run import run

            finished = run(trial.spec, sweep.run_folder(trial), progress=heartbeat)
        except TfstiffError as error:
            print(f"Error: {error}", file=sys.stderr)  # noqa: T201  # standard error is the trial's log
            return heartbeat.finish(state="failed", error=str(error), exit_code=error.exit_code)
        except Exception as error:
            traceback.print_exc()
            return heartbeat.finish(state="failed", error=f"{type(error).__name__}: {error}", exit_code=1)
        except BaseException as error:
            heartbeat.finish(state="interrupted", error=type(error).__name__)
            raise
        return heartbeat.finish(state=finished.status)


def _release(sweep: Sweep, trial: Trial, before: TrialState, driver: str) -> None:
    """Says of a run whose process is dead that it was interrupted, where only the sweep can know it.

    A process that another driver left behind gets some time to end.
    """
    folder, path = sweep.run_folder(trial), sweep.state_file(trial)
    deadline = time.monotonic() + SILENT_SECONDS
    while (folder / "records").is_dir() and open_run(folder).is_running and before.state != "waiting":
        if before.state != "running" or before.driver == driver or silent_seconds(path) > SILENT_SECONDS:
            RunWriter(folder).write_status("interrupted", error="The process died.")
        elif time.monotonic() > deadline:
            return  # `run` will say that another process is running
        else:
            time.sleep(1)


def _end_with_parent() -> None:
    """Asks this process to end when standard input does, which the parent holds open while it lives."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """The program."""
    folder, name, driver = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sweep = load_sweep(folder)
    sys.exit(run_trial(sweep, sweep.find(name), driver).exit_code)


if __name__ == "__main__":
    main()
