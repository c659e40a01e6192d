import json
import os
import signal
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff import load_run
from tfstiff.training import Reporter

SMALL = ("--hidden", "8", "--epochs", "2", "--batch-size", "4", "--probe-size", "9:6", "--lr", "0.01")


def arrays():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    return {"x_train": x[:40], "y_train": y[:40], "x_validation": x[40:], "y_validation": y[40:]}


@pytest.fixture(autouse=True)
def as_in_a_process_of_its_own(tmp_path, monkeypatch):
    """In an empty folder, with a data set; what the command does to the process is undone."""
    np.savez(tmp_path / "mine.npz", **arrays())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("NO_COLOR", "1")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("tfstiff.experiment._draw", lambda *_: None)


def tfstiff(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def run(*arguments, data="npz:mine.npz"):
    return tfstiff("run", "--dataset", data, *SMALL, *arguments)


def left_behind():
    return sorted(name for name in os.listdir() if name != "mine.npz")


def test_a_run():
    result = run("--out", "out", "--keep-gram", "--centering", "channel")
    assert result.exit_code == 0, result.stderr
    found = load_run("out")
    steps = [0, 1, 2, 3, 6, 10, 20]
    assert found.status == "completed"
    assert [m.step for m in found.measurements] == steps == found.spec["measured_steps"]
    assert found.measurements[0].gram.shape == (15, 15)
    expected = {
        "dataset": "npz:mine.npz",
        "arch": "fc",
        "learning_rate": 0.01,
        "epochs": 2,
        "batch_size": 4,
        "seed": 0,
        "probe_size": [9, 6],
        "schedule": "log",
        "hidden": [8],
        "centering": "channel",
        "train_examples": None,
        "permute_labels": False,
        "method": "auto",
        "deterministic": False,
        "keep_gram": True,
        "data_dir": None,
        "offline": False,
    }
    assert {name: found.spec[name] for name in expected} == expected
    lines = result.stdout.splitlines()
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0][0].isdigit()]
    assert [int(row[1]) for row in rows] == steps
    paths = [line for line in lines if line.startswith("out")]
    assert {"out/config.json", "out/history.csv", "out/records"} <= set(paths)
    assert any(path.endswith(".png") for path in paths)
    assert all(os.path.exists(path) for path in paths)
    assert "images/s" in result.stderr
    assert result.stderr.count("ξ") == len(steps)
    for talk in ("images/s", "Run folder", "epoch 1/2", "Drawing"):
        assert talk in result.stderr
        assert talk not in result.stdout
    assert "\x1b" not in result.output


def test_it_says_that_the_folder_exists(no_figures):
    assert run("--out", "out", "--schedule", "0,2").exit_code == 0
    result = run("--out", "out", "--schedule", "0,2")
    assert result.exit_code == 2
    assert "exists" in result.stderr
    assert load_run("out").status == "completed"


def test_the_default_folder_is_named_after_data_and_network(no_figures):
    assert run("--schedule", "0.0").exit_code == 0
    (folder,) = os.listdir("runs")
    assert folder.startswith("mine-fc-")
    assert load_run(f"runs/{folder}").status == "completed"


def test_an_empty_folder_will_do(no_figures):
    os.mkdir("out")
    assert run("--out", "out", "--schedule", "0.0").exit_code == 0


@pytest.mark.parametrize(
    ("schedule", "steps"), [("epoch", [0, 10, 20]), ("8", [0, 8, 16]), ("0,0.5,2", [0, 5, 20]), ("0.25", [2])]
)
def test_schedules(no_figures, schedule, steps):
    assert run("--out", "out", "--schedule", schedule).exit_code == 0
    assert [m.step for m in load_run("out").measurements] == steps


BAD = [
    (("--arch", "transformer"), 2, "Unknown architecture"),
    (("--arch", "no.such.module:build"), 2, "cannot be imported"),
    (("--arch", "cnn"), 2, "Hidden widths apply to fully connected"),
    (("--lr", "0"), 2, "learning rate"),
    (("--lr", "-1"), 2, "learning rate"),
    (("--lr", "nan"), 2, "learning rate"),
    (("--lr", "inf"), 2, "learning rate"),
    (("--lr", "1e400"), 2, "learning rate"),
    (("--lr", "abc"), 2, "abc"),
    (("--epochs", "0"), 2, "epochs"),
    (("--epochs", "1.5"), 2, "1.5"),
    (("--batch-size", "0"), 2, "batch_size"),
    (("--seed", "-1"), 2, "seed"),
    (("--seed", "4294967296"), 2, "seed"),
    (("--hidden", "8,"), 2, "whole numbers"),
    (("--hidden", "0"), 2, "hidden"),
    (("--probe-size", "0"), 2, "probe_size"),
    (("--probe-size", "5:5:5"), 2, "500:1000"),
    (("--probe-size", "5:"), 2, "500:1000"),
    (("--probe-size", "-5"), 2, "500:1000"),
    (("--probe-size", "41:6"), 2, "probe cannot take 41"),
    (("--probe-size", "9:21"), 2, "validation split"),
    (("--schedule", "weekly"), 2, "weekly"),
    (("--schedule", "0"), 2, "interval"),
    (("--schedule", "-1,2"), 2, "schedule"),
    (("--schedule", "nan"), 2, "schedule"),
    (("--schedule", "1,,2"), 2, "list of epochs"),
    (("--centering", "none"), 2, "none"),
    (("--method", "magic"), 2, "magic"),
    (("--train-examples", "0"), 2, "training subset"),
    (("--train-examples", "41"), 2, "training subset"),
    (("--dataset", "nonsense"), 2, "nonsense"),
    (("--dataset", "npz:absent.npz"), 3, "absent.npz"),
    (("--no-such-option",), 2, "no-such-option"),
    (("argument",), 2, "argument"),
]


