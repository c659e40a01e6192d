import hashlib
import json
import math
import os
import random
import signal

import keras
import numpy as np
import pytest

from tfstiff.errors import CheckpointCorrupt, InvalidInput
from tfstiff.runs.checkpoints import training_state
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.store import SCHEMA, Checkpoint, CheckpointStore
from tfstiff.runs.interruption import Interruption


def checkpoint(step):
    arrays = {"a/1": np.arange(step), "b": np.array([[1.5, np.nan]], np.float32)}
    known = dict.fromkeys(("settings", "training", "callbacks", "logs", "sizes", "seconds", "seconds_in_fit"), "")
    return Checkpoint(step, {**known, "loss": math.inf, "list": [1, [2]]}, arrays)


def file_of(folder, step):
    return next(folder.glob(f"step-{step:08d}-*.npz"))


def found(store):
    told = []
    return [one.step for one in store.whole(told.append)], told


def test_the_newest_two_are_kept_and_read_back(tmp_path):
    store = CheckpointStore(tmp_path / "deep" / "checkpoints")
    for step in (3, 12, 700):
        store.save(checkpoint(step))
    assert len(list(store.folder.iterdir())) == 2
    assert found(store) == ([700, 12], [])
    newest, expected = next(store.whole(pytest.fail)), checkpoint(700)
    assert newest.step == expected.step
    assert {**newest.state} == {**expected.state, "step": 700, "schema": SCHEMA}
    assert newest.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(newest.arrays[name], array)
        assert newest.arrays[name].dtype == array.dtype
    (store.folder / "mine.txt").write_text("of the user")
    store.clear()
    assert [path.name for path in store.folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_any_damage_is_seen(tmp_path, place):
    store = CheckpointStore(tmp_path)
    for step in (5, 6):
        store.save(checkpoint(step))
    path = file_of(tmp_path, 6)
    content = bytearray(path.read_bytes())
    content[len(content) * place // 100] ^= 1
    path.write_bytes(content)
    steps, told = found(store)
    assert steps == [5]
    assert f"{path} is damaged" in told[0]
    store.save(checkpoint(6))
    assert found(store) == ([6, 5], [])


def forged(store, change, compress=False):
    """Changes the newest checkpoint, and names it by what it is now."""
    path = store.paths()[0]
    with np.load(path) as file:
        members = {name: file[name] for name in file.files}
    state = json.loads(members["state"].item())
    change(state)
    (np.savez_compressed if compress else np.savez)(path, **{**members, "state": np.asarray(json.dumps(state))})
    path.rename(path.with_name(f"{path.name[:14]}{hashlib.sha256(path.read_bytes()).hexdigest()}.npz"))


@pytest.mark.parametrize(
    ("change", "compress", "text"),
    [
        (lambda state: state.pop("callbacks"), False, "without callbacks"),
        (lambda state: state.pop("step"), False, "cannot be read"),
        (lambda state: state.update(step="6"), False, "not one of this version"),
        (lambda state: state.update(schema=99), False, "schema 99"),
        (lambda state: None, True, "compressed"),
    ],
)
def test_what_a_checkpoint_says_is_checked(tmp_path, change, compress, text):
    store = CheckpointStore(tmp_path)
    for step in (5, 6):
        store.save(checkpoint(step))
    forged(store, change, compress)
    steps, told = found(store)
    assert steps == [5]
    assert text in told[0]


def test_a_step_changed_in_the_name_changes_nothing(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(6))
    path = file_of(tmp_path, 6)
    path.rename(path.with_name(path.name.replace("00000006", "00000009")))
    assert found(store) == ([6], [])


def test_files_of_others_are_not_looked_at(tmp_path):
    store = CheckpointStore(tmp_path)
    (tmp_path / "step-7.npz").write_text("of the user")
    for step in (3, 4, 5):
        store.save(checkpoint(step))
    assert found(store) == ([5, 4], [])
    assert (tmp_path / "step-7.npz").exists()
    assert found(CheckpointStore(tmp_path / "absent")) == ([], [])


def test_a_checkpoint_that_cannot_be_read_now_is_not_damaged(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(5))

    def fails(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", fails)
    with pytest.raises(OSError, match="Input/output"):
        found(store)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_harms_nothing_that_was_saved(tmp_path, monkeypatch, call):
    store = CheckpointStore(tmp_path)
    for step in (5, 6):
        store.save(checkpoint(step))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        store.save(checkpoint(7))
    assert found(store) == ([6, 5], [])
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500", CheckpointInterval(steps=500)),
        ("30s", CheckpointInterval(seconds=30)),
        ("1.5 min", CheckpointInterval(seconds=90)),
        ("2h", CheckpointInterval(seconds=7200)),
        ("never", CheckpointInterval(seconds=math.inf)),
    ],
)
def test_intervals_in_words(text, expected):
    assert CheckpointInterval.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "often", "0s", "5 days", "nan", "inf"])
