import json
import sys
from pathlib import Path

import psutil
import pytest
from made_up import sweep_of

from tfstiff.cluster.resources import available_cores, default_jobs, thread_caps, visible_gpus
from tfstiff.sweeps import LocalExecutor, write_sweep

PRETENDED = Path(__file__).with_name("pretended_trial.py")


class Pretending(LocalExecutor):
    """Its trials behave as they are told, by name; the others finish at once."""

    def __init__(self, behaviour, *arguments, **options):
        super().__init__(*arguments, **options)
        self.behaviour = behaviour

    def _command(self, sweep, trial):
        behaviour = self.behaviour.get(trial.name, "finishes")
        return [sys.executable, "-S", str(PRETENDED), str(sweep.folder), trial.name, self._driver, behaviour]


@pytest.fixture
def sweep(tmp_path):
    found = sweep_of(tmp_path / "sweep")
    write_sweep(found)
    return found


def environment(sweep, trial):
    return json.loads((sweep.folder / f"environment-{trial.name}.json").read_text())


def run(executor, sweep, waiting=lambda: None):
    return {trial.name: state for trial, state in executor.run(sweep, sweep.trials, waiting)}


def ready(sweep, number):
    return sum(sweep.state(trial).epochs == 1 for trial in sweep.trials) == number


def alive(sweep):
    return [pid for trial in sweep.trials if (pid := sweep.state(trial).pid) and psutil.pid_exists(pid)]


def test_each_trial_has_a_process_and_a_log(sweep):
    states = run(Pretending({}, 2, 1), sweep)
    assert {state.state for state in states.values()} == {"completed"}
    assert len({state.pid for state in states.values()}) == len(sweep.trials)
    for trial in sweep.trials:
        assert sweep.log_file(trial).read_text() == f"{trial.name} speaks\n"


@pytest.mark.parametrize("jobs", [1, 3])
def test_so_many_at_a_time(sweep, jobs):
    executor = Pretending({trial.name: "waits" for trial in sweep.trials}, jobs)
    seen = []

    def look():
        seen.append(sum(sweep.state(trial).epochs == 1 for trial in sweep.trials))
        if seen[-1] == jobs and seen.count(jobs) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(executor, sweep, look)
    assert max(seen) == jobs


def test_a_trial_whose_process_dies_is_begun_again_and_harms_no_other(sweep):
    first, second = (trial.name for trial in sweep.trials[:2])
    states = run(Pretending({first: "dies once", second: "dies"}, 2, retries=2), sweep)
    assert [(states[name].state, states[name].attempts) for name in (first, second)] == [
        ("completed", 2),
        ("failed", 3),
    ]
    assert "SIGKILL" in states[second].error
    assert sum(state.state == "completed" for state in states.values()) == 3
    assert sweep.state(sweep.trials[1]) == states[second]  # it is kept


@pytest.mark.parametrize(("behaviour", "words"), [("fails", "It broke"), ("exits", "exit code 7")])
def test_a_trial_that_fails_is_not_begun_again(sweep, behaviour, words):
    states = run(Pretending({sweep.trials[0].name: behaviour}, 2, retries=5), sweep)
    state = states[sweep.trials[0].name]
    assert (state.state, state.attempts, state.exit_code) == ("failed", 1, 1)
    assert words in state.error


def test_when_it_is_interrupted_the_trials_end_first(sweep):
    first, second = sweep.trials[:2]
    executor = Pretending({trial.name: "waits" for trial in sweep.trials}, 2)

    def interrupt():
        if ready(sweep, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(executor, sweep, interrupt)
    assert [sweep.state(trial).state for trial in sweep.trials] == ["interrupted", "interrupted", "waiting", "waiting"]
    assert not alive(sweep)
    assert sweep.missing() == list(sweep.trials)
    assert {first.name, second.name} == {path.stem for path in (sweep.folder / "state").glob("*.json")}


def test_a_trial_that_does_not_listen_is_ended(sweep):
    executor = Pretending({sweep.trials[0].name: "does not listen"}, 1, patience=0.2)

    def interrupt():
        if ready(sweep, 1):
            raise SystemExit

    with pytest.raises(SystemExit):
        run(executor, sweep, interrupt)
    assert not alive(sweep)


def test_threads_are_capped(sweep):
    executor = Pretending({}, 2, 3)
    run(executor, sweep)
    found = environment(sweep, sweep.trials[0])
    assert {found[name] for name in thread_caps(1)} == {"3"}
    assert LocalExecutor(1).threads == available_cores()
    assert LocalExecutor(10_000).threads == 1


def test_gpus_are_given_out(sweep, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6")
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    assert visible_gpus() == ["4", "6"]
    assert default_jobs(10) <= 2
    executor = Pretending({trial.name: "waits" for trial in sweep.trials}, 2)

    def interrupt():
        if ready(sweep, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(executor, sweep, interrupt)
    found = [environment(sweep, trial) for trial in sweep.trials[:2]]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["4", "6"]
    assert not any("TF_FORCE_GPU_ALLOW_GROWTH" in one for one in found)
    crowded = Pretending({}, 3)._environment(2)
    assert (crowded["CUDA_VISIBLE_DEVICES"], crowded["TF_FORCE_GPU_ALLOW_GROWTH"]) == ("4", "true")


def test_without_gpus_a_job_a_core(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []
    assert 1 <= default_jobs(10_000) <= available_cores()
    assert default_jobs(1) == 1
