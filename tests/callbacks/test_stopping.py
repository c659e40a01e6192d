import copy
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfstiff
from tfstiff import Probe, StiffnessCallback, StopWhenStiffnessDrops, load_run
from tfstiff.analysis.turns_of_training import turning_points
from tfstiff.errors import InvalidInput
from tfstiff.records import HalfSummary, Measurement

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3
PROBE = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=9)
STEPS = 5  # an epoch
MONITOR = "stiffness_cosine_within_train_val"
EXAMPLES = 30
DEVIATIONS = RNG.normal(size=EXAMPLES)


def planted(monkeypatch, values, noise=0.001, loss=0.5):
    """Measurements find these values one after the other, then the last of them, on examples that keep deviations.

    The loss is 1 in the first of them, and then `loss`.
    """
    made = []

    def measure(model, probe, pair_sets=(), **options):
        place = len(made)
        value = values[min(place, len(values) - 1)]
        each = value + DEVIATIONS + noise * np.random.default_rng(place).normal(size=EXAMPLES)
        influence = (each - each.mean()) / math.sqrt(EXAMPLES * (EXAMPLES - 1))
        error = float(np.linalg.norm(influence))
        cell = SimpleNamespace(within=value, within_se=error, within_influence=influence, blocks=None)
        cell.between, cell.between_se, cell.between_influence = -value, error, -influence
        pairs = SimpleNamespace(sign=cell, cosine=cell, critical_length=SimpleNamespace(value=math.nan))
        half = HalfSummary(9, loss if place else 1.0, 0.5, 0, 0)
        names = ("train_train", "train_val", "val_val")
        made.append(Measurement(half, half, dict.fromkeys(names, pairs), class_names=("a", "b", "c")))
        return made[-1]

    monkeypatch.setattr("tfstiff.callbacks.stiffness.measure", measure)
    return made


def small():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(*callbacks, model=None, epochs=12):
    model = model or small()
    return model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks)).history


def test_it_is_a_public_name():
    assert tfstiff.StopWhenStiffnessDrops is StopWhenStiffnessDrops


def test_training_stops_when_the_drop_is_confirmed(monkeypatch):
    planted(monkeypatch, [0.1, 0.3, 0.5, 0.4, 0.35, 0.3, 0.2])
    stiffness = StiffnessCallback(PROBE)
    stop = StopWhenStiffnessDrops(stiffness)
    history = fit(stiffness, stop)
    assert len(history["loss"]) == 5  # epochs: the maximum after 2, then three below it
    assert (stop.turn.rule, stop.turn.status) == ("stiffness_drop", "confirmed")
    assert (stop.turn.index, stop.turn.time) == (2, 2 * STEPS)
    assert (stop.turn.confirmed_index, stop.turn.confirmed_time) == (5, 5 * STEPS)
    assert stiffness.events == [
        {
            "event": "stiffness_dropped",
            "step": 5 * STEPS,
            "epoch": 5.0,
            "monitor": MONITOR,
            "value": 0.3,
            "peak_step": 2 * STEPS,
            "peak_epoch": 2.0,
            "peak_value": 0.5,
        }
    ]
    assert len(stiffness.history) == 6, "nothing was measured for the event"


def test_it_stops_in_the_middle_of_an_epoch(monkeypatch):
    planted(monkeypatch, [0.4, 0.5, 0.4, 0.3, 0.2])
    stiffness = StiffnessCallback(PROBE, schedule=1)
    stop = StopWhenStiffnessDrops(stiffness)
    model = small()
    fit(stiffness, stop, model=model)
    assert stop.turn.confirmed_time == 4
    assert stiffness.events[0]["step"] == 4
    assert len(stiffness.events) == 1
    assert model.optimizer.iterations.numpy() == 4


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3, 0.4, 0.5], [0.5] * 3, [0.5, 0.4, 0.6, 0.5, 0.4, 0.6], [math.nan]])
def test_it_does_not_stop_without_a_drop(monkeypatch, values):
    planted(monkeypatch, values, noise=0.5 if len(set(values)) == 1 else 0.001)
    stiffness = StiffnessCallback(PROBE)
    stop = StopWhenStiffnessDrops(stiffness)
    assert len(fit(stiffness, stop)["loss"]) == 12
    assert stop.turn.status != "confirmed"
    assert stiffness.events == []


def test_the_drop_has_to_be_larger_than_the_noise_of_its_difference(monkeypatch):
    values = [0.45, 0.5, 0.45, 0.45, 0.45]  # the values have errors of 0.2 each, the differences far smaller ones
    for noise, epochs in ((0.01, 4), (1.0, 12)):
        planted(monkeypatch, values, noise)
        stiffness = StiffnessCallback(PROBE)
        assert len(fit(stiffness, StopWhenStiffnessDrops(stiffness))["loss"]) == epochs
    planted(monkeypatch, values, 0.01)
    stiffness = StiffnessCallback(PROBE)
    assert len(fit(stiffness, StopWhenStiffnessDrops(stiffness, min_drop=0.1))["loss"]) == 12


