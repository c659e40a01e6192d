import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff import RunSpec, load_run
from tfstiff.errors import InvalidInput
from tfstiff.records import RunWriter
from tfstiff.runs.presets import PRESETS
from tfstiff.runs.reporter import Reporter

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
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)


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
    assert "examples/s" in result.stderr
    assert result.stderr.count("ξ") == len(steps)
    for talk in ("examples/s", "Run folder", "epoch 1/2", "Drawing"):
        assert talk in result.stderr
        assert talk not in result.stdout
    assert "\x1b" not in result.output


def test_it_says_that_the_folder_exists(no_figures):
    assert run("--out", "out", "--schedule", "0,2").exit_code == 0
    result = run("--out", "out", "--schedule", "0,2")
    assert result.exit_code == 2
    assert "holds something else" in result.stderr
    assert "--resume" in result.stderr
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
    (("--arch", "perceiver"), 2, "Unknown architecture"),
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
    (("--dataset", "spherical_harmonics:degree=0"), 2, "degree"),
    (("--dataset", "spherical_harmonics:nonsense"), 2, "spherical_harmonics"),
    (("--preset", "v2"), 2, "v2"),
    (("--stop-at-loss", "abc"), 2, "abc"),
    (("--stop-at-loss", "0.1,"), 2, "such as 0.1"),
    (("--stop-at-loss", "0"), 2, "above 0"),
    (("--stop-at-loss", "nan"), 2, "finite"),
    (("--stop-at-loss", "0.1,0.1"), 2, "twice"),
    (("--stop-interval", "0"), 2, "stop_interval"),
    (("--stop-examples", "0"), 2, "stop_examples"),
    (("--pair-sets", "val"), 2, "pair sets"),
    (("--pair-sets", ""), 2, "pair sets"),
    (("--metrics", "sine"), 2, "metrics"),
    (("--distance", "l3"), 2, "l3"),
    (("--space", ""), 2, "space"),
    (("--distance-pairs", "some"), 2, "some"),
    (("--critical-length-method", "cubic"), 2, "cubic"),
    (("--critical-length-metric", "both"), 2, "both"),
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
        {"y_train": np.linspace(0, 1.5, 40), "y_validation": np.linspace(0, 1.5, 20), "class_names": np.array(["a"])},
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
        if batch + 1 == 10:
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
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Reporter, "on_train_batch_end", killed)
    assert run("--out", "out").exit_code == 143
    assert load_run("out").status == "interrupted"


def kill_at(monkeypatch, step, number):
    """Sends the process a signal after a step, once."""
    told = Reporter.on_train_batch_end
    sent = []

    def killed(self, batch, logs=None):
        told(self, batch, logs)
        if self.steps >= step and not sent:
            sent.append(signal.raise_signal(number))

    monkeypatch.setattr(Reporter, "on_train_batch_end", killed)


def test_an_interrupted_run_goes_on(monkeypatch, no_figures):
    options = ("--stop-at-loss", "0.01", "--stop-interval", "5", "--schedule", "epoch")
    assert run("--out", "alone", *options).exit_code == 0
    kill_at(monkeypatch, 5, signal.SIGINT)
    result = run("--out", "out", *options)
    assert result.exit_code == 130
    assert "Ending after this step" in result.stderr
    assert load_run("out").status == "interrupted"
    kill_at(monkeypatch, 15, signal.SIGTERM)
    result = tfstiff("run", "--resume", "out", "--checkpoint-every", "never")
    assert result.exit_code == 143
    assert "Going on from step 5" in result.stderr
    result = tfstiff("run", "--resume", "out", "--epochs", "2")  # as it was begun with
    assert result.exit_code == 0, result.output
    assert "Going on from step 15" in result.stderr
    assert "out/history.csv" in result.stdout
    for name in ("history.csv", "scalars.jsonl", "events.jsonl"):
        with open(f"alone/{name}") as one, open(f"out/{name}") as two:
            assert one.read() == two.read()
    assert [part["step"] for part in load_run("out").meta["resumed"]] == [5, 15]
    again = tfstiff("run", "--resume", "out")
    assert again.exit_code == 0
    assert again.stdout == result.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--resume", "nowhere"), "not a run folder"),
        (("--resume", "blank"), "config.json"),
        (("--resume", "begun", "--lr", "0.5"), "learning_rate=0.01"),
        (("--resume", "begun", "--out", "other"), "leave out --out"),
        (("--resume", "begun", "--preset", "v1"), "leave out --out and --preset"),
        (("--checkpoint-every", "0"), "above 0"),
        (("--checkpoint-every", "often"), "30s, 5min"),
    ],
)
def test_mistakes_in_going_on(monkeypatch, options, told):
    monkeypatch.setattr("keras.Model.fit", lambda *_, **__: pytest.fail("training began"))
    os.makedirs("blank/records")
    RunWriter("begun").write_config(RunSpec("npz:mine.npz", learning_rate=0.01).as_config())
    result = tfstiff("run", *options)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert left_behind() == ["begun", "blank"]


