import math
from types import SimpleNamespace

import numpy as np
import pytest
from planted_curves import TIMES, planted

from tfstiff.analysis.readings import reading, times_of
from tfstiff.analysis.turns_of_training import turning_points
from tfstiff.errors import InvalidInput
from tfstiff.records import HalfSummary, Measurement
from tfstiff.records.scores import ExampleScores


def half(losses, keep_scores):
    scores = ExampleScores(losses, np.ones(len(losses)), None) if keep_scores else None
    return HalfSummary(len(losses), float(losses.mean()), math.nan, 0, 0, scores)


def pair_set(value, se, influence):
    by_class = SimpleNamespace(
        within=value,
        within_se=se,
        within_df=30.0,
        within_influence=influence,
        between=-value,
        between_se=se,
        between_df=30.0,
        between_influence=-influence,
        blocks=None,
    )
    length = SimpleNamespace(value=1.5, status="ok", interval="bounded", low=1.25, high=1.75)
    return SimpleNamespace(sign=by_class, cosine=by_class, critical_length=length)


def run(stiffness_peak, loss_minimum, keep_scores=True, noise=0.02, seed=0):
    """Measurements whose stiffness turns at one time and whose losses part at another."""
    rng = np.random.default_rng(seed)
    values, se, influence = planted(stiffness_peak, noise=noise, seed=seed)
    logs = np.log10(np.maximum(TIMES, 1e-3) / loss_minimum)
    train = 1 - 0.2 * logs + 0.2 * rng.normal(size=(40, 1)) + noise * rng.normal(size=(40, len(TIMES)))
    validation = 1 + 0.2 * np.abs(logs) + 0.2 * rng.normal(size=(50, 1)) + noise * rng.normal(size=(50, len(TIMES)))
    return [
        Measurement(
            half(train[:, place], keep_scores),
            half(validation[:, place], keep_scores),
            {"train_val": pair_set(values[place], se[place], influence[place])},
            class_names=("a", "b"),
            step=int(1000 * time),
            epoch=time,
        )
        for place, time in enumerate(TIMES.tolist())
    ]


@pytest.mark.parametrize(("stiffness_peak", "loss_minimum"), [(3.0, 3.0), (2.0, 8.0), (8.0, 2.0)])
def test_planted_turns_are_found(stiffness_peak, loss_minimum):
    found = turning_points(run(stiffness_peak, loss_minimum))
    assert found.unit == "epoch"
    assert found.stiffness_drop.status == found.validation_minimum.status == "confirmed"
    assert found.stiffness_drop.time == pytest.approx(stiffness_peak, abs=1)
    assert found.validation_minimum.time == pytest.approx(loss_minimum, abs=1)
    assert found.lag == pytest.approx(math.log10(stiffness_peak / loss_minimum), abs=0.2)
    assert found.gap_growth.status == "confirmed"
    assert loss_minimum < found.gap_growth.time <= loss_minimum + 2
    assert found.generalization_loss.rule == "generalization_loss"
    assert found.generalization_loss.time > loss_minimum


def test_a_turn_of_stiffness_before_anything_is_learnt_is_none():
    measurements = run(3.0, 3.0)
    for measurement in measurements[:-1]:
        object.__setattr__(measurement.train, "loss", 1.0)
    object.__setattr__(measurements[-1].train, "loss", 0.7)
    found = turning_points(measurements)
    assert found.stiffness_drop.status == "none", "it is past its maximum when the network has learnt"
    assert found.validation_minimum.status == "confirmed"
    for measurement in measurements[5:]:
        object.__setattr__(measurement.train, "loss", 0.7)
    assert turning_points(measurements).stiffness_drop.time == pytest.approx(3.0, abs=1)
    for measurement in measurements[10:]:  # what was learnt once, and forgotten, was learnt
        object.__setattr__(measurement.train, "loss", 2.0)
    assert turning_points(measurements).stiffness_drop.time == pytest.approx(3.0, abs=1)


def test_without_the_losses_of_examples_the_gap_cannot_be_tested():
    found = turning_points(run(3.0, 3.0, keep_scores=False))
    assert found.gap_growth.status == "unavailable"
    assert found.validation_minimum.status == "confirmed"


def test_one_measurement():
    found = turning_points(run(3.0, 3.0)[:1])
    assert found.validation_minimum.status == "unconfirmed"
    assert found.stiffness_drop.status == "none", "nothing has been learnt"
    assert found.gap_growth.status == found.generalization_loss.status == "none"
    assert math.isnan(found.lag)
    with pytest.raises(InvalidInput, match="no measurement"):
        turning_points([])


def test_a_reading_is_a_scalar_with_its_errors():
    measurement = run(3.0, 3.0)[5]
    cell = measurement["train_val"].sign
    found = reading(measurement, "stiffness_sign_between_train_val")
    assert (found.value, found.se) == (cell.between, cell.between_se)
    np.testing.assert_array_equal(found.influence, cell.between_influence)
    assert reading(measurement, "sign_between_train_val").value == cell.between
    length = reading(measurement, "critical_length_train_val")
    assert length.value == 1.5
    assert math.isnan(length.se)
    assert length.influence is None
    with pytest.raises(InvalidInput, match="no such scalar"):
        reading(measurement, "loss_of_something")


@pytest.mark.parametrize(
    ("epochs", "steps", "unit"),
    [
        ([0.0, 1, 2], [0, 5, 10], "epoch"),
        ([0.0, 1, math.nan], [0, 5, 10], "step"),
        ([0.0, 1, 1], [0, 5, 10], "step"),
        ([math.nan] * 3, [-1, -1, -1], "measurement"),
    ],
)
def test_the_unit_of_time_is_one_that_increases(epochs, steps, unit):
    empty = half(np.ones(3), False)
    measurements = [Measurement(empty, empty, {}, step=step, epoch=e) for e, step in zip(epochs, steps, strict=True)]
    when, found = times_of(measurements)
    assert found == unit
    assert len(when) == 3
