import json
import shutil

import pytest
from made_up import finish, sweep_of

from tfstiff.errors import InvalidInput, RecordCorrupt, RunNotFound
from tfstiff.sweeps import TrialState, grid, is_sweep, load_sweep, plan_sweep, write_sweep


@pytest.fixture
def sweep(tmp_path):
    found = sweep_of(tmp_path / "sweep")
    write_sweep(found)
    return found


def test_planning_writes_nothing(tmp_path):
    sweep, added = plan_sweep(tmp_path / "sweep", grid({"seed": [0, 1]}))
    assert added == len(sweep.trials) == 2
    assert not list(tmp_path.iterdir())


def test_a_sweep_read_back(sweep):
    assert is_sweep(sweep.folder)
    assert load_sweep(sweep.folder) == sweep
    manifest = json.loads((sweep.folder / "sweep.json").read_text())
    assert [entry["spec"]["learning_rate"] for entry in manifest["trials"]] == [1e-4, 8e-4, 1e-4, 8e-4]


def test_a_sweep_grows_and_keeps_what_it_has(sweep):
    grown, added = plan_sweep(sweep.folder, grid({"learning_rate": [1e-4, 8e-4], "seed": [0, 1, 2]}))
    assert added == 2
    assert grown.trials[:4] == sweep.trials


@pytest.mark.parametrize("axes", [{"learning_rate": [1e-4]}, {"learning_rate": [1e-4, 8e-4], "epochs": [3]}])
def test_other_trials_are_refused(sweep, axes):
    with pytest.raises(InvalidInput, match="not asked for now"):
        plan_sweep(sweep.folder, grid(axes))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(InvalidInput, match="something else"):
            plan_sweep(path, grid({"seed": [0]}))
    assert not is_sweep(tmp_path)
    with pytest.raises(RunNotFound):
        load_sweep(tmp_path)


def test_a_list_of_trials_that_was_changed_is_told(sweep):
    path = sweep.folder / "sweep.json"
    text = path.read_text()
    path.write_text(text.replace('"epochs": 10', '"epochs": 11', 1))
    with pytest.raises(RecordCorrupt, match="another hash"):
        load_sweep(sweep.folder)
    for damaged in (text[:-20], "[]", '{"schema": 1}', text.replace('"schema": 1', '"schema": 2')):
        path.write_text(damaged)
        with pytest.raises(RecordCorrupt):
            load_sweep(sweep.folder)


def test_the_run_folder_tells_what_is_done(sweep):
    first, second, third, fourth = sweep.trials
    finish(sweep, first)
    finish(sweep, second, "diverged")
    sweep.record(third, TrialState(state="failed", error="It broke."))
    states = [sweep.state(trial).state for trial in sweep.trials]
    assert states == ["completed", "diverged", "failed", "waiting"]
    assert sweep.missing() == [third, fourth]


def test_what_a_process_told_counts_for_nothing_without_its_run_folder(sweep):
    trial = sweep.trials[0]
    finish(sweep, trial)
    shutil.rmtree(sweep.run_folder(trial))
    assert sweep.state(trial).state == "waiting"


def test_a_run_of_other_settings_is_not_the_trial(sweep):
    first, second = sweep.trials[:2]
    finish(sweep, first)
    shutil.copytree(sweep.run_folder(first), sweep.run_folder(second))
    assert not sweep.state(second).is_done


def test_a_damaged_run_folder_is_told(sweep):
    trial = sweep.trials[0]
    finish(sweep, trial)
    (sweep.run_folder(trial) / "status.json").write_text("{")
    state = sweep.state(trial)
    assert (state.state, state.exit_code) == ("failed", 3)
    assert "status.json" in state.error


def test_a_state_that_cannot_be_read_is_none(sweep):
    trial = sweep.trials[0]
    for text in ("", "{", "[]", '{"epoch": "?", "unknown": 1}'):
        sweep.state_file(trial).write_text(text)
        assert sweep.state(trial).state == "waiting"


def test_trials_are_found_by_name(sweep):
    assert sweep.find("lr0.0008-seed1").spec.seed == 1
    with pytest.raises(InvalidInput):
        sweep.find("../lr0.0008-seed1")
