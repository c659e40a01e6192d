"""Nothing that tfstiff did not write is ever deleted, and no record is: what is in the way is moved aside."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from made_up import measurements

from tfstiff import RunSpec, load_run, run
from tfstiff.errors import DatasetUnavailable, InvalidInput
from tfstiff.records import atomic
from tfstiff.records.aside import move_aside
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.store import CheckpointStore
from tfstiff.runs.progress import Progress
from tfstiff.runs.reporter import Reporter

EVERY_STEP, NEVER = CheckpointInterval(steps=1), CheckpointInterval(seconds=math.inf)


class Told(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "d.npz"
    np.savez(path, x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    return path


@pytest.fixture
def spec(data, tmp_path):
    shutil.copy(data, tmp_path / "d.npz")
    return RunSpec(
        f"npz:{tmp_path / 'd.npz'}", epochs=2, batch_size=4, probe_size=(9, 6), hidden=(4,), schedule=(0.0, 0.5, 1, 2)
    )


@pytest.fixture(autouse=True)
def at_no_price():
    """What is measured is nothing to these tests."""
    with measurements():
        yield


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)


def killed(spec, folder, step=15, interval=NEVER):
    told = Reporter.on_train_batch_end

    def stops(self, batch, logs=None):
        told(self, batch, logs)
        if self.steps >= step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "on_train_batch_end", stops)
        patch.setattr("tfstiff.runs.status.RunStatus.ended", lambda *_, **__: None)
        with pytest.raises(Killed):
            run(spec, folder, checkpoints=interval)


def contents(folder):
    """What is recorded."""
    names = ("history.csv", "scalars.jsonl", "events.jsonl", "probe.npz", "config.json")
    files = [*folder.glob("records/*"), *folder.glob("checkpoints/*"), *(folder / name for name in names)]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize("interval", [NEVER, EVERY_STEP])
def test_a_resumption_that_fails_deletes_nothing(tmp_path, spec, no_figures, interval):
    folder = tmp_path / "run"
    killed(spec, folder, interval=interval)
    for path in folder.glob("checkpoints/*"):
        path.write_bytes(b"damaged")
    before = contents(folder)
    assert len(list(folder.glob("records/*"))) == 4
    (tmp_path / "d.npz").rename(tmp_path / "away.npz")
    with pytest.raises(DatasetUnavailable):
        run(spec, folder)
    assert contents(folder) == before
    assert load_run(folder).status == "failed"
    (tmp_path / "away.npz").rename(tmp_path / "d.npz")
    told = Told()
    assert run(spec, folder, progress=told).status == "completed"
    assert any("begins anew" in line for line in told.lines)
    line = next(line for line in told.lines if "Moved aside" in line)
    assert "records.aside-" in line
    kept = next(folder.glob("records.aside-*"))
    assert {path.name for path in kept.iterdir()} == {f"step-{step:08d}.npz" for step in (0, 5, 10, 20)}
    assert [m.step for m in load_run(folder).measurements] == [0, 5, 10, 20]


def test_a_checkpoint_that_cannot_be_read_now_is_not_given_up(tmp_path, spec, no_figures, monkeypatch):
    folder = tmp_path / "run"
    killed(spec, folder, interval=EVERY_STEP)
    before = contents(folder)

    def fails(self, say):
        raise OSError(5, "Input/output error")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "whole", fails)
        with pytest.raises(OSError, match="Input/output"):
            run(spec, folder)
    assert contents(folder) == before
    told = Told()
    run(spec, folder, progress=told)
    assert "Going on from step 10." in told.lines


@pytest.mark.parametrize("name", ["log.txt", "notes.md", "records"])
def test_a_folder_of_the_users_own_is_left_alone(tmp_path, spec, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    if name == "records":
        (folder / name).mkdir()
        (folder / name / "bach.flac").write_text("mine")
    else:
        (folder / name).write_text("mine")
    before = {path: path.is_file() and path.read_text() for path in folder.rglob("*")}
    for one in (spec, dataclasses.replace(spec, arch="nosuch:network", hidden=None)):
        with pytest.raises(InvalidInput, match="holds something else"):
            run(one, folder)
    assert {path: path.is_file() and path.read_text() for path in folder.rglob("*")} == before


@pytest.mark.parametrize("is_link", [True, False])
def test_the_folder_may_be_a_link_or_the_current_one(tmp_path, spec, no_figures, monkeypatch, is_link):
    place = tmp_path / "place"
    place.mkdir()
    if is_link:
        folder = tmp_path / "link"
        folder.symlink_to(place)
    else:
        folder = "."
        monkeypatch.chdir(place)
    with pytest.raises(InvalidInput, match="nosuch"):
        run(dataclasses.replace(spec, arch="nosuch", hidden=None), folder)
    assert place.is_dir()
    if is_link:
        assert folder.is_symlink()
    assert run(spec, folder).status == "completed"  # what the first left is in nobody's way


def test_records_that_lie_elsewhere_stay_there(tmp_path, spec, no_figures):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    killed(spec, folder)
    (folder / "records").rename(elsewhere)
    (folder / "records").symlink_to(elsewhere)
    (elsewhere / "mine.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    assert run(spec, folder).status == "completed"
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


KEEPS = """
import os, signal, sys
import tfstiff.callbacks.kept_models as kept
from tfstiff import RunSpec, run
import keras, json
save = keras.Model.save_weights
def killing(self, path, *args, **kwargs):
    save(self, path, *args, **kwargs)
    if "stop" in sys.argv and len(os.listdir(os.path.dirname(path))) > 2:
        os.kill(os.getpid(), signal.SIGKILL)
