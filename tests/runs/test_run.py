import csv
import dataclasses
import json
import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfstiff import RunSpec, load_run, measure, run
from tfstiff.callbacks import schedules
from tfstiff.errors import DatasetUnavailable, InvalidInput
from tfstiff.records import RunWriter
from tfstiff.records.claim import Claim
from tfstiff.runs.prepare import prepare_run
from tfstiff.runs.progress import Progress, describe
from tfstiff.runs.reporter import Reporter

STEPS = 10  # an epoch: 40 examples in batches of 4
NAMES = ("cat", "dog", "owl")


def write_npz(path, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    np.savez(path, x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:], class_names=NAMES)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("data") / "mine.npz")


@pytest.fixture
def spec(data):
    return RunSpec(f"npz:{data}", epochs=2, batch_size=4, probe_size=(9, 6), hidden=(8,), learning_rate=0.01)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)


class Told(Progress):
    def __init__(self):
        self.lines, self.calls = [], []

    def say(self, text):
        self.lines.append(text)

    def begin(self, epochs, steps_per_epoch):
        self.calls.append(("begin", epochs, steps_per_epoch))

    def epoch_ended(self, epoch, logs, seconds):
        self.calls.append(("epoch", epoch))

    def measured(self, measurement, seconds):
        self.calls.append(("measured", measurement.step))

    def end(self):
        self.calls.append(("end",))


def read_csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


# ---- a whole run


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """(the run, what was told): with the schedule `log`, with figures."""
    told = Told()
    spec = RunSpec(f"npz:{data}", epochs=3, batch_size=4, probe_size=(9, 6), hidden=(8,), learning_rate=0.01)
    return run(spec, tmp_path_factory.mktemp("runs") / "deep" / "run", progress=told), told, spec


def test_the_folder_has_everything(finished):
    folder = finished[0].folder
    files = {path.name for path in folder.iterdir()}
    assert files == {
        *("config.json", "meta.json", "status.json", "log.txt", "history.csv", "scalars.jsonl", "timings.csv"),
        *("probe.npz", "records", "figures", "events.jsonl", ".lock"),
    }
    assert list((folder / "figures").glob("*.png"))
    assert not list(folder.rglob(".tmp-*"))


def expected_log_steps(epochs):
    fractions = [10 ** (-2 + k / 4) for k in range(8)]
    return sorted({0, *(max(1, round(f * STEPS)) for f in fractions), *(STEPS * (n + 1) for n in range(epochs))})


def test_measured_steps_are_exactly_those_of_the_schedule(finished):
    found, told, _ = finished
    expected = expected_log_steps(3)
    assert [m.step for m in found.measurements] == expected
    assert [m.updates for m in found.measurements] == expected
    assert [m.epoch for m in found.measurements] == pytest.approx([step / STEPS for step in expected])
    assert found.spec["measured_steps"] == expected
    assert [call[1] for call in told.calls if call[0] == "measured"] == expected
    assert [int(row["step"]) for row in read_csv(found.folder / "timings.csv")] == expected


def test_the_settings_are_resolved(finished):
    found, _, spec = finished
    given_options = json.loads(json.dumps(dataclasses.asdict(spec)))
    resolved = {name: value for name, value in found.spec.items() if name not in given_options}
    assert {name: found.spec[name] for name in given_options} == given_options
    assert resolved.pop("measured_steps")
    assert resolved.pop("steps_per_execution") > 1
    assert resolved == {
        "loss": "sparse_categorical_crossentropy",
        "steps_per_epoch": STEPS,
        "num_train_examples": 40,
        "input_shape": [6],
        "num_classes": 3,
        "num_outputs": 3,
        "class_groups": None,
        "num_parameters": 6 * 8 + 8 + 8 * 3 + 3,
    }


def test_status_provenance_and_probe(finished):
    found = finished[0]
    assert found.status == "completed"
    assert found.timings["seconds"] >= found.timings["seconds_in_fit"] > found.timings["seconds_measuring"] > 0
    assert found.timings["images_per_second"] > 0
    assert found.meta["probe"]["train_examples"] == 9
    assert len(found.meta["probe"]["sha256"]) == 64
    assert found.meta["dataset"]["source"] == "npz"
    with np.load(found.folder / "probe.npz") as probe:
        assert np.bincount(probe["train_classes"]).tolist() == [3, 3, 3]
        assert np.bincount(probe["validation_classes"]).tolist() == [2, 2, 2]
    assert found.measurements[0].class_names == NAMES


