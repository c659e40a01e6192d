import json

import pytest
from made_up import InProcess, failed, finish, sweep_of

from tfstiff.errors import DatasetUnavailable, InvalidInput
from tfstiff.records.claim import Claim
from tfstiff.sweeps import SweepProgress, grid, plan_sweep, run_sweep


class Told(SweepProgress):
    def __init__(self):
        self.calls = []

    def begin(self, sweep, missing):
        self.calls.append(("begin", len(missing)))

    def ended(self, trial, state):
        self.calls.append((trial.name, state.state))

    def end(self):
        self.calls.append(("end",))


@pytest.fixture(autouse=True)
def loads(monkeypatch):
    """Data sets that were asked for."""
    asked = []
    monkeypatch.setattr("tfstiff.datasets.load", lambda name, **options: asked.append((name, options)))
    return asked


def test_all_trials_are_run_once(tmp_path):
    sweep, executor, told = sweep_of(tmp_path / "sweep"), InProcess(), Told()
    states = run_sweep(sweep, executor, told)
    names = [trial.name for trial in sweep.trials]
    assert executor.ran == names
    assert {name: state.state for name, state in states.items()} == dict.fromkeys(names, "completed")
    assert told.calls == [("begin", 4), *((name, "completed") for name in names), ("end",)]
    assert len(json.loads((sweep.folder / "sweep.json").read_text())["trials"]) == 4


def test_the_same_again_does_what_is_missing(tmp_path):
    sweep = sweep_of(tmp_path / "sweep")
    first, second = sweep.trials[:2]

    def behave(sweep, trial):
        return {first.name: finish, second.name: failed}.get(trial.name, lambda *_: finish(*_, "diverged"))(
            sweep, trial
        )

    states = run_sweep(sweep, InProcess(behave))
    assert [state.state for state in states.values()] == ["completed", "failed", "diverged", "diverged"]
    again = InProcess()
    states = run_sweep(sweep_of(tmp_path / "sweep"), again)
    assert again.ran == [second.name]
    assert [state.state for state in states.values()] == ["completed", "completed", "diverged", "diverged"]
    nothing = InProcess()
    run_sweep(sweep, nothing)
    assert nothing.ran == []


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path):
    sweep, told = sweep_of(tmp_path / "sweep"), Told()
    done = []

    def behave(sweep, trial):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(trial.name)
        return finish(sweep, trial)

    executor = InProcess(behave)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, executor, told)
    assert executor.closed
    assert told.calls[-1] == ("end",)
    again = InProcess()
    run_sweep(sweep, again)
    assert done + again.ran == [trial.name for trial in sweep.trials]


def test_the_executor_is_closed_where_who_listens_fails(tmp_path):
    class Broken(SweepProgress):
        def ended(self, trial, state):
            raise RuntimeError("no terminal")

    executor = InProcess()
    with pytest.raises(RuntimeError):
        run_sweep(sweep_of(tmp_path / "sweep"), executor, Broken())
    assert executor.closed
    assert len(executor.ran) == 1


def test_data_are_read_once_and_before_everything_else(tmp_path, loads, monkeypatch):
    specs = grid({"dataset": ["mnist", "cifar10"], "seed": [0, 1], "data_dir": ["/data"], "offline": [True]})
    sweep = plan_sweep(tmp_path / "sweep", specs)[0]
    run_sweep(sweep, InProcess())
    assert loads == [(name, {"data_dir": "/data", "offline": True}) for name in ("cifar10", "mnist")]
    loads.clear()
    run_sweep(sweep, InProcess())
    assert loads == []  # nothing is missing

    def unavailable(name, **options):
        raise DatasetUnavailable("no network")

    monkeypatch.setattr("tfstiff.datasets.load", unavailable)
    executor = InProcess()
    with pytest.raises(DatasetUnavailable):
        run_sweep(sweep_of(tmp_path / "other"), executor)
    assert executor.ran == []
    assert not (tmp_path / "other").exists()


def test_one_process_runs_a_sweep(tmp_path):
    sweep = sweep_of(tmp_path / "sweep")
    run_sweep(sweep, InProcess(failed))
    with Claim(sweep.folder), pytest.raises(InvalidInput, match="Another process"):
        run_sweep(sweep, InProcess())
    run_sweep(sweep, InProcess())