keras.Model.save_weights = killing
run(RunSpec.from_config(json.loads(sys.argv[1])), sys.argv[2])
"""


def test_a_kill_while_a_model_is_kept(tmp_path, spec, no_figures):
    keeping = dataclasses.replace(spec, keep_models=True)
    call = [sys.executable, "-c", KEEPS, json.dumps(keeping.as_config()), str(tmp_path / "run")]
    assert subprocess.run([*call, "stop"], capture_output=True).returncode == -9
    assert list((tmp_path / "run" / "models").glob(".tmp-*"))
    assert run(keeping, tmp_path / "run").status == "completed"
    assert load_run(tmp_path / "run").model_steps == [0, 5, 10, 20]
    assert not list((tmp_path / "run" / "models").glob(".tmp-*"))


def test_a_training_has_not_failed_where_its_figures_have(tmp_path, spec, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no such font")

    monkeypatch.setattr("tfstiff.figures.draw", fails)
    told = Told()
    assert run(spec, tmp_path / "run", progress=told).status == "completed"
    assert any("could not be drawn: RuntimeError: no such font" in line for line in told.lines)


def test_a_full_disk_for_a_line_ends_no_training(tmp_path, spec, no_figures, monkeypatch):
    whole = atomic.append

    def full(path, text):
        if path.exists():  # each file takes its first line
            raise OSError(28, "No space left on device")
        whole(path, text)

    for name in ("records.atomic", "records.run_writer", "runs.progress"):
        monkeypatch.setattr(f"tfstiff.{name}.append", full)
    told = Told()
    with pytest.warns(UserWarning, match="has lost a line: .*No space left"):
        found = run(spec, tmp_path / "run", progress=told)
    assert found.status == "completed"
    assert [m.step for m in found.measurements] == [0, 5, 10, 20]
    assert sum("lines are lacking in" in line for line in told.lines) == 1


def test_a_line_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    atomic.append(path, "one\n")
    real = open

    class Short:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            return self.file.write(content[:2])

    monkeypatch.setattr("pathlib.Path.open", lambda self, *args, **kwargs: Short(real(self, *args, **kwargs)))
    with pytest.raises(OSError, match="No space"):
        atomic.append(path, "two\n")
    monkeypatch.undo()
    assert path.read_text() == "one\n"


def test_lines_that_were_lost_keep_no_run_from_going_on(tmp_path, spec, no_figures):
    folder = tmp_path / "run"
    killed(spec, folder, interval=EVERY_STEP)
    (folder / "scalars.jsonl").write_text("")
    (folder / "history.csv").unlink(missing_ok=True)
    told = Told()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = run(spec, folder, progress=told)
    assert any("scalars.jsonl has lost lines" in line for line in told.lines)
    assert "Going on from step 10." in told.lines
    assert [m.step for m in found.measurements] == [0, 5, 10, 20]


def test_moving_aside(tmp_path):
    for content in ("one", "two", "three"):
        (tmp_path / "a").write_text(content)
        moved = move_aside(tmp_path / "a")
        assert moved.name.startswith("a.aside-2")
        assert moved.read_text() == content
    assert len(list(tmp_path.iterdir())) == 3
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert move_aside(tmp_path / "link").is_symlink()