def test_a_run_that_diverges(no_figures):
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


def test_stopping_at_losses(no_figures):
    options = ("--stop-at-loss", "1.0,0.6", "--stop-interval", "5", "--stop-examples", "30", "--schedule", "0.0")
    result = run("--out", "out", "--epochs", "60", *options)
    assert result.exit_code == 0, result.stderr
    found = load_run("out")
    events = [event for event in found.events if event["event"] == "training_loss_reached"]
    assert [event["threshold"] for event in events] == [1.0, 0.6]
    assert [m.step for m in found.measurements] == [0, *(event["step"] for event in events)]
    assert (found.spec["stop_at_loss"], found.spec["stop_interval"], found.spec["stop_examples"]) == ([1.0, 0.6], 5, 30)
    assert found.spec["num_stop_examples"] == 30
    assert "out/events.jsonl" in result.stdout.splitlines()
    assert "training loss 0.6 reached, with" in result.stderr


def test_permuted_labels(no_figures):
    assert run("--out", "out", "--permute-labels", "--schedule", "0.0").exit_code == 0
    found = load_run("out")
    assert found.spec["permute_labels"] is True
    assert found.meta["dataset"]["preparation"]["labels_kept"] < 1


def test_generated_data(no_figures):
    name = "spherical_harmonics:degree=1,dimension=5,classes=3,train=60,validation=20"
    result = run("--schedule", "0.0", data=name)
    assert result.exit_code == 0, result.stderr
    (folder,) = os.listdir("runs")
    assert folder.startswith("spherical_harmonics-degree-1-dimension-5-classes-3-train-60-validation-20-fc-")
    found = load_run(f"runs/{folder}")
    assert found.spec["dataset"] == name
    assert found.meta["dataset"]["specified_by_the_papers"] is False


def test_metrics_choose_the_columns(no_figures):
    result = run("--out", "out", "--metrics", "cosine", "--schedule", "0.0")
    assert result.exit_code == 0, result.stderr
    assert "cosine" in result.stdout
    assert "sign" not in result.stdout
    assert "sign" not in tfstiff("show", "out").stdout


def settled(monkeypatch, *arguments):
    """The specification that `tfstiff run` comes to, without the run."""
    seen = []

    def stop(spec, folder, **_):
        seen.append(spec)
        raise InvalidInput("seen")

    monkeypatch.setattr("tfstiff_cli.run.run", stop)
    assert "seen" in tfstiff("run", *arguments).stderr
    return seen[0]


def test_without_options_a_run_is_that_of_the_default_preset(monkeypatch):
    assert settled(monkeypatch) == RunSpec() == settled(monkeypatch, "--preset", "iclr")


def test_a_preset_and_what_the_command_line_puts_in_its_place(monkeypatch):
    assert settled(monkeypatch, "--preset", "v1") == RunSpec.from_preset("v1")
    iclr = ("--arch", "fc", "--lr", "8e-4", "--epochs", "10", "--stop-at-loss", "none", "--space", "auto")
    iclr += ("--pair-sets", "train_train,train_val,val_val", "--metrics", "sign,cosine", "--distance", "cosine")
    iclr += ("--distance-pairs", "within", "--critical-length-method", "linear", "--critical-length-metric", "cosine")
    assert settled(monkeypatch, "--preset", "v1", *iclr) == RunSpec()  # though all are the defaults of another preset
    spec = settled(
        monkeypatch, "--preset", "v1", "--lr", "3e-4", "--stop-at-loss", "0.1", "--pair-sets", "val_val, train_val"
    )
    changes = {"learning_rate": 3e-4, "stop_at_loss": (0.1,), "pair_sets": ("train_val", "val_val")}
    assert spec == RunSpec.from_preset("v1", **changes)