def test_history_is_that_of_keras_with_every_scalar(finished):
    found = finished[0]
    rows = read_csv(found.folder / "history.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {"loss", "accuracy", *found.measurements[0].scalars()} == set(rows[0]) - {"epoch"}
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    at_ends = [m for m in found.measurements if m.step in (10, 20, 30)]
    for row, m in zip(rows, at_ends, strict=True):
        for name, value in m.scalars().items():
            assert float(row[name]) == pytest.approx(value, nan_ok=True)


def test_what_was_told_is_kept(finished):
    found, told, _ = finished
    assert told.calls[0] == ("begin", 3, STEPS)
    assert told.calls[-1] == ("end",)
    assert [call for call in told.calls if call[0] == "epoch"] == [("epoch", n) for n in range(3)]
    text = (found.folder / "log.txt").read_text()
    assert all(line in text for line in told.lines)
    assert all(describe(m, 7777.0).split("7777")[0] in text for m in found.measurements)
    assert text.count("epoch 2 in ") == 1


def test_a_completed_run_returns_at_once(finished, monkeypatch):
    found, _, spec = finished
    before = {path: path.stat().st_mtime_ns for path in found.folder.rglob("*")}
    monkeypatch.setattr("tfstiff.runs.run.prepare_run", lambda *_: pytest.fail("began again"))
    again = run(spec, found.folder)
    assert [m.step for m in again.measurements] == [m.step for m in found.measurements]
    assert {path: path.stat().st_mtime_ns for path in found.folder.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 0.02}, {"schedule": (0.0, 1.0)}, {"hidden": None}])
def test_a_folder_of_another_specification_is_refused(finished, change):
    found, _, spec = finished
    with pytest.raises(InvalidInput, match="holds something else"):
        run(dataclasses.replace(spec, **change), found.folder)
    assert load_run(found.folder).status == "completed"


def test_folders_that_hold_something_else(tmp_path, spec):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(InvalidInput, match="holds something else"):
            run(spec, folder)
    assert (tmp_path / "notes.txt").read_text() == "mine"


# ---- the same specification, the same run


def test_equal_specifications_give_equal_records(tmp_path, data):
    program = """
import sys
from pathlib import Path
from tfstiff import RunSpec, run
import tfstiff.runs.run
tfstiff.runs.run.draw_figures = lambda *_: None
out = Path(sys.argv[2])
for name, seed in (("one", 3), ("two", 3), ("other", 4)):
    spec = RunSpec(sys.argv[1], epochs=2, batch_size=4, probe_size=(9, 6), hidden=(8,), seed=seed, deterministic=True)
    run(spec, out / name)
"""
    subprocess.run([sys.executable, "-c", program, f"npz:{data}", str(tmp_path)], check=True, capture_output=True)

    def contents(name, pattern):
        return {path.name: path.read_bytes() for path in sorted((tmp_path / name).glob(pattern))}

    for pattern in ("records/*.npz", "scalars.jsonl", "history.csv", "probe.npz"):
        one, two, other = (contents(name, pattern) for name in ("one", "two", "other"))
        assert one == two != other
        assert len(one) == (len(expected_log_steps(2)) if "records" in pattern else 1)