def test_patience(monkeypatch):
    for patience in (1, 2, 5):
        planted(monkeypatch, [0.1, 0.5, 0.4, 0.3, 0.2])
        stiffness = StiffnessCallback(PROBE)
        assert len(fit(stiffness, StopWhenStiffnessDrops(stiffness, patience=patience))["loss"]) == 1 + patience


def test_another_fit_begins_anew(monkeypatch):
    made = planted(monkeypatch, [0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    stiffness = StiffnessCallback(PROBE)
    stop = StopWhenStiffnessDrops(stiffness)
    model = small()
    assert len(fit(stiffness, stop, model=model)["loss"]) == 4
    assert len(fit(stiffness, stop, model=model, epochs=4)["loss"]) == 4, "what has been learnt before does not count"
    assert stop.turn.status == "none"
    made.clear()
    assert len(fit(stiffness, stop, model=model)["loss"]) == 5  # a fit that goes on measures nothing before it


def test_early_stopping_monitors_the_logs(monkeypatch):
    planted(monkeypatch, [0.1, 0.3, 0.5, 0.4, 0.35, 0.45, 0.45])
    stiffness = StiffnessCallback(PROBE)
    stop = keras.callbacks.EarlyStopping(MONITOR, mode="max", patience=2)
    assert len(fit(stiffness, stop)["loss"]) == 4
    assert stop.best == 0.5


def test_any_published_scalar_can_be_monitored(monkeypatch):
    planted(monkeypatch, [-0.2, -0.5, -0.4, -0.3, -0.2])
    stiffness = StiffnessCallback(PROBE)
    stop = StopWhenStiffnessDrops(stiffness, "sign_between_val_val", patience=2)
    assert stop.monitor == "stiffness_sign_between_val_val"
    assert len(fit(stiffness, stop)["loss"]) == 3
    with pytest.raises(InvalidInput, match="Unknown scalar"):
        StopWhenStiffnessDrops(stiffness, "val_loss")
    only_train = StiffnessCallback(PROBE, pair_sets=("train_train",))
    assert StopWhenStiffnessDrops(only_train, "cosine_within_train_train").monitor.endswith("within_train_train")
    assert StopWhenStiffnessDrops(only_train).monitor == "stiffness_cosine_within_train_train"
    with pytest.raises(InvalidInput, match="Unknown scalar"):
        StopWhenStiffnessDrops(only_train, "cosine_within_train_val")
    for options in ({"patience": 0}, {"z": -1.0}, {"min_drop": math.nan}):
        with pytest.raises(InvalidInput):
            StopWhenStiffnessDrops(stiffness, **options)


def test_it_comes_after_its_stiffness_callback(monkeypatch):
    planted(monkeypatch, [0.5])
    stiffness = StiffnessCallback(PROBE)
    for callbacks in ([StopWhenStiffnessDrops(stiffness), stiffness], [StopWhenStiffnessDrops(stiffness)]):
        with pytest.raises(InvalidInput, match="before its StiffnessCallback"):
            fit(*callbacks)


def test_copies_read_the_copied_callback(monkeypatch):
    planted(monkeypatch, [0.1, 0.5, 0.4, 0.3, 0.2])
    stiffness = StiffnessCallback(PROBE)
    copies = copy.deepcopy([stiffness, StopWhenStiffnessDrops(stiffness)])
    assert len(fit(*copies)["loss"]) == 4
    assert stiffness.history == []


@pytest.mark.parametrize(
    ("values", "loss", "epochs"),
    [
        ([0.1, 0.5, 0.4, 0.3, 0.2], 0.75, 4),
        ([0.1, 0.5, 0.4, 0.3, 0.2], 0.76, 12),  # the loss has come down by less than a quarter
        ([0.5, 0.4, 0.3, 0.2, 0.1], 0.5, 12),  # falls from the beginning
        ([0.5, 0.4, 0.6, 0.3, 0.2, 0.1], 0.5, 5),
    ],
)
def test_a_drop_before_anything_is_learnt_is_none(monkeypatch, values, loss, epochs):
    planted(monkeypatch, values, loss=loss)
    stiffness = StiffnessCallback(PROBE)
    stop = StopWhenStiffnessDrops(stiffness)
    assert len(fit(stiffness, stop)["loss"]) == epochs
    found = turning_points(stiffness.history).stiffness_drop
    assert (found.status, found.index) == (stop.turn.status, stop.turn.index)
    assert found.status == ("none" if epochs == 12 else "confirmed")


def test_what_is_measured_for_real_is_read_and_the_event_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("tfstiff.analysis.training_watch.LEARNT_SHARE", 0.0)
    stiffness = StiffnessCallback(PROBE, schedule=1, log_dir=tmp_path / "run")
    stop = StopWhenStiffnessDrops(stiffness, patience=2, z=0.0)
    fit(stiffness, stop)
    assert stop.turn.status == "confirmed"
    run = load_run(tmp_path / "run")
    assert run.events == stiffness.events
    assert run.events[0]["step"] == run.measurements[-1].step
    found = turning_points(run, patience=2, z=0.0)
    assert found.unit == "epoch"
    assert found.stiffness_drop.status == "confirmed"
    assert run.measurements[found.stiffness_drop.index].step == run.events[0]["peak_step"]
    assert found.gap_growth.status != "unavailable"
