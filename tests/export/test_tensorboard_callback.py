import copy
import time

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import tfstiff
from tfstiff.errors import InvalidInput
from tfstiff.export import EVENT_FILE


@pytest.fixture(scope="module")
def probe():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 5)).astype("float32"), np.arange(24) % 3
    return tfstiff.Probe.from_arrays((x, y), (x + 0.1, y), size=12)


def fit(callback, epochs=2):
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    part = callback.probe.train
    model.fit(part.x, part.y, batch_size=4, epochs=epochs, verbose=0, callbacks=[callback])
    return callback


def test_events_stand_beside_the_records_with_the_steps_and_times_of_training(probe, tmp_path):
    before = time.time()
    callback = fit(
        tfstiff.StiffnessCallback(probe, log_dir=tmp_path / "mine", tensorboard=True, pair_sets=["train_val"])
    )
    events = EventAccumulator(str(tmp_path / "mine"), size_guidance={"tensors": 0}).Reload()
    found = events.Tensors("stiffness_train_val/cosine_within")
    assert [event.step for event in found] == [m.step for m in callback.history] == [0, 3, 6]
    values = [float(tensor_util.make_ndarray(event.tensor_proto)) for event in found]
    assert values == pytest.approx([m["train_val"].cosine.within for m in callback.history], rel=1e-6)
    times = [event.wall_time for event in found]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time()
    assert len(events.Tensors("class_matrix_train_val/cosine")) == 3


def test_a_folder_of_its_own_is_of_one_run_and_copies_write_beside_it(probe, tmp_path):
    callback = tfstiff.StiffnessCallback(probe, tensorboard=tmp_path / "logs", pair_sets=("val_val",))
    fit(callback, epochs=1)
    size = (tmp_path / "logs" / EVENT_FILE).stat().st_size
    fit(copy.deepcopy(callback), epochs=1)
    assert (tmp_path / "logs-2" / EVENT_FILE).stat().st_size == pytest.approx(size, rel=0.1)
    with pytest.raises(InvalidInput, match="another run"):
        fit(tfstiff.StiffnessCallback(probe, tensorboard=str(tmp_path / "logs")))
    assert (tmp_path / "logs" / EVENT_FILE).stat().st_size == size


def test_true_without_a_log_dir_is_refused_at_once(probe):
    with pytest.raises(InvalidInput, match="log_dir"):
        tfstiff.StiffnessCallback(probe, tensorboard=True)