def test_config_is_there_before_anything_slow(tmp_path, spec, monkeypatch):
    def look(_, folder, tensorboard, encoding):
        assert (tensorboard, encoding) == (False, None)
        assert json.loads((folder / "config.json").read_text())["dataset"] == spec.dataset
        assert load_run(folder).status == "running"
        raise InvalidInput("seen")

    monkeypatch.setattr("tfstiff.runs.run.prepare_run", look)
    with pytest.raises(InvalidInput, match="seen"):
        run(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_in_which_another_process_is_running(tmp_path, spec, no_figures):
    folder = tmp_path / "run"
    RunWriter(folder).write_config(spec.as_config())
    with Claim(folder), pytest.raises(InvalidInput, match="Another process"):
        run(spec, folder)
    assert run(spec, folder).status == "completed"


@pytest.mark.parametrize("host", [socket.gethostname(), "the-name-before-the-container-was-started-again"])
def test_a_process_that_is_dead_is_in_nobodys_way(tmp_path, spec, no_figures, host, monkeypatch):
    monkeypatch.setattr("tfstiff.records.claim.SILENT_SECONDS", 0.3)
    folder = tmp_path / "run"
    writer = RunWriter(folder)
    writer.write_config(spec.as_config())
    writer.write_status("running", pid=os.getppid(), host=host)
    (folder / ".claim").write_text(json.dumps({"host": host, "pid": os.getppid()}))
    (folder / ".lock").touch()
    assert run(spec, folder).status == "completed"


def test_what_a_process_that_was_killed_at_once_leaves_is_as_good_as_nothing(tmp_path, spec, no_figures):
    (tmp_path / "run" / "records").mkdir(parents=True)
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".tmp-config.json").write_text("{")
    assert run(spec, tmp_path / "run").status == "completed"


# ---- runs that do not end well


def break_at_step(monkeypatch, step, error):
    told = Reporter.on_train_batch_end

    def breaking(self, batch, logs=None):
        told(self, batch, logs)
        if self.steps >= step:
            raise error

    monkeypatch.setattr(Reporter, "on_train_batch_end", breaking)


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("out of luck"), "failed"), (KeyboardInterrupt(), "interrupted"), (SystemExit(143), "interrupted")],
)
def test_what_was_recorded_is_kept(tmp_path, spec, monkeypatch, no_figures, error, status):
    break_at_step(monkeypatch, STEPS, error)
    told = Told()
    with pytest.raises(type(error)):
        run(spec, tmp_path / "run", progress=told)
    found = load_run(tmp_path / "run")
    assert found.status == status
    state = json.loads((tmp_path / "run" / "status.json").read_text())
    assert state["error"].startswith(type(error).__name__)
    assert [m.step for m in found.measurements] == [step for step in expected_log_steps(2) if step <= STEPS]
    assert told.calls[-1] == ("end",)
    assert f"The run was {status}" in told.lines[-1]
    monkeypatch.undo()
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
    again = run(spec, tmp_path / "run")  # begun anew
    assert again.status == "completed"
    assert [m.step for m in again.measurements] == expected_log_steps(2)
    assert len(read_csv(tmp_path / "run" / "history.csv")) == 2


def test_a_run_that_diverges(tmp_path, spec):
    found = run(dataclasses.replace(spec, learning_rate=1e30, schedule=1), tmp_path / "run")
    assert found.status == "diverged"
    assert found.problems == []
    last = found.measurements[-1]
    assert 0 < last.step < 2 * STEPS
    assert math.isnan(last.train.loss) or math.isinf(last.train.loss) or last.train.num_nonfinite
    assert run(dataclasses.replace(spec, learning_rate=1e30, schedule=1), tmp_path / "run").status == "diverged"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("in the builder of the user"), SystemExit(143)])
