import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from planted_curves import TIMES, planted

from tfstiff.analysis.curve import Curve
from tfstiff.analysis.readings import Reading, loss_influence, reading, times_of
from tfstiff.analysis.training_watch import StiffnessTurnsLate, TrainingWatch
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turning_points import departure, generalization_loss, turning_point
from tfstiff.analysis.turns_of_training import found_by, turning_points
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
        between_influence=None if influence is None else -influence,
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


def stacked(influences):
    known = [one for one in influences if one is not None]
    return np.array(known) if len(known) == len(influences) and len({len(one) for one in known}) < 2 else None


def from_whole_curves(measurements, monitor):
    """The rules on whole curves, each made anew from all measurements."""
    times, unit = times_of(measurements)
    readings = [reading(m, monitor) if monitor in m.scalars() else Reading(math.nan) for m in measurements]
    is_late = StiffnessTurnsLate()
    counts = [is_late.add(one.value, m.train.loss) for one, m in zip(readings, measurements, strict=True)]
    values = np.array([one.value if count else math.nan for one, count in zip(readings, counts, strict=True)])
    errors = np.array([one.se for one in readings])
    measured = np.flatnonzero(np.isfinite(values))
    influence = stacked([readings[place].influence for place in measured])
    if influence is not None:
        rows = np.zeros((len(readings), *influence.shape[1:]))
        rows[measured] = influence
        influence = rows
    stiffness = Curve(times, values, errors if np.isfinite(errors).any() else None, influence)
    train, validation = ([getattr(m, half).loss for m in measurements] for half in ("train", "validation"))
    of_train, of_validation = (
        [loss_influence(getattr(m, half)) for m in measurements] for half in ("train", "validation")
    )
    loss = Curve(times, validation, influence=stacked(of_validation))
    both = [
        None if a is None or b is None else np.concatenate([-a, b])
        for a, b in zip(of_train, of_validation, strict=True)
    ]
    gap = stacked(both)
    growth = Turn("gap_growth", "unavailable")
    if gap is not None:
        growth = departure(Curve(times, np.subtract(train, validation), influence=gap), "gap_growth")
    return unit, {
        "validation_minimum": turning_point(-loss, "validation_minimum"),
        "generalization_loss": generalization_loss(loss),
        "gap_growth": growth,
        "stiffness_drop": turning_point(stiffness, "stiffness_drop"),
    }


def changed(kind):
    """A run of which something is not known, or is another, from some measurement on."""
    measurements = run(3.0, 5.0)
    middle = len(measurements) // 2
    for place, m in enumerate(measurements):
        late = place >= middle
        if kind == "no scores later" and late:
            m = dataclasses.replace(m, validation=dataclasses.replace(m.validation, scores=None))
        elif kind == "other examples later" and late:
            scores = m.train.scores
            fewer = ExampleScores(scores.loss[:-1], scores.gradient_norm[:-1], None)
            m = dataclasses.replace(m, train=dataclasses.replace(m.train, scores=fewer))
        elif kind == "epochs repeat":
            m = dataclasses.replace(m, epoch=m.epoch % 4.0)
        elif kind == "neither repeats nor grows" and late:
            m = dataclasses.replace(m, epoch=math.nan, step=-1)
        elif kind == "stiffness missing" and place % 5 == 0:
            m = dataclasses.replace(m, pair_sets={"train_val": pair_set(math.nan, math.nan, None)})
        elif kind == "no influence later" and late:
            value = m.pair_sets["train_val"].cosine
            m = dataclasses.replace(m, pair_sets={"train_val": pair_set(value.within, value.within_se, None)})
        measurements[place] = m
    return measurements


@pytest.mark.parametrize(
    "kind",
    [
        "as planted",
        "no scores later",
        "other examples later",
        "epochs repeat",
        "neither repeats nor grows",
        "stiffness missing",
        "no influence later",
    ],
)
def test_a_watch_finds_at_each_measurement_what_whole_curves_show(kind):
    monitor, measurements = "stiffness_cosine_within_train_val", changed(kind)
    watch, statuses = TrainingWatch(monitor), set()
    for count, measurement in enumerate(measurements, 1):
        watch.add(measurement)
        unit, expected = from_whole_curves(measurements[:count], monitor)
        found = found_by(watch)
        assert found.unit == unit
        assert watch.times == times_of(measurements[:count])[0]
        for rule, turn in found.rules.items():
            np.testing.assert_equal(dataclasses.asdict(turn), dataclasses.asdict(expected[rule]), f"{rule}, {count}")
        statuses |= {turn.status for turn in found.rules.values()}
    assert "confirmed" in statuses