def test_intervals_that_cannot_be_used(text):
    with pytest.raises(InvalidInput):
        CheckpointInterval.parse(text)


def test_when_a_checkpoint_is_due():
    assert [CheckpointInterval(steps=5).is_due(steps, 1e9, 0) for steps in (4, 5, 6)] == [False, True, True]
    assert [CheckpointInterval(seconds=5).is_due(10**9, seconds, 99) for seconds in (4.9, 5)] == [False, True]
    default = CheckpointInterval()
    assert [default.is_due(1, seconds, 0.1) for seconds in (59, 60)] == [False, True]
    assert [default.is_due(1, seconds, 3.0) for seconds in (299, 300)] == [False, True]  # a hundredth of the time
    assert not CheckpointInterval(seconds=math.inf).is_due(10**9, 1e12, 0)


def small(dtype="float32"):
    layers = [keras.layers.Dense(3, dtype=dtype), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def test_all_that_determines_training_is_put_back():
    x, y = np.ones((8, 4), np.float32), np.ones((8, 3), np.float32)
    model = small()
    model.fit(x, y, verbose=0)
    keras.random.normal((1,))  # there is a global generator now
    plain, arrays = training_state.take(model)
    plain = json.loads(json.dumps(plain))

    def go_on(model):
        model.fit(x, y, batch_size=2, verbose=0)
        drawn = (random.random(), np.random.normal(), keras.random.normal((3,)).numpy().tolist())
        return [*model.get_weights(), *(variable.numpy() for variable in model.optimizer.variables)], drawn

    expected, drawn = go_on(model)
    other = small()
    training_state.build(other, x[:1], y[:1])
    training_state.put_back(other, plain, arrays)
    weights, drawn_again = go_on(other)
    assert drawn_again == drawn
    for one, two in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_types_that_the_file_format_does_not_know():
    model = small("bfloat16")
    training_state.build(model, np.ones((1, 4)), np.ones((1, 3)))
    plain, arrays = training_state.take(model)
    assert all(array.dtype.isbuiltin for array in arrays.values())
    other = small("bfloat16")
    training_state.build(other, np.ones((1, 4)), np.ones((1, 3)))
    training_state.put_back(other, plain, arrays)
    for one, two in zip(other.get_weights(), model.get_weights(), strict=True):
        assert one.tobytes() == two.tobytes()


def test_the_state_of_another_model_is_refused():
    plain, arrays = training_state.take(small())
    other = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    other.compile("sgd", "mse")
    with pytest.raises(CheckpointCorrupt, match="does not fit"):
        training_state.put_back(other, plain, arrays)


@pytest.fixture
def heard():
    """Signals as an interactive shell leaves them; `nohup` and background jobs have some ignored."""
    kept = {
        one: signal.signal(one, signal.default_int_handler if one is signal.SIGINT else signal.SIG_DFL)
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    yield
    for one, handler in kept.items():
        signal.signal(one, handler)


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143), (signal.SIGHUP, SystemExit, 129)],
)
@pytest.mark.usefixtures("heard")
def test_the_first_signal_is_noted_and_the_second_ends(number, error, code):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    told = []
    with Interruption(told.append) as interruption:
        assert interruption.requested is None
        signal.raise_signal(number)
        assert interruption.requested == number
        assert len(told) == 1
        with pytest.raises(error) as raised:
            interruption.end()
        with pytest.raises(error):
            signal.raise_signal(number)
    assert getattr(raised.value, "code", None) == code
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption(pytest.fail) as interruption:
            signal.raise_signal(signal.SIGINT)
            assert interruption.requested is None
    finally:
        signal.signal(signal.SIGINT, before)
