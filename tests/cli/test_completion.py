"""What the shell completes."""

import pytest
from click.shell_completion import ShellComplete
from synthetic_runs import series, write_run
from tfstiff_cli import main

from tfstiff import datasets


def completed(*words, incomplete=""):
    found = ShellComplete(main, {}, "tfstiff", "_TFSTIFF_COMPLETE").get_completions(list(words), incomplete)
    return [item.value for item in found]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        write_run(tmp_path / "runs" / name, series(1, 2))
    (tmp_path / "other").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", ["run", "sweep", "measure"])
def test_data_sets(command, runs):
    assert completed(command, "--dataset", incomplete="cifar") == ["cifar10", "cifar100"]
    assert completed(command, "--dataset") == list(datasets.names())


@pytest.mark.parametrize("command", ["show", "plot", "report", "export", "watch", "compare"])
def test_runs(command, runs):
    assert completed(command) == ["other", "runs", "runs/first", "runs/second"]
    assert completed(command, incomplete="runs/s") == ["runs/second"]
    assert completed(command, incomplete=f"{runs}/runs/") == [f"{runs}/runs/first", f"{runs}/runs/second"]
    assert completed(command, incomplete="nowhere/x") == []


def test_layers_of_the_run_that_is_measured_again(runs):
    assert completed("run", "--space") == ["input", "all"]
    assert completed("measure", "runs/first", "--space") == ["input", "all"]
    assert completed("measure", "runs/first", "--space", incomplete="a") == ["all"]


def test_commands_and_options(runs):
    assert completed(incomplete="sh") == ["show"]
    assert completed("run", incomplete="--tensor") == ["--tensorboard"]
