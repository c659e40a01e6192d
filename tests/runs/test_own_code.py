"""Folders that come from anybody run no code of their choice."""

import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff import RunSpec, load_run
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.records import RunWriter
from tfstiff.runs.own_code import check_named_again
from tfstiff.sweeps import plan_sweep, write_sweep

EVIL = {"arch": "subprocess:call", "input_shape": ["touch", "x"], "num_classes": None, "hidden": None}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["tfstiff_cli.main"], "end_on_signals", lambda *_: None)
    np.savez(
        "d.npz", x_train=np.eye(6), y_train=np.arange(6) % 3, x_validation=np.eye(6), y_validation=np.arange(6) % 3
    )


@pytest.fixture
def evil():
    folder = RunWriter("evil").folder
    spec = dataclasses.replace(RunSpec("npz:d.npz"), arch=EVIL["arch"])
    (folder / "config.json").write_text(json.dumps(spec.as_config() | EVIL))
    (folder / "models").mkdir()
    (folder / "models" / "step-00000000.weights.h5").write_bytes(b"")
    (folder / "records" / "step-00000000.npz").write_bytes(b"")
    return folder


@pytest.mark.parametrize("command", [("measure", "evil"), ("run", "--resume", "evil")])
def test_the_command_line_asks_to_name_it_again(evil, command):
    result = CliRunner().invoke(main, [*command])
    assert result.exit_code == 2
    assert "names code of its own" in result.output
    assert "--arch subprocess:call" in result.output
    assert not os.path.exists("x")


def test_a_sweep_asks_too(tmp_path):
    spec = dataclasses.replace(RunSpec("npz:d.npz"), arch="subprocess:call")
    write_sweep(plan_sweep(tmp_path / "sweep", [spec])[0])
    result = CliRunner().invoke(main, ["sweep", "--resume", "sweep", "--dry-run"])
    assert result.exit_code == 2
    assert "names code of its own" in result.output
    assert CliRunner().invoke(main, ["sweep", "--resume", "sweep", "--dry-run", "--arch", spec.arch]).exit_code == 0


def test_the_library_asks_and_looks_at_types_first(evil):
    config = json.loads((evil / "config.json").read_text())
    with pytest.raises(RecordCorrupt, match="does not say which model"):
        load_run(evil).model_at(0, "subprocess:call")
    fit = {"input_shape": [6], "num_classes": 3}
    (evil / "config.json").write_text(json.dumps(config | fit))
    with pytest.raises(InvalidInput, match="names code of its own"):
        load_run(evil).model_at(0)
    for change in (
        {"num_classes": "3"},
        {"num_classes": True},
        {"input_shape": [0]},
        {"input_shape": 6},
        {"hidden": [-1]},
    ):
        (evil / "config.json").write_text(json.dumps(config | fit | change))
        with pytest.raises(RecordCorrupt):
            load_run(evil).model_at(0, "subprocess:call")
    assert not os.path.exists("x")


def test_networks_of_ours_and_code_that_is_named_again_pass(tmp_path):
    check_named_again("fc", [], tmp_path, "")
    check_named_again("mine:build", [None, "mine:build"], tmp_path, "")
    with pytest.raises(InvalidInput):
        check_named_again("mine:build", [None, "mine:other"], tmp_path, "")