def test_of_a_run_that_did_not_begin_nothing_is_left_unless_it_was_interrupted(tmp_path, spec, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("tfstiff.models.build", fail)
    with pytest.raises(type(error)):
        run(spec, tmp_path / "run")
    assert (tmp_path / "run").exists() == (not isinstance(error, ValueError))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dataset": "nonsense"}, InvalidInput),
        ({"dataset": "npz:/nowhere.npz"}, DatasetUnavailable),
        ({"arch": "transformer", "hidden": None}, InvalidInput),
        ({"arch": "cnn"}, InvalidInput),
        ({"probe_size": (41, 6)}, InvalidInput),
        ({"train_examples": 99}, InvalidInput),
        ({"train_examples": 0}, InvalidInput),
        ({"centering": "none"}, InvalidInput),
    ],
)
def test_mistakes_are_told_before_training(tmp_path, spec, change, error):
    with pytest.raises(error):
        run(dataclasses.replace(spec, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- specifications


@pytest.mark.parametrize(
    "change",
    [
        *({"learning_rate": value} for value in (0, -1.0, math.nan, math.inf, "abc", None)),
        *({"epochs": value} for value in (0, -1, 1.5)),
        *({"batch_size": value} for value in (0, 2.0)),
        *({"seed": value} for value in (-1, 2**32)),
        *({"probe_size": value} for value in ((0, 5), (5, 0), (5, 1.5))),
        *({"hidden": value} for value in ((0,), (5, -1))),
        *(
            {"schedule": value}
            for value in ("weekly", 0, -1, (-0.5,), (math.nan,), True, None, schedules.every_epoch())
        ),
    ],
)
def test_values_out_of_range(change):
    with pytest.raises(InvalidInput):
        RunSpec(**change)


@given(st.integers(1, 2000), st.integers(1, 4))
def test_the_steps_of_the_log_schedule(steps_per_epoch, epochs):
    found = RunSpec(epochs=epochs).measured_steps(steps_per_epoch)
    fractions = [0.01 * 10 ** (k / 4) for k in range(8)]
    expected = {max(1, round(f * steps_per_epoch)) for f in fractions} | {
        n * steps_per_epoch for n in range(epochs + 1)
    }
    assert found == sorted(expected)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("epoch", [0, 10, 20]),
        (7, [0, 7, 14]),
        (50, [0]),
        ((0.0, 0.26, 1.0, 2.0, 2.5), [0, 3, 10, 20]),
        ([0.0, 0.26, 1.0], [0, 3, 10]),
        ((0.0001,), [1]),
        ((1.0, 0.5), [5, 10]),
    ],
)
def test_the_steps_of_other_schedules(schedule, expected):
    assert RunSpec(epochs=2, schedule=schedule).measured_steps(10) == expected


# ---- permuted labels, and stopping at a training loss


def test_permuted_labels_are_what_is_trained_and_probed_on(tmp_path, spec, data):
    trial = prepare_run(dataclasses.replace(spec, permute_labels=True, seed=1), tmp_path / "run")
    with np.load(data) as raw:
        true = {f"train_{index:05d}": int(label) for index, label in enumerate(raw["y_train"])}
        validation = {f"validation_{index:05d}": int(label) for index, label in enumerate(raw["y_validation"])}
    given = dict(zip(trial.dataset.train.ids.tolist(), trial.dataset.train.y.tolist(), strict=True))
    assert sorted(given.values()) == sorted(true.values())
    assert given != true
    half = trial.probe.train
    assert [given[name] for name in half.ids.tolist()] == half.y.tolist() == half.classes.tolist()
    half = trial.probe.validation
    assert [validation[name] for name in half.ids.tolist()] == half.y.tolist()
    kept = np.mean([given[name] == true[name] for name in true])
    assert trial.dataset.provenance["preparation"]["labels_kept"] == pytest.approx(kept)
    assert trial.dataset.provenance["preparation"]["labels_kept"] < 1


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """(the run, what was told): measured at initialisation, at ends of epochs, and at three losses."""
    told = Told()
    options = {"schedule": "epoch", "stop_at_loss": (1.0, 0.7, 0.5), "stop_interval": 3}
    common = {"batch_size": 4, "probe_size": (9, 6), "hidden": (8,), "learning_rate": 0.01}
    spec = RunSpec(f"npz:{data}", epochs=60, **common, **options)
    return run(spec, tmp_path_factory.mktemp("runs") / "stopped", progress=told), told, spec


def of_losses(found):
    return [event for event in found.events if event["event"] == "training_loss_reached"]


def test_it_stops_at_the_last_loss_and_measures_at_each(stopped):
    found, told, _ = stopped
    assert found.status == "completed"
    events = of_losses(found)
    assert [event["threshold"] for event in events] == [1.0, 0.7, 0.5]
    assert all(event["training_loss"] <= event["threshold"] for event in events)
    steps = [event["step"] for event in events]
    last = steps[-1]
    assert 0 < last < 60 * STEPS
    assert all(step % STEPS % 3 == 0 for step in steps)  # after every third step of an epoch, and at its end
    ends = [step for step in found.spec["measured_steps"] if step <= last]
    assert [m.step for m in found.measurements] == sorted({*ends, *steps})
    assert [m.updates for m in found.measurements] == [m.step for m in found.measurements]
    assert (found.spec["steps_per_execution"], found.spec["num_stop_examples"]) == (3, 40)
    assert sum("reached, with" in line for line in told.lines) == 3
    assert len(read_csv(found.folder / "history.csv")) == math.ceil(last / STEPS)


