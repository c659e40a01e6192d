"""A sweep's folder given where runs are."""

import json

import pytest
from click.testing import CliRunner
from made_up import sweep_of
from synthetic_runs import series, write_run
from tfstiff_cli import main

from tfstiff.sweeps import write_sweep


def tfstiff(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture
def sweep(tmp_path):
    """Of three trials, of which the last has not run."""
    made = sweep_of(tmp_path / "sweep", (1e-4, 1e-3, 1e-2), (0,))
    write_sweep(made)
    for trial in made.trials[:2]:
        write_run(made.run_folder(trial), series(2, 2), trial.spec.as_config())
    return made


def test_show_has_its_trials_and_names_those_that_have_not_run(sweep):
    result = tfstiff("show", sweep.folder, "--json")
    assert result.exit_code == 0, result.stderr
    folders = [one["folder"] for one in json.loads(result.stdout)]
    assert folders == [str(sweep.run_folder(trial)) for trial in sweep.trials[:2]]
    assert f"The trial {sweep.trials[2].name} has not run." in result.stderr


def test_a_trial_that_is_given_twice_is_shown_once(sweep):
    result = tfstiff("show", sweep.run_folder(sweep.trials[1]), sweep.folder, "--json")
    assert len(json.loads(result.stdout)) == 2


def test_plot_and_report(sweep, tmp_path):
    result = tfstiff("plot", sweep.folder, "--figure", "critical_length", "--format", "png", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "critical_length.png").is_file()
    result = tfstiff("report", sweep.folder, "--static", "--out", tmp_path / "report.html")
    assert result.exit_code == 0, result.stderr
    assert "learning rate 0.001" in (tmp_path / "report.html").read_text()


def test_a_sweep_that_has_not_begun(sweep, tmp_path):
    made = sweep_of(tmp_path / "new", (1e-4,), (0,))
    write_sweep(made)
    for command in ("show", "plot", "report", "compare"):
        result = tfstiff(command, made.folder)
        assert result.exit_code == 2
        assert "has begun" in result.stderr
        assert f"tfstiff sweep --resume {made.folder}" in result.stderr