def test_every_choice_of_the_preset_stands_in_the_settings(monkeypatch):
    spec = json.loads(json.dumps(dataclasses.asdict(settled(monkeypatch, "--preset", "v1"))))
    assert {name: spec[name] for name in PRESETS["v1"].settings} == json.loads(json.dumps(PRESETS["v1"].settings))


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


@pytest.mark.parametrize(("name", "code"), [("no_model", 2), ("absent", 2), ("narrow", 2), ("mistaken", 2)])
def test_architectures_that_cannot_be_used(own_module, name, code):
    assert run_own(name).exit_code == code
    assert not os.path.exists("out")


def test_groups_of_classes_and_turns_are_shown_and_recorded(no_figures):
    result = run("--out", "out", "--schedule", "epoch", "--groups", "even=0,2;odd=1", "--stop-when-stiffness-drops")
    assert result.exit_code == 0, result.stderr
    found = load_run("out")
    assert found.spec["groups"] == found.spec["class_groups"] == {"even": ["0", "2"], "odd": ["1"]}
    assert found.spec["stop_when_stiffness_drops"] == 3
    assert RunSpec.from_config(found.spec).groups == {"even": ["0", "2"], "odd": ["1"]}
    assert found.measurements[0].groups == {"even": ("0", "2"), "odd": ("1",)}
    blocks = found.measurements[-1]["train_val"].sign.blocks
    of_cosine = found.measurements[-1]["train_val"].cosine.blocks
    shown = tfstiff("show", "out").stdout
    for text in (result.stdout, shown):
        assert "Blocks of classes, train_val" in text
        assert f"{blocks.same_group:.3f}" in text
        assert f"{of_cosine.same_group:.3f}±" in text
        assert "even: 0, 2; odd: 1" in text
        assert "Turning points" in text
        assert "cosine within classes" in text
        assert "stiffness turns down" in text
    document = json.loads(tfstiff("show", "out", "--json").stdout)
    assert document["groups"] == found.spec["groups"]
    assert document["measurements"][-1]["block_p_value_sign_train_val"] == blocks.p_value
    assert document["turns"]["rules"].keys() == found.events[-1]["rules"].keys()
    assert "stiffness_sign_block_contrast_train_val" in Path("out/history.csv").read_text()
    assert found.events[-1]["event"] == "turning_points"


def test_a_drop_of_stiffness_stops_training(no_figures):
    """Of a stiffness that surely falls: any drop will do, at once."""
    options = ("--stop-when-stiffness-drops", "1", "--stiffness-monitor", "cosine_within_val_val", "--epochs", "30")
    result = run("--out", "out", "--schedule", "epoch", *options)
    assert result.exit_code == 0, result.stderr
    found = load_run("out")
    dropped = [event for event in found.events if event["event"] == "stiffness_dropped"]
    assert len(dropped) == 1
    assert dropped[0]["monitor"] == "stiffness_cosine_within_val_val"
    assert found.measurements[-1].step == dropped[0]["step"] < 300
    assert f"step {dropped[0]['step']}: stiffness_cosine_within_val_val has fallen" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--groups", "one=0,9"), "are not classes"),
        (("--groups", "nothing.json"), "cannot be read"),
        (("--stiffness-monitor", "val_loss"), "Unknown scalar"),
        (("--min-stiffness-drop", "-1"), "from 0 on"),
        (("--stop-when-stiffness-drops=1.5",), "not a valid integer"),
        (("--critical-length-method", "fixed_effects", "--distance-pairs", "all"), "fixed effects"),
    ],
)
def test_science_that_cannot_be_done_is_told_before_anything_is_left(options, message):
    result = run("--out", "out", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert left_behind() == []
