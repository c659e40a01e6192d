"""The optimizers of runs are Keras' own, and the cosine is that of the formula."""

import math

import keras
import numpy as np
import pytest

from tfstiff import RunSpec
from tfstiff.errors import InvalidInput
from tfstiff.runs.optimizers import OPTIMIZERS, RATE_SCHEDULES, make_optimizer
from tfstiff.runs.prepare import prepare_run

PLAIN = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "rmsprop": keras.optimizers.RMSprop,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_steps_as_keras_does(name):
    found = []
    for optimizer in (make_optimizer(name, 0.1, "constant", 10), PLAIN[name](0.1)):
        weight = keras.Variable(np.ones(3, np.float32))
        for step in range(3):
            optimizer.apply([weight * (step + 1.0)], [weight])
        found.append(weight.numpy())
    np.testing.assert_array_equal(*found)


def test_a_cosine_falls_to_zero_at_the_last_step():
    optimizer = make_optimizer("sgd", 0.2, "cosine", 8)
    weight = keras.Variable(np.zeros(1, np.float32))
    rates = []
    for _ in range(9):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([np.zeros(1, np.float32)], [weight])
    assert rates == pytest.approx([0.2 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(9)], abs=1e-7)


def test_a_run_is_prepared_with_them(tmp_path):
    rng = np.random.default_rng(0)
    data = {"x_train": rng.normal(size=(40, 6)), "y_train": np.arange(40) % 3}
    np.savez(tmp_path / "mine.npz", **data, x_validation=data["x_train"][:9], y_validation=data["y_train"][:9])
    spec = RunSpec(
        f"npz:{tmp_path / 'mine.npz'}",
        hidden=(4,),
        epochs=3,
        batch_size=16,
        probe_size=(9, 6),
        learning_rate=0.05,
        optimizer="momentum",
        lr_schedule="cosine",
    )
    prepared = prepare_run(spec, tmp_path / "run")
    assert prepared.model.optimizer.momentum == 0.9
    assert float(prepared.model.optimizer.learning_rate) == pytest.approx(0.05)
    assert prepared.resolved()["decay_steps"] == 9  # 3 epochs of 3 batches
    assert spec.as_config() | prepared.resolved() == prepared.resolved() | spec.as_config()
    assert "decay_steps" not in prepare_run(RunSpec(spec.dataset, probe_size=(9, 6)), tmp_path / "other").resolved()


@pytest.mark.parametrize("changes", [{"optimizer": "lion"}, {"lr_schedule": "linear"}])
def test_others_are_not_known(changes):
    with pytest.raises(InvalidInput, match=" | ".join(RATE_SCHEDULES) if "lr_schedule" in changes else "adamw"):
        RunSpec(**changes)
