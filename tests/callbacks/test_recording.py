"""What the callback writes: one writer a folder, and what happens where it cannot write."""

import copy
import pickle

import keras
import numpy as np
import pytest

from tfstiff import Probe, StiffnessCallback, load_run
from tfstiff.errors import InvalidInput
from tfstiff.records import RunWriter
from tfstiff.records.claim import Claim, is_alive

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3
PROBE = Probe.from_arrays(train=(X, Y), validation=(-X[:12], Y[:12]), size=9)


@pytest.fixture(scope="module")
def model():
    found = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    found.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return found


def fit(model, stiffness):
    return model.fit(X, Y, batch_size=20, epochs=1, verbose=0, callbacks=[stiffness])


def test_a_folder_that_another_process_writes_is_left_to_it_before_any_training(tmp_path, model):
    folder = tmp_path / "mine"
    before = model.get_weights()
    with Claim(folder):
        with pytest.raises(InvalidInput, match="Another process"):
            fit(model, StiffnessCallback(PROBE, [0], log_dir=folder))
        copied = copy.deepcopy(StiffnessCallback(PROBE, [0], log_dir=folder))
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
        fit(model, copied)  # copies come beside it
    assert len(load_run(tmp_path / "mine-2").measurements) == 1
    assert not (folder / "records").exists()


def test_the_folder_is_free_again_when_training_ends_and_a_second_fit_takes_it_again(tmp_path, model):
    stiffness = StiffnessCallback(PROBE, "epoch", log_dir=tmp_path / "mine")
    seen = []
    watches = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: seen.append(is_alive(tmp_path / "mine")))
    for _ in range(2):
        model.fit(X, Y, batch_size=20, verbose=0, callbacks=[stiffness, watches])
        assert not is_alive(tmp_path / "mine")
    assert seen == [True, True]
    assert [m.step for m in load_run(tmp_path / "mine").measurements] == [0, 1, 2]


def test_where_a_record_cannot_be_written(tmp_path, model, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunWriter, "add", full)
    with pytest.raises(OSError, match="No space"):
        fit(model, StiffnessCallback(PROBE, [0], log_dir=tmp_path / "one"))
    warned = StiffnessCallback(PROBE, "epoch", log_dir=tmp_path / "two", on_error="warn")
    with pytest.warns(UserWarning, match=r"record of step 0 could not be written: .*No space"):
        fit(model, warned)
    assert [m.step for m in warned.history] == [0, 1]
    with pytest.raises(InvalidInput, match="on_error"):
        StiffnessCallback(PROBE, on_error="ignore")


def test_it_can_be_pickled_after_a_fit(tmp_path, model):
    stiffness = StiffnessCallback(PROBE, [0], log_dir=tmp_path / "mine")
    fit(model, stiffness)
    found = pickle.loads(pickle.dumps(stiffness))
    assert [m.scalars() for m in found.history] == [m.scalars() for m in stiffness.history]
