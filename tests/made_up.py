"""Sweeps whose trials take no time, for the tests of what runs and reads them."""

from tfstiff.records import RunWriter
from tfstiff.sweeps import grid, plan_sweep
from tfstiff.sweeps.state import TrialState


def sweep_of(folder, rates=(1e-4, 8e-4), seeds=(0, 1)):
    return plan_sweep(folder, grid({"learning_rate": list(rates), "seed": list(seeds)}))[0]


def finish(sweep, trial, status="completed"):
    """What the process of a trial leaves behind that came to its end."""
    writer = RunWriter(sweep.run_folder(trial))
    writer.write_config(trial.spec.as_config() | {"steps_per_epoch": 313})
    writer.write_status(status)
    state = TrialState(state=status, attempts=1, epoch=3.0, epochs=3, loss=0.5, seconds=1.0)
    sweep.record(trial, state)
    return state


class InProcess:
    """An executor that calls a function of the trial."""

    def __init__(self, behave=None):
        self.behave = behave or (lambda sweep, trial: finish(sweep, trial))
        self.ran, self.closed = [], False

    def run(self, sweep, trials, waiting):
        try:
            for trial in trials:
                waiting()
                self.ran.append(trial.name)
                state = self.behave(sweep, trial)
                sweep.record(trial, state)
                yield trial, state
        finally:
            self.closed = True


def failed(sweep, trial):
    return TrialState(state="failed", attempts=1, error="It broke.", exit_code=1)