@pytest.mark.parametrize(("options", "code", "told"), BAD)
def test_mistakes_are_told_before_training_and_leave_nothing(monkeypatch, options, code, told):
    monkeypatch.setattr("keras.Model.fit", lambda *_, **__: pytest.fail("training began"))
    result = run("--out", "out", *options)
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert result.stdout == ""
    assert left_behind() == []


@pytest.mark.parametrize(
    "change",
    [
        {"y_train": np.full(40, -1)},
        {"y_validation": np.arange(20) % 5, "class_names": np.array(["a", "b", "c"])},
        {"y_train": np.arange(39)},
        {"x_train": np.full((40, 6), np.nan)},
        {"y_train": np.linspace(0, 1.5, 40), "y_validation": np.linspace(0, 1.5, 20)},
    ],
)
def test_data_that_cannot_be_used(change):
    np.savez("mine.npz", **(arrays() | change))
    result = run("--out", "out")
    assert result.exit_code == 2, result.output
    assert "Error" in result.stderr
    assert left_behind() == []


def test_a_damaged_data_set():
    with open("mine.npz", "rb") as file:
        half = file.read()[:300]
    with open("mine.npz", "wb") as file:
        file.write(half)
    assert run("--out", "out").exit_code == 3
    assert left_behind() == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(KeyboardInterrupt(), "interrupted", 130), (RuntimeError("out of luck"), "failed", 1)],
)
def test_what_was_recorded_is_kept(monkeypatch, no_figures, error, status, code):
    told = Reporter.on_train_batch_end

    def breaking(self, batch, logs=None):
        told(self, batch, logs)
        raise error

    monkeypatch.setattr(Reporter, "on_train_batch_end", breaking)
    result = run("--out", "out")
    assert result.exit_code == code
    found = load_run("out")
    assert found.status == status
    assert [m.step for m in found.measurements] == [0, 1, 2, 3, 6, 10]
    assert tfstiff("show", "out").exit_code == 0


def test_sigterm_ends_a_run_orderly(monkeypatch, no_figures):
    told = Reporter.on_train_batch_end

    def killed(self, batch, logs=None):
        told(self, batch, logs)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Reporter, "on_train_batch_end", killed)
    assert run("--out", "out").exit_code == 143
    assert load_run("out").status == "interrupted"


def test_a_run_that_diverges():
    result = run("--out", "out", "--lr", "1e30", "--schedule", "1")
    assert result.exit_code == 0, result.output
    assert load_run("out").status == "diverged"
    assert "no longer finite" in result.stderr
    assert load_run("out").problems == []
    shown = tfstiff("show", "out", "--json")
    assert shown.exit_code == 0
    document = json.loads(shown.stdout)
    assert document["status"] == "diverged"
    assert len(document["measurements"]) == len(load_run("out").measurements) > 1


OWN = """
import keras

def build(input_shape, num_classes):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(num_classes)], name="own")

def narrow(input_shape, num_classes):
    return build(input_shape, num_classes - 1)

def no_model(input_shape, num_classes):
    return "no model"

def mistaken(input_shape, num_classes):
    raise ZeroDivisionError("a mistake of the user")
"""


def run_own(name):
    with open("tfstiff_test_networks.py", "w") as file:
        file.write(OWN)
    arguments = [*SMALL[2:], "--arch", f"tfstiff_test_networks:{name}", "--out", "out", "--schedule", "epoch"]
    return tfstiff("run", "--dataset", "npz:mine.npz", *arguments)


@pytest.fixture
def own_module():
    yield
    sys.modules.pop("tfstiff_test_networks", None)
    sys.path_importer_cache.clear()


def test_an_architecture_of_ones_own(own_module, no_figures):
    result = run_own("build")
    assert result.exit_code == 0, result.output
    found = load_run("out")
    assert found.spec["arch"] == "tfstiff_test_networks:build"
    assert found.spec["num_parameters"] == 6 * 3 + 3


@pytest.mark.parametrize(("name", "code"), [("no_model", 2), ("absent", 2), ("narrow", 2), ("mistaken", 1)])
def test_architectures_that_cannot_be_used(own_module, name, code):
    assert run_own(name).exit_code == code
    assert not os.path.exists("out")
