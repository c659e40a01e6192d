"""Turning points in the events of a training, as they are found and in the end."""

import math

import keras
import numpy as np
import pytest
from test_stopping import PROBE, planted, small

from tfstiff import StiffnessCallback, load_run
from tfstiff.analysis import training_watch
from tfstiff.analysis.readings import reading
from tfstiff.analysis.turns_of_training import turning_points
from tfstiff.callbacks.turning_points import TurnEvents
from tfstiff.errors import InvalidInput

STEPS = 5
VALUES = [0.1, 0.3, 0.5, 0.4, 0.35, 0.3, 0.6, 0.5, 0.45, 0.4]  # a maximum, and later a higher one


def trained(monkeypatch, *others, values=VALUES, **options):
    planted(monkeypatch, values)
    stiffness = StiffnessCallback(PROBE, **options)
    x, y = PROBE.train.x, PROBE.train.y
    small().fit(
        np.tile(x, (3, 1))[:20], np.tile(y, 3)[:20], batch_size=4, epochs=9, verbose=0,
        callbacks=[stiffness, TurnEvents(stiffness), *others],
    )  # fmt: skip
    return stiffness


def test_a_turn_is_noted_when_it_is_found_and_as_the_end_shows_it(monkeypatch):
    stiffness = trained(monkeypatch)
    found, last = stiffness.events
    assert (found["event"], found["rule"], found["status"]) == ("turn_confirmed", "stiffness_drop", "confirmed")
    assert (found["step"], found["turn_step"], found["confirmed_step"]) == (5 * STEPS, 2 * STEPS, 5 * STEPS)
    assert (found["epoch"], found["turn_epoch"]) == (5.0, 2.0)
    assert (last["event"], last["step"]) == ("turning_points", 9 * STEPS)
    assert last["rules"]["stiffness_drop"] == {
        "status": "confirmed",
        "turn_step": 6 * STEPS,
        "turn_epoch": 6.0,
        "confirmed_step": 9 * STEPS,
        "confirmed_epoch": 9.0,
    }
    whole = turning_points(stiffness.history)
    assert set(last["rules"]) == set(whole.rules)
    assert {rule: one["status"] for rule, one in last["rules"].items()} == {
        rule: turn.status for rule, turn in whole.rules.items()
    }
    assert last["rules"]["gap_growth"]["turn_step"] is None
    assert math.isnan(last["lag"])
    assert len(stiffness.history) == 10, "nothing was measured for the events"


def test_each_measurement_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(training_watch, "reading", lambda m, name: read.append(m.step) or reading(m, name))
    stiffness = trained(monkeypatch)
    assert read == [m.step for m in stiffness.history]
    events = TurnEvents(stiffness)
    for epoch in range(3):
        events.on_epoch_end(epoch)
    assert len(read) == 2 * len(stiffness.history)
    del stiffness.history[-2:]  # as after a restart from an earlier checkpoint
    events.on_epoch_end(3)
    assert read[-8:] == [m.step for m in stiffness.history]


def test_events_are_in_the_log_folder(tmp_path):
    keras.utils.set_random_seed(0)
    stiffness = StiffnessCallback(PROBE, log_dir=tmp_path / "run")
    events = TurnEvents(stiffness, "sign_between_val_val")
    small().fit(PROBE.train.x, PROBE.train.y, epochs=2, verbose=0, callbacks=[stiffness, events])
    (last,) = load_run(tmp_path / "run").events
    assert (last["event"], last["monitor"]) == ("turning_points", "stiffness_sign_between_val_val")
    assert last["lag"] is None
    with pytest.raises(InvalidInput, match="Unknown scalar to monitor"):
        TurnEvents(stiffness, "val_loss")


def test_nothing_is_noted_without_a_measurement(monkeypatch):
    assert trained(monkeypatch, schedule=[100]).events == []
