"""One trial of a sweep in this process. As a program: `python -m tfstiff.sweeps.trial_process FOLDER NAME DRIVER`."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback

from tfstiff._quiet import import_tensorflow
from tfstiff.errors import TfstiffError
from tfstiff.runs.interruption import end_on_signals
from tfstiff.sweeps.folder import Sweep, load_sweep
from tfstiff.sweeps.state import TrialProgress, TrialState, read_state
from tfstiff.sweeps.trials import Trial

_PATIENCE = (
    120.0  # seconds that a process which another driver left behind gets to end, and a server to give up its lock
)


def run_trial(sweep: Sweep, trial: Trial, driver: str) -> TrialState:
    """Runs a trial as `tfstiff run` would; keeps in its state file how that goes and how it ends.

    Args:
        sweep: Its sweep.
        trial: What to run.
        driver: Names the process that runs the sweep.

    Returns:
        The state at the end. An error of the run is in it, and not raised; an interruption is raised on.
    """
    path = sweep.state_file(trial)
    before = read_state(path)
    attempts = before.attempts + 1 if before.driver == driver else 1
    told = TrialProgress(path, TrialState(driver=driver, attempts=attempts))
    with told:
        try:
            import_tensorflow()
            from tfstiff.runs.run import run

            finished = run(trial.spec, sweep.run_folder(trial), progress=told, patience=_PATIENCE)
        except TfstiffError as error:
            print(f"Error: {error}", file=sys.stderr)  # noqa: T201  # standard error is the trial's log
            return told.finish(state="failed", error=str(error), exit_code=error.exit_code)
        except Exception as error:
            traceback.print_exc()
            return told.finish(state="failed", error=f"{type(error).__name__}: {error}", exit_code=1)
        except BaseException as error:
            told.finish(state="interrupted", error=type(error).__name__)
            raise
        return told.finish(state=finished.status)


def _end_with_parent() -> None:
    """Asks this process to end when standard input does, which the parent holds open while it lives."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """The program."""
    folder, name, driver = sys.argv[1:]
    end_on_signals()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sweep = load_sweep(folder)
    sys.exit(run_trial(sweep, sweep.find(name), driver).exit_code)


if __name__ == "__main__":
    main()