def test_the_weights_are_those_of_a_run_that_does_not_stop(stopped, tmp_path, no_figures):
    found, _, spec = stopped
    steps = [m.step for m in found.measurements]
    epochs = math.ceil(steps[-1] / STEPS)
    schedule = [step / STEPS for step in steps]
    plain = run(dataclasses.replace(spec, stop_at_loss=(), epochs=epochs, schedule=schedule), tmp_path / "run")
    assert [m.step for m in plain.measurements] == steps
    for one, two in zip(found.measurements, plain.measurements, strict=True):
        assert (one.train.loss, one.validation.loss) == (two.train.loss, two.validation.loss)
        assert one.scalars() == pytest.approx(two.scalars(), nan_ok=True, abs=0)


def test_a_loss_that_is_not_reached_is_told(tmp_path, spec, no_figures):
    told = Told()
    found = run(dataclasses.replace(spec, stop_at_loss=(99.0, 1e-9), stop_examples=7), tmp_path / "run", progress=told)
    assert [(event["threshold"], event["step"]) for event in of_losses(found)] == [(99.0, 0)]
    assert found.measurements[-1].step == 2 * STEPS
    assert any("Not reached: training losses of 1e-09; the lowest was" in line for line in told.lines)
    assert found.spec["num_stop_examples"] == 7


def test_a_run_of_the_first_version(tmp_path, data, monkeypatch):
    """Its options reach `measure`, and all that follows a measurement copes with one pair set."""
    options = {
        "pair_sets": ("val_val",),
        "distance": "cosine_similarity",
        "space": "all",
        "distance_pairs": "all",
        "critical_length_method": "first_crossing",
        "critical_length_metric": "sign",
    }
    seen = []

    def noting(model, probe, *, loss, **given):
        seen.append({name: given[name] for name in options})
        found = measure(model, probe)
        return dataclasses.replace(found, pair_sets={name: found[name] for name in given["pair_sets"]})

    monkeypatch.setattr("tfstiff.callbacks.stiffness.measure", noting)
    own = {"batch_size": 4, "probe_size": (9, 6), "hidden": (8, 8), "learning_rate": 0.01, "epochs": 2}
    told = Told()
    found = run(RunSpec.from_preset("v1", dataset=f"npz:{data}", **own), tmp_path / "run", progress=told)
    assert seen == [options] * len(found.measurements)
    assert {tuple(m.pair_sets) for m in found.measurements} == {("val_val",)}
    scalars = {"stiffness_sign_within_val_val", "stiffness_sign_between_val_val", "stiffness_critical_length_val_val"}
    assert scalars == {name for name in read_csv(found.folder / "history.csv")[0] if name.startswith("stiffness")}
    assert {"class_matrices.png", "curves.png", "distance.png"} <= {path.name for path in found.folder.rglob("*.png")}
    assert {name: found.spec[name] for name in options} == {**options, "pair_sets": ["val_val"]}


def test_metrics_that_are_not_wanted_are_not_in_the_history(tmp_path, spec, no_figures):
    found = run(dataclasses.replace(spec, metrics=("sign",), schedule="epoch"), tmp_path / "run")
    columns = set(read_csv(found.folder / "history.csv")[0])
    assert {"stiffness_sign_within_val_val", "stiffness_critical_length_train_val"} < columns
    assert not any("cosine" in name for name in columns)
    assert found.measurements[0]["train_val"].cosine.within  # but the records have them


def test_options_reach_the_run(tmp_path, spec, no_figures):
    changed = dataclasses.replace(
        spec,
        train_examples=20,
        permute_labels=True,
        keep_gram=True,
        schedule=[0, 2],
        method="vectorized",
        centering="pixel",
    )
    found = run(changed, tmp_path / "run")
    assert (found.spec["num_train_examples"], found.spec["steps_per_epoch"]) == (20, 5)
    assert [m.step for m in found.measurements] == [0, 10]
    assert {m.gram.shape for m in found.measurements} == {(15, 15)}
    assert {m.method for m in found.measurements} == {"vectorized"}
    assert found.meta["dataset"]["preparation"]["permute_labels"] is True
    assert run(changed, tmp_path / "run").status == "completed"
