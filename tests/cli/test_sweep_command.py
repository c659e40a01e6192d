import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from made_up import InProcess, failed, finish, sweep_of
from rich.console import Console
from tfstiff_cli import main
from tfstiff_cli.sweep import command as sweep_command
from tfstiff_cli.sweep_progress import LiveSweepProgress, PlainSweepProgress, duration

from tfstiff import RunSpec, load_run
from tfstiff.sweeps import TrialState, load_sweep, spec_hash


@pytest.fixture(autouse=True)
def as_in_a_process_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def executors(monkeypatch):
    """Executors that the command made, with what it made them with; their trials take no time."""
    made = []

    def make(*arguments, **options):
        made.append(InProcess())
        made[-1].made_with = arguments, options
        return made[-1]

    monkeypatch.setattr("tfstiff_cli.sweep.LocalExecutor", make)
    return made


def tfstiff(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def sweep(*arguments):
    return tfstiff("sweep", *arguments)


def planned(*arguments):
    """The settings of each trial."""
    result = sweep(*arguments, "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    return [trial["spec"] for trial in json.loads(result.stdout)["trials"]]


def values(name, *arguments):
    return list(dict.fromkeys(map(str, (spec[name] for spec in planned(*arguments)))))


# ---- what is asked for


def test_every_setting_of_run_can_be_swept():
    settings = {parameter.name: parameter for parameter in sweep_command.params}
    assert settings.keys() >= {*RunSpec.__dataclass_fields__, "preset"}
    help_text = sweep("--help-all").stdout
    for name in (*RunSpec.__dataclass_fields__, "preset"):
        assert settings[name].multiple
        assert settings[name].opts[0] in help_text


def test_settings_whose_values_have_commas_are_known():
    tuples = {name for name, default in vars(RunSpec()).items() if isinstance(default, tuple)} - {"probe_size"}
    for name in tuples | {"hidden", "schedule", "groups"}:
        known = RunSpec.__dataclass_fields__[name].metadata
        assert known.get("has_commas") or known.get("several"), name


def test_without_settings_it_is_what_run_does():
    (spec,) = planned()
    assert spec == RunSpec().as_config()


@pytest.mark.parametrize(
    ("arguments", "name", "expected"),
    [
        (["--lr", "1e-4,2e-4"], "learning_rate", ["0.0001", "0.0002"]),
        (["--lr", "1e-4", "--lr", "2e-4"], "learning_rate", ["0.0001", "0.0002"]),
        (["--seed", "0:3"], "seed", ["0", "1", "2"]),
        (["--seed", "7,0:10:4,2:3"], "seed", ["7", "0", "4", "8", "2"]),
        (["--epochs", "1:4"], "epochs", ["1", "2", "3"]),
        (["--permute-labels"], "permute_labels", ["True"]),
        (["--permute-labels", "no,yes"], "permute_labels", ["False", "True"]),
        (["--hidden", "500,300", "--hidden", "100"], "hidden", ["[500, 300]", "[100]"]),
        (["--schedule", "0,0.5", "--schedule", "log", "--schedule", "7"], "schedule", ["[0.0, 0.5]", "log", "7"]),
        (["--arch", "fc,cnn,mine:build"], "arch", ["fc", "cnn", "mine:build"]),
        (["--dataset", "mnist,cifar10"], "dataset", ["mnist", "cifar10"]),
        (
            ["--dataset", "spherical_harmonics:degree=3,dimension=10", "--dataset", "mnist"],
            "dataset",
            ["spherical_harmonics:degree=3,dimension=10", "mnist"],
        ),
        (["--probe-size", "500,20:30"], "probe_size", ["[500, 500]", "[20, 30]"]),
        (["--memory-limit", "4GB,500MB"], "memory_limit", ["4000000000", "500000000"]),
        (["--preset", "iclr,v1"], "arch", ["fc", "fc-v1"]),
        (
            ["--pair-sets", "train_val", "--pair-sets", "train_val,val_val"],
            "pair_sets",
            ["['train_val']", "['train_val', 'val_val']"],
        ),
    ],
)
def test_values(arguments, name, expected):
    assert values(name, *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lr", "1e-4,abc"], "'abc' is not a valid float"),
        (["--lr", "1e-4,"], "''"),
        (["--lr", "-1"], "learning rate"),
        (["--seed", "3:3"], "empty range"),
        (["--seed", "0:3:0"], "empty range"),
        (["--seed", "0:x"], "0:x"),
        (["--distance", "cosine,miles"], "miles"),
        (["--permute-labels", "perhaps"], "perhaps"),
        (["--nonsense", "1"], "nonsense"),
        (["--jobs", "0"], "jobs"),
        (["--gpus-per-trial", "1"], "--ray"),
        (["--resume", "somewhere", "--lr", "1"], "--resume"),
        (["--resume", "somewhere"], "not a sweep"),
        (["--ray", "auto", "--jobs", "2"], "cluster decides"),
    ],
)
def test_what_cannot_be_used(arguments, words, executors):
    result = sweep(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert not os.listdir()
    assert not any(executor.ran for executor in executors)


def test_paths_are_absolute_so_that_a_sweep_can_go_on_from_anywhere(tmp_path):
    (spec,) = planned("--dataset", "npz:mine.npz", "--data-dir", "data")
    assert (spec["dataset"], spec["data_dir"]) == (f"npz:{tmp_path / 'mine.npz'}", str(tmp_path / "data"))


# ---- a file


def write(text):
    Path("sweep.toml").write_text(text)
    return "--file", "sweep.toml"


def test_a_file_is_what_the_options_are():
    file = write("""
        preset = "iclr"
        lr = [1e-4, 8e-4]
        seed = "0:2"
        permute-labels = [false, true]
        hidden = [[500, 300], [100]]
        epochs = 3
        schedule = "0,0.5,3"
    """)
    grid = (
        "--lr",
        "1e-4,8e-4",
        "--seed",
        "0:2",
        "--permute-labels",
        "no,yes",
        "--hidden",
        "500,300",
        "--hidden",
        "100",
    )
    assert planned(*file) == planned(*grid, "--epochs", "3", "--schedule", "0,0.5,3")
    assert len(planned(*file)) == 16


def test_options_take_precedence_over_the_file():
    file = write("lr = [1e-4, 8e-4]\nepochs = 3")
    found = planned(*file, "--lr", "2e-4", "--seed", "0:2")
    assert [(spec["learning_rate"], spec["epochs"], spec["seed"]) for spec in found] == [(2e-4, 3, 0), (2e-4, 3, 1)]


def test_a_file_of_several_grids():
    file = write("""
        epochs = 3
        [[grid]]
        arch = "fc"
        learning_rate = [1e-4, 8e-4]
        [[grid]]
        arch = ["fc", "cnn"]
        learning_rate = 8e-4
    """)
    found = [(spec["arch"], spec["learning_rate"], spec["epochs"]) for spec in planned(*file)]
    assert found == [("fc", 1e-4, 3), ("fc", 8e-4, 3), ("cnn", 8e-4, 3)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr = [1e-4", "not TOML"),
        ("learning-rat = 1", "Did you mean"),
        ("grid = 3", "[[grid]]"),
        ("lr = 'x'", "'x' is not a valid float"),
        ("lr = []", "needs a value"),
        ("out = 'here'", "has not"),
        ("hidden = { a = 1 }", "must be a number"),
        ("hidden = 'a'", "--hidden"),
    ],
)
def test_files_that_cannot_be_used(text, words):
    result = sweep(*write(text))
    assert result.exit_code == 2
    assert words in result.stderr


# ---- what is done


def test_a_dry_run_prints_the_trials_and_writes_nothing(executors):
    result = sweep("--lr", "1e-4,8e-4", "--seed", "0:2", "--dry-run")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["trial", "hash", "state", "learning_rate", "seed"]
    assert lines[1].split() == ["lr0.0001-seed0", spec_hash(RunSpec(learning_rate=1e-4))[:8], "waiting", "0.0001", "0"]
    assert lines[-1].startswith("4 trials, 4 to run, in ")
    assert not executors
    assert not os.listdir()


def test_a_sweep(executors):
    result = sweep(
        "--lr", "1e-4,8e-4", "--seed", "0:2", "--out", "mine", "--jobs", "3", "--threads", "2", "--retries", "5"
    )
    assert result.exit_code == 0, result.stderr
    assert executors[0].made_with == ((3, 2), {"retries": 5})
    assert len(executors[0].ran) == 4
    assert len(load_sweep("mine").trials) == 4
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["lr0.0001-seed0", "completed", "3/3", "0.5000", "1.0"]
    assert lines[-1] == str(Path("mine").absolute())
    assert "[4/4] lr0.0008-seed1: completed in 1 s, loss 0.5" in result.stderr
    assert "\x1b" not in result.output


def test_the_same_command_again_finds_its_folder_and_does_what_is_missing(executors):
    arguments = ("--lr", "1e-4,8e-4", "--seed", "0:2")
    assert sweep(*arguments).exit_code == 0
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("sweep-fashion_mnist_mini-fc-")
    (folder / "trials" / "lr0.0008-seed0" / "status.json").unlink()
    assert sweep(*reversed(["0:2", "--seed", "8e-4,1e-4", "--lr"])).exit_code == 0
    assert [*Path("runs").iterdir()] == [folder]
    assert executors[1].ran == ["lr0.0008-seed0"]
    result = sweep(*arguments)
    assert (result.exit_code, executors[2].ran) == (0, [])
    assert "4 trials, 4 of them done." in result.stderr


def test_more_values_add_trials_and_others_are_refused(executors):
    assert sweep("--lr", "1e-4", "--out", "mine").exit_code == 0
    result = sweep("--lr", "1e-4", "--seed", "0:2", "--out", "mine")
    assert (result.exit_code, executors[1].ran) == (0, ["seed1"])
    assert "1 of its 2 trials are new" in result.stderr
    result = sweep("--lr", "2e-4", "--out", "mine")
    assert result.exit_code == 2
    assert "not asked for now" in result.stderr


def test_going_on_by_the_folder_alone(executors, monkeypatch, tmp_path):
    assert sweep("--lr", "1e-4,8e-4", "--out", "mine").exit_code == 0
    (tmp_path / "mine" / "trials" / "lr0.0008" / "status.json").unlink()
    monkeypatch.chdir("/")
    result = sweep("--resume", tmp_path / "mine")
    assert (result.exit_code, executors[1].ran) == (0, ["lr0.0008"])


def test_some_failed(executors, monkeypatch):
    monkeypatch.setattr(
        "tfstiff_cli.sweep.LocalExecutor",
        lambda *_, **__: InProcess(lambda sweep, trial: (failed if trial.spec.seed else finish)(sweep, trial)),
    )
    result = sweep("--seed", "0:2", "--out", "mine")
    assert result.exit_code == 5
    assert "seed1 failed: It broke." in result.stdout
    result = sweep("--resume", "mine", "--json")
    assert result.exit_code == 5
    found = {trial["name"]: trial for trial in json.loads(result.stdout)["trials"]}
    assert (found["seed0"]["state"], found["seed1"]["state"], found["seed1"]["error"]) == (
        "completed",
        "failed",
        "It broke.",
    )


def test_a_training_that_diverged_is_a_result(monkeypatch):
    diverges = InProcess(lambda sweep, trial: finish(sweep, trial, "diverged"))
    monkeypatch.setattr("tfstiff_cli.sweep.LocalExecutor", lambda *_, **__: diverges)
    result = sweep("--seed", "0:2", "--out", "mine")
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines()[1:3]] == ["diverged", "diverged"]


@pytest.mark.parametrize(("interruption", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_stopped(monkeypatch, interruption, code):
    def stop(sweep, trial):
        raise interruption

    monkeypatch.setattr("tfstiff_cli.sweep.LocalExecutor", lambda *_, **__: InProcess(stop))
    result = sweep("--seed", "0:2", "--out", "mine")
    assert result.exit_code == code
    assert f"tfstiff sweep --resume {Path('mine').absolute()}" in result.stderr
    assert result.stdout == ""


def test_a_data_set_that_is_not_there(executors):
    result = sweep("--dataset", "npz:missing.npz", "--seed", "0:2")
    assert result.exit_code in (2, 3)
    assert "missing.npz" in result.stderr
    assert not os.listdir()
    assert not executors[0].ran


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ray"], (None, {"jobs": None, "threads": None, "gpus": 0.0})),
        (["--ray", "--jobs", "2"], (None, {"jobs": 2, "threads": None, "gpus": 0.0})),
        (
            ["--ray", "auto", "--threads", "4", "--gpus-per-trial", "0.5"],
            ("auto", {"jobs": None, "threads": 4, "gpus": 0.5}),
        ),
        (["--ray", "--seed", "0"], (None, {"jobs": None, "threads": None, "gpus": 0.0})),
    ],
)
def test_ray(monkeypatch, arguments, expected):
    made = []

    def make(address, **options):
        made.append((address, options))
        return InProcess()

    monkeypatch.setattr("tfstiff.sweeps.on_ray.RayExecutor", make)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert sweep(*arguments, "--out", "mine").exit_code == 0
    assert made == [expected]


# ---- how it looks


def test_the_live_table(tmp_path):
    made = sweep_of(tmp_path / "sweep", rates=(1e-4, 2e-4, 4e-4, 8e-4), seeds=(0,))
    for part in ("state", "trials"):
        (made.folder / part).mkdir(parents=True)
    console = Console(force_terminal=True, width=100, height=6, record=True, no_color=True)
    progress = LiveSweepProgress(console)
    progress.begin(made, made.trials)
    for trial, epoch in zip(made.trials[:3], (2.0, 3.0, 4.0), strict=True):
        state = TrialState("running", epoch=epoch, epochs=10, loss=0.25, seconds=60.0, seconds_training=20 * epoch)
        made.record(trial, state)
    progress.waiting()
    progress.ended(made.trials[0], finish(made, made.trials[0]))
    progress.end()
    text = console.export_text()
    assert "lr0.0001  running   2/10  0.2500       2:40" in text
    assert "0 of 4 ended, 3 running, 1 waiting; about" in text
    assert "1 not shown" in text
    assert "[1/4] lr0.0001: completed" in text


def test_lines_off_a_terminal(tmp_path, capsys):
    made = sweep_of(tmp_path / "sweep")
    progress = PlainSweepProgress()
    progress.begin(made, made.trials)
    progress.ended(made.trials[0], TrialState("failed", attempts=2, seconds=3.0, error="It broke.\n  Remedy: none"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["[1/4] lr0.0001-seed0: failed in 3 s, begun 2 times", "  It broke.", "    Remedy: none"]


def test_durations():
    assert [duration(seconds) for seconds in (0, 42.4, 3723, float("nan"))] == ["0:00", "0:42", "1:02:03", "–"]


# ---- for real


def test_two_trials_in_processes_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    np.savez("mine.npz", x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    Path("mymodels.py").write_text(
        "import keras\n"
        "def build(shape, classes):\n"
        "    return keras.Sequential([keras.Input(shape), keras.layers.Dense(classes)])\n"
    )
    small = ["--epochs", "2", "--batch-size", "4", "--probe-size", "9:6", "--schedule", "epoch"]
    result = subprocess.run(
        [
            *(sys.executable, "-c", "from tfstiff_cli import main; main()", "sweep", "--dataset", "npz:mine.npz"),
            *("--arch", "mymodels:build,mymodels:absent", *small, "--jobs", "2", "--out", "mine"),
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 5, result.stderr
    made = load_sweep("mine")
    run = load_run(made.run_folder(made.trials[0]))
    assert run.status == "completed"
    assert [measurement.step for measurement in run.measurements] == [0, 10, 20]
    assert run.meta["environment"]["OMP_NUM_THREADS"] == str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert "absent" in made.state(made.trials[1]).error
    assert made.state(made.trials[0]).attempts == made.state(made.trials[1]).attempts == 1
