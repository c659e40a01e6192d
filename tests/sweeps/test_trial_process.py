import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from made_up import finish, sweep_of

from tfstiff.errors import InvalidInput
from tfstiff.sweeps import TrialState, write_sweep
from tfstiff.sweeps import state as state_module
from tfstiff.sweeps.state import TrialProgress, read_state
from tfstiff.sweeps.trial_process import run_trial

ELSEWHERE = {"host": "another-machine", "pid": 1}


@pytest.fixture
def sweep(tmp_path):
    found = sweep_of(tmp_path / "sweep")
    write_sweep(found)
    return found


@pytest.fixture
def behave(monkeypatch):
    """Puts a function in the place of `tfstiff.run`."""
    monkeypatch.setattr("tfstiff.sweeps.trial_process.import_tensorflow", lambda: None)

    def put(function):
        monkeypatch.setattr("tfstiff.runs.run.run", function)

    return put


def trains(spec, folder, *, progress, patience=0.0):
    progress.begin(4, 10)
    for step in (5, 10):
        progress.stepped(1, step, {"loss": 1 / step})
    return SimpleNamespace(status="completed")


def test_what_a_trial_tells(sweep, behave, capfd):
    trial = sweep.trials[1]
    behave(
        lambda spec, folder, progress, patience: (
            progress.say(f"{spec.learning_rate} {folder}") or trains(spec, folder, progress=progress)
        )
    )
    state = run_trial(sweep, trial, "driver")
    assert state == read_state(sweep.state_file(trial))
    assert (state.state, state.epoch, state.epochs, state.loss, state.attempts) == ("completed", 2.0, 4, 0.1, 1)
    assert state.pid == os.getpid()
    assert capfd.readouterr().out == f"0.0008 {sweep.run_folder(trial)}\n"


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [(InvalidInput("No such thing."), 2, "No such thing."), (ZeroDivisionError("oh"), 1, "ZeroDivisionError: oh")],
)
def test_an_error_is_kept(sweep, behave, error, exit_code, text, capfd):
    def breaks(*_, **__):
        raise error

    behave(breaks)
    state = run_trial(sweep, sweep.trials[0], "driver")
    assert (state.state, state.exit_code, state.error) == ("failed", exit_code, text)
    assert text in capfd.readouterr().err
    assert sweep.state(sweep.trials[0]) == state


def test_an_interruption_is_kept_and_passed_on(sweep, behave):
    def interrupted(*_, **__):
        raise SystemExit(143)

    behave(interrupted)
    with pytest.raises(SystemExit):
        run_trial(sweep, sweep.trials[0], "driver")
    assert sweep.state(sweep.trials[0]).state == "interrupted"


def test_attempts_of_one_driver_are_counted(sweep, behave):
    behave(trains)
    assert [run_trial(sweep, sweep.trials[0], driver).attempts for driver in ("a", "a", "b", "b", "b")] == [
        1,
        2,
        1,
        2,
        3,
    ]


def test_a_trial_waits_for_a_process_that_is_still_in_its_folder(sweep, behave):
    seen = []
    behave(lambda spec, folder, progress, patience: seen.append(patience) or trains(spec, folder, progress=progress))
    run_trial(sweep, sweep.trials[0], "mine")
    assert seen[0] >= 60


def test_it_tells_while_training(tmp_path, monkeypatch):
    monkeypatch.setattr(state_module, "TELL_SECONDS", 0.01)
    path = tmp_path / "state.json"
    with TrialProgress(path, TrialState()) as progress:
        assert read_state(path).state == "running"
        progress.begin(4, 10)
        progress.stepped(2, 5, {"loss": 0.5})
        deadline = time.monotonic() + 20
        while read_state(path).epoch != 2.5 and time.monotonic() < deadline:
            time.sleep(0.01)
        told = read_state(path)
    assert (told.epoch, told.epochs, told.loss) == (2.5, 4, 0.5)


def test_time_left_is_at_the_pace_since_training_began():
    state = TrialState("running", epoch=3.0, epochs=10, begun_at_epoch=1.0, seconds_training=4.0)
    assert state.seconds_left == 14.0
    assert str(TrialState("running", epochs=10).seconds_left) == "nan"
    assert str(replace(state, state="completed").seconds_left) == "nan"


def test_a_loss_that_is_not_finite_is_kept_as_json(sweep):
    trial = sweep.trials[0]
    sweep.record(trial, replace(finish(sweep, trial, "diverged"), loss=float("nan")))
    assert json.loads(sweep.state_file(trial).read_text())["loss"] is None
    assert str(sweep.state(trial).loss) == "nan"


def test_a_trial_is_asked_to_end_when_its_parent_is_gone():
    program = "from tfstiff.sweeps.trial_process import _end_with_parent; _end_with_parent()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(60) == -signal.SIGTERM
