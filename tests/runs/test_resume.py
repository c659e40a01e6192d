"""A run that was killed comes to the same, bit for bit, as one that was left alone."""

import dataclasses
import json
import math
import shutil
import signal
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

from tfstiff import RunSpec, load_run, run
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.progress import Progress
from tfstiff.runs.reporter import Reporter

STEPS = 10  # an epoch: 40 examples in batches of 4
EVERY_STEP = CheckpointInterval(steps=1)
NEVER = CheckpointInterval(seconds=math.inf)
NETWORK = """
import keras

def build(input_shape, num_classes):
    layers = keras.layers
    return keras.Sequential([
        keras.Input(input_shape), layers.GaussianNoise(0.1), layers.Dense(8), layers.BatchNormalization(),
        Unseeded(), layers.ReLU(), layers.Dropout(0.3), layers.Dense(num_classes),
    ], name="noisy")

class Unseeded(keras.layers.Layer):
    def call(self, x, training=False):
        return x + 0.1 * keras.random.normal((8,)) if training else x
"""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A folder with a data set and a network that has every kind of state."""
    folder = tmp_path_factory.mktemp("resume")
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    np.savez(folder / "mine.npz", x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    (folder / "tfstiff_noisy_network.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
        yield folder
    sys.modules.pop("tfstiff_noisy_network", None)


@pytest.fixture(scope="module")
def spec(place):
    return RunSpec(
        f"npz:{place / 'mine.npz'}",
        arch="tfstiff_noisy_network:build",
        epochs=4,
        batch_size=4,
        probe_size=(9, 6),
        learning_rate=0.01,
        schedule=(0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0),  # step 2 is inside an execution
        stop_at_loss=(1.2, 1.0, 0.01),
        stop_interval=5,
        stop_when_stiffness_drops=1000,
        keep_models=True,
        directions=("since_initialisation", "update", "next_update"),
    )


@pytest.fixture(scope="module")
def alone(place, spec):
    return run(spec, place / "alone")


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class Killed(Exception):
    """Ends a run with nothing put in order, as SIGKILL does."""


def killed_run(spec, folder, step, interval=EVERY_STEP):
    """A run that is killed after so many steps, before or after a checkpoint of that step."""
    told = Reporter.on_train_batch_end

    def killed(self, batch, logs=None):
        told(self, batch, logs)
        if self.steps >= step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "on_train_batch_end", killed)
        patch.setattr("tfstiff.runs.status.RunStatus.ended", lambda *_, **__: None)
        with pytest.raises(Killed):
            run(spec, folder, checkpoints=interval)
    assert load_run(folder).status == "running"


@pytest.fixture(scope="module")
def killed(place, spec):
    """`killed(step, folder)`: a run killed after so many steps, in that folder; one is trained, the others copied."""
    trained = {}

    def copy(step, folder):
        if step not in trained:
            trained[step] = place / f"killed-{step}"
            killed_run(spec, trained[step], step)
        shutil.copytree(trained[step], folder)

    return copy


def arrays_of(path):
    """{name: (shape, bytes)} of the arrays of an HDF5 file, which holds clocks too."""
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = (item.shape, item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(keep)
    return found


def contents(folder):
    """All that must be equal: bytes of files, and the arrays of models."""
    names = ("config.json", "history.csv", "scalars.jsonl", "events.jsonl", "probe.npz")
    found = {name: (folder / name).read_bytes() for name in names}
    found |= {f"records/{path.name}": path.read_bytes() for path in (folder / "records").glob("*.npz")}
    found["timings"] = [line.split(",")[0] for line in (folder / "timings.csv").read_text().split()]
    found |= {f"models/{path.name}": arrays_of(path) for path in folder.glob("models/step-*.h5")}
    return found


def assert_same(folder, alone):
    found, expected = contents(folder), contents(alone.folder)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert load_run(folder).status == "completed"
    assert not list(folder.rglob(".tmp-*"))


def test_the_run_left_alone_has_what_is_to_be_compared(alone):
    events = [event for event in alone.events if event["event"] == "training_loss_reached"]
    assert len(events) >= 2
    assert alone.measurements[-1].step == 4 * STEPS
    assert {of.status for of in alone.measurements[-1].directions.values()} == {"ok"}
    assert alone.model_steps == [m.step for m in alone.measurements]
    weights = [alone.model_at(step, alone.spec["arch"]).get_weights() for step in (0, 40)]
    for step, one in zip((0, 40), weights, strict=True):
        kept = arrays_of(alone.folder / "models" / f"step-{step:08d}.weights.h5").values()
        assert sorted(content for _, content in kept) == sorted(weight.tobytes() for weight in one)
    first, last = (np.concatenate([weight.ravel() for weight in one]) for one in weights)
    assert np.abs(first - last).max() > 0.01
    assert not (alone.folder / "checkpoints").exists()


@pytest.mark.parametrize("step", [10, 35])  # gone on from the middle of an epoch, and from its end
def test_it_ends_as_if_it_had_not_been_killed(tmp_path, place, spec, alone, step):
    folder = tmp_path / "run"
    killed_run(spec, folder, step)
    written = [int(path.name.split("-")[1]) for path in sorted((folder / "checkpoints").iterdir())]
    last = step - 5  # the reporter, where it was killed, comes before the checkpoint
    expected = [2, 5] if last == 5 else [last - 5, last]  # step 2 is measured
    assert written == expected
    keras.utils.set_random_seed(99)
    told = Told()
    run(spec, folder, progress=told, checkpoints=NEVER)
    assert f"Going on from step {last}." in told.lines
    assert_same(folder, alone)


def test_killed_again_and_again(tmp_path, spec, alone, killed):
    killed(15, tmp_path / "run")
    for step in (20, 30):
        killed_run(spec, tmp_path / "run", step)
    run(spec, tmp_path / "run")
    assert_same(tmp_path / "run", alone)
    assert [part["step"] for part in load_run(tmp_path / "run").meta["resumed"]] == [10, 15, 25]


def test_a_run_that_has_ended_is_extended_to_what_it_would_have_come_to(tmp_path, spec, alone):
    folder, short = tmp_path / "run", dataclasses.replace(spec, epochs=2)
    first = run(short, folder, keep_last=True)
    assert [path.name[:13] for path in (folder / "checkpoints").iterdir()] == ["step-00000020"]
    before = {name: value for name, value in contents(folder).items() if name.startswith("records/")}
    assert len(run(short, folder).measurements) == len(first.measurements)  # it is left as it is
    keras.utils.set_random_seed(99)
    killed_run(spec, folder, 35)
    assert load_run(folder).spec["epochs"] == 4
    run(spec, folder)
    assert_same(folder, alone)
    assert before.items() <= contents(folder).items()
    assert not (folder / "checkpoints").exists()
    with pytest.raises(InvalidInput, match=r"did not keep(.|\n)*keep_last"):
        run(dataclasses.replace(spec, epochs=5), folder)
    assert_same(folder, alone)
    with pytest.raises(InvalidInput, match="learning_rate"):
        run(dataclasses.replace(spec, epochs=5, learning_rate=1e-4), folder)


def test_interrupted_while_it_loads_it_can_be_gone_on_with(tmp_path, spec, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tfstiff.runs.run.prepare_run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(spec, tmp_path / "run")
    found = load_run(tmp_path / "run")
    assert found.status == "interrupted"
    assert RunSpec.from_config(found.spec) == spec


def test_killed_before_the_first_checkpoint_it_begins_anew(tmp_path, spec, alone):
    killed_run(spec, tmp_path / "run", 25, NEVER)
    told = Told()
    run(spec, tmp_path / "run", progress=told)
    assert any("begins anew" in line for line in told.lines)
    assert_same(tmp_path / "run", alone)


def damage(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(byte ^ 1 for byte in content[middle : middle + 200])
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(tmp_path, spec, alone, killed):
    folder = tmp_path / "run"
    killed(25, folder)
    damage(next((folder / "checkpoints").glob("step-00000020-*.npz")))
    told = Told()
    run(spec, folder, progress=told)
    assert any("step-00000020" in line and "is damaged" in line for line in told.lines)
    assert "Going on from step 15." in told.lines
    assert_same(folder, alone)


@pytest.mark.parametrize("fault", ["flipped", "lost"])
def test_one_record_that_is_damaged_or_lost_is_left_out_and_all_else_stays(tmp_path, spec, alone, killed, fault):
    folder = tmp_path / "run"
    killed(25, folder)
    record = folder / "records" / "step-00000010.npz"
    damage(record) if fault == "flipped" else record.unlink()
    told = Told()
    run(spec, folder, progress=told)
    assert any("record of step 10 is left out" in line for line in told.lines)
    assert "Going on from step 20." in told.lines
    found, expected = contents(folder), contents(alone.folder)
    assert found.keys() == expected.keys() - {"records/step-00000010.npz"}
    assert [name for name in found if found[name] != expected[name]] == []
    assert len(list(folder.glob("records/step-00000010.npz.aside-*"))) == (fault == "flipped")


def test_nothing_recorded_is_deleted_where_a_run_goes_on(tmp_path, spec, alone, killed):
    """Records and models after the checkpoint are made again; those that were there are kept beside them."""
    folder = tmp_path / "run"
    killed(25, folder)
    before = {path: path.read_bytes() for path in (folder / "records").glob("*.npz")}
    for path in (folder / "checkpoints").glob("step-00000020-*"):
        damage(path)
    told = Told()
    run(spec, folder, progress=told)
    assert "Going on from step 15." in told.lines
    kept = {path.read_bytes() for path in (folder / "records").iterdir()}
    assert kept >= set(before.values())
    assert any("Moved aside" in line and "step-00000020.npz.aside-" in line for line in told.lines)
    assert_same(folder, alone)


def test_lines_that_were_half_written_are_taken_back(tmp_path, spec, alone, killed):
    folder = tmp_path / "run"
    killed(25, folder)
    for name in ("scalars.jsonl", "history.csv", "timings.csv", "events.jsonl"):
        with (folder / name).open("a") as file:
            file.write('{"half": ')
    (folder / "records" / ".tmp-abc.npz").write_bytes(b"half")
    (folder / "models" / ".tmp-abc.weights.h5").write_bytes(b"half")
    (folder / "records" / "step-00000023.npz").write_bytes(b"of a later step")
    run(spec, folder)
    assert_same(folder, alone)


def test_a_run_that_stopped_early_stops_again(tmp_path, spec):
    stopping = dataclasses.replace(spec, stop_at_loss=(1.0,), keep_models=False)
    expected = run(stopping, tmp_path / "alone")
    last = expected.measurements[-1].step
    assert last < 4 * STEPS

    told = Reporter.on_train_batch_end

    def interrupted(self, batch, logs=None):
        told(self, batch, logs)
        if self.model.stop_training:
            signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "on_train_batch_end", interrupted)
        with pytest.raises(SystemExit):
            run(stopping, tmp_path / "run", checkpoints=NEVER)
    assert load_run(tmp_path / "run").status == "interrupted"
    told = Told()
    run(stopping, tmp_path / "run", progress=told)
    assert f"Going on from step {last}." in told.lines
    assert_same(tmp_path / "run", expected)


def test_changes_that_matter_are_refused_and_others_told(tmp_path, place, spec, killed):
    folder = tmp_path / "run"
    killed(15, folder)
    before = contents(folder)
    meta = json.loads((folder / "meta.json").read_text())
    splits = {**meta["dataset"]["splits"], "train": {**meta["dataset"]["splits"]["train"], "sha256": "0"}}
    for change in ({"dataset": {"splits": splits}}, {"probe": {"sha256": "0"}}):
        (folder / "meta.json").write_text(json.dumps({**meta, **change}))
        with pytest.raises(InvalidInput, match="has changed"):
            run(spec, folder)
        assert load_run(folder).status == "failed"
        assert (folder / "checkpoints").is_dir()
    (folder / "meta.json").write_text("{}")
    with pytest.raises(RecordCorrupt, match=r"meta\.json does not say"):
        run(spec, folder)
    assert contents(folder) == before
    (folder / "meta.json").write_text(json.dumps({**meta, "packages": {**meta["packages"], "keras": "2.0"}}))
    told = Told()
    assert run(spec, folder, progress=told).status == "completed"
    assert any("keras: '2.0', now" in line for line in told.lines)


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path, spec, killed):
    """Somebody changed config.json, and the run is gone on with as it says."""
    folder = tmp_path / "run"
    killed(15, folder)
    before = contents(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"learning_rate": 0.5}))
    with pytest.raises(InvalidInput, match=r"other settings(.|\n)*learning_rate: 0\.01, now 0\.5"):
        run(dataclasses.replace(spec, learning_rate=0.5), folder)
    assert {**contents(folder), "config.json": ""} == {**before, "config.json": ""}


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(tmp_path, spec, alone, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfstiff.runs.checkpoints.store.write_atomically", full)
    told = Told()
    run(spec, tmp_path / "run", progress=told, checkpoints=CheckpointInterval(steps=20))
    assert sum("could not be saved" in line for line in told.lines) == 2
    assert_same(tmp_path / "run", alone)


def test_a_process_that_is_killed(tmp_path, place, spec, alone):
    """SIGKILL, in a process of its own; resumed in another."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(place)!r})
from tfstiff import run
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.store import CheckpointStore
from tfstiff.runs.spec import RunSpec
import json, tfstiff.runs.run
tfstiff.runs.run.draw_figures = lambda *_: None
save = CheckpointStore.save
def killing(self, checkpoint):
    save(self, checkpoint)
    if checkpoint.step == 25 and sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
CheckpointStore.save = killing
run(RunSpec.from_config(json.loads(sys.argv[1])), {str(tmp_path / "run")!r}, checkpoints=CheckpointInterval(steps=1))
"""
    call = [sys.executable, "-c", program, json.dumps(spec.as_config())]
    assert subprocess.run([*call, "kill"], capture_output=True).returncode == -signal.SIGKILL
    subprocess.run([*call, "go on"], capture_output=True, check=True)
    assert load_run(tmp_path / "run").meta["resumed"][0]["step"] == 25
    assert_same(tmp_path / "run", alone)
