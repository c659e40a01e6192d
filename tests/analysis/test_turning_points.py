import math

import numpy as np
import pytest
from oracles import turns
from planted_curves import TIMES, planted

from tfstiff.analysis.curve import Curve, Point
from tfstiff.analysis.growing_curve import GrowingCurve
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turning_points import TurnWatch, departure, generalization_loss, log_lag, turning_point
from tfstiff.errors import InvalidInput

NAN = math.nan
TOP = int(np.flatnonzero(TIMES == 5)[0])


@pytest.mark.parametrize("errors", ["none", "se", "influence"])
def test_a_planted_turning_point_is_found_and_confirmed(errors):
    values, se, influence = planted(5.0, noise=0.01)
    known = {"none": {}, "se": {"se": se / 100}, "influence": {"influence": influence}}[errors]
    found = turning_point(Curve(TIMES, values, **known), "stiffness")
    assert (found.rule, found.status) == ("stiffness", "confirmed")
    assert abs(found.index - TOP) <= 1
    assert found.time == TIMES[found.index]
    assert found.index + 3 <= found.confirmed_index <= TOP + 6
    assert found.confirmed_time == TIMES[found.confirmed_index]


def test_pairing_sees_a_drop_that_errors_of_the_values_hide():
    values, se, influence = planted(5.0, noise=0.05, spread=2.0)
    assert se.min() > 0.2, "the whole drop is 0.4"
    assert turning_point(Curve(TIMES, values, influence=influence)).status == "confirmed"
    assert turning_point(Curve(TIMES, values, se)).status == "unconfirmed"


@pytest.mark.parametrize("known", ["influence", "errors", "nothing"])
def test_the_error_of_a_change_is_that_of_the_differences(known):
    _, se, influence = planted(5.0, noise=0.3)
    curve = GrowingCurve(known)
    for place in range(10):  # a decade apart: nothing is smoothed
        curve.add(Point(10.0**place, -1.0 if place == 9 else 0.0, se[place], influence[place]))
    error = {
        "influence": math.sqrt(((influence[9] - influence[4]) ** 2).sum()),
        "errors": math.hypot(se[4], se[9]),
        "nothing": 1e-12,
    }[known]
    level = curve.level(4)
    assert curve.is_below(9, level, 0.999 / error, 0.0)
    assert known == "nothing" or not curve.is_below(9, level, 1.001 / error, 0.0)
    assert not curve.is_below(9, level, 0.0, 1.001)
    assert not curve.is_below(8, level, 0.0, 0.0)


@pytest.mark.parametrize("pairing", [True, False])
@pytest.mark.parametrize("rule", [turning_point, departure])
def test_level_curves_are_not_confirmed(rule, pairing):
    confirmed = 0
    for seed in range(100):
        values, se, influence = planted(5.0, rise=0, fall=0, noise=1.0, spread=0.0, seed=seed)
        curve = Curve(TIMES, values, se, influence if pairing else None)
        confirmed += rule(curve).status == "confirmed"
    assert confirmed <= 2


@pytest.mark.parametrize("rule", [turning_point, departure])
@pytest.mark.parametrize("known", [{}, {"se": np.zeros(len(TIMES))}, {"influence": np.zeros((len(TIMES), 5))}])
def test_values_that_are_equal_but_for_rounding_are_level(rule, known):
    values = np.where(np.arange(len(TIMES)) < 5, 1.0, np.float32(1 - 1e-7))
    assert rule(Curve(TIMES, np.ones(len(TIMES)), **known)).status != "confirmed"
    assert rule(Curve(TIMES, values, **known)).status != "confirmed"


def test_rising_curves_are_not_confirmed():
    values, _, influence = planted(30.0, noise=0.01)
    found = turning_point(Curve(TIMES, values, influence=influence))
    assert found.status == "unconfirmed"
    assert found.index >= len(TIMES) - 2
    assert departure(Curve(TIMES, values, influence=influence)).status == "none"


def test_a_later_higher_maximum_takes_the_place_of_the_first():
    values = np.interp(np.arange(21), [0, 3, 8, 15, 20], [0.0, 1, 0, 2, 1])
    times = 10.0 ** np.arange(21)  # a decade apart: nothing is smoothed
    assert turning_point(Curve(times, values)).index == 15
    watch = TurnWatch()
    for time, value in zip(times, values, strict=True):
        found = watch.add(time, value)
    assert (found.index, found.confirmed_index) == (3, 6)


def test_patience_counts_measurements_in_a_row():
    times = 10.0 ** np.arange(9)
    values = [0, 1, 0.5, 0.5, 1, 0.5, NAN, 0.5, 0.5]
    found = turning_point(Curve(times, values))
    assert (found.index, found.confirmed_index) == (1, 8)
    assert turning_point(Curve(times, values), patience=2).confirmed_index == 3
    assert turning_point(Curve(times, values), patience=4).status == "unconfirmed"
    assert turning_point(Curve(times, values), min_change=0.6).status == "unconfirmed"


def test_one_wild_value_is_not_the_maximum_where_neighbours_are_near():
    times = np.arange(100.0, 140)
    values = -np.abs(np.arange(40) - 20) / 20
    values[5] = 0.2
    assert abs(turning_point(Curve(times, values)).index - 20) <= 1


@pytest.mark.parametrize("rule", [turning_point, departure, generalization_loss])
def test_few_measurements(rule):
    for values in ([], [NAN], [NAN, NAN], [0.5], [0.5, NAN], [0.5, 0.4]):
        found = rule(Curve(np.arange(len(values)), values))
        assert found.status in ("none", "unconfirmed") or (rule is generalization_loss and len(values) == 2)
    assert turning_point(Curve([0], [0.5])) == Turn("turning_point", "unconfirmed", 0, 0.0)
    assert turning_point(Curve([0, 1], [0.5, 0.4]), patience=1).confirmed_index == 1
    assert turning_point(Curve([0, 1], [NAN, NAN])) == Turn("turning_point")


def test_infinite_values_count_as_none():
    times = 10.0 ** np.arange(8)
    values = [0.0, 1, math.inf, 0.5, -math.inf, 0.5, 0.5, 0.5]
    assert turning_point(Curve(times, values)).confirmed_index == 6


def test_errors_that_are_not_known_confirm_nothing():
    times = 10.0 ** np.arange(7)
    values, se = [0.0, 1, 0, 0, 0, 0, 0], np.array([NAN, 0.1, 0.1, NAN, 0.1, 0.1, 0.1])
    assert turning_point(Curve(times, values, se)).confirmed_index == 6


def test_a_gap_that_opens():
    """Level at first, so that its extreme is anywhere in the beginning: the turn is where it leaves that level."""
    rng = np.random.default_rng(0)
    gap = np.where(TIMES > 5, 0.3 * np.log(np.maximum(TIMES, 1) / 5), 0) + 0.005 * rng.normal(size=len(TIMES))
    found = departure(-Curve(TIMES, gap, np.full(len(TIMES), 0.005)), "gap")
    assert found.status == "confirmed"
    assert 0 < found.index - TOP <= 2
    assert found.confirmed_index == found.index + 2


def test_the_generalization_loss_is_prechelts():
    losses = [2.0, 1.0, 1.04, NAN, 1.06, 0.9, 5]
    found = generalization_loss(Curve(range(7), losses), alpha=5)
    assert (found.index, found.time, found.confirmed_index) == (4, 4.0, 4)
    assert generalization_loss(Curve(range(7), losses), alpha=10).index == 6
    assert generalization_loss(Curve(range(6), losses[:6]), alpha=10).status == "none"
    with pytest.raises(InvalidInput, match="above 0"):
        generalization_loss(Curve([0], [1.0]), alpha=0)


def test_the_lag_is_in_decades():
    first, second = (Turn("a", "confirmed", 3, time, 5, 2 * time) for time in (2.0, 20.0))
    assert log_lag(second, first) == pytest.approx(1)
    assert log_lag(first, second) == pytest.approx(-1)
    assert math.isnan(log_lag(first, Turn("b", "unconfirmed", 3, 20.0)))
    assert math.isnan(log_lag(first, Turn("b", "confirmed", 0, 0.0, 3, 1.0)))


RULES = [turning_point, departure, generalization_loss]
LINEAR = np.arange(60.0)


def history(seed):
    """A planted history of any kind: how it goes, when it is measured, what is not, and what is known of its errors."""
    rng = np.random.default_rng(seed)
    times = [TIMES, LINEAR, 50 + LINEAR, np.sort(rng.uniform(0, 100, 60))][seed % 4]
    rise, fall = rng.choice([0, 0.1, 0.3], 2)
    values, se, influence = planted(
        rng.uniform(1, 60), rise=rise, fall=fall, noise=rng.choice([0.02, 0.3]), examples=20, seed=seed, times=times
    )
    values[rng.random(len(values)) < 0.1] = rng.choice([NAN, math.inf])
    rows = [None if seed % 3 == 1 else row.astype(np.float32) for row in influence]
    if seed % 3 == 2:  # not known of one
        rows[len(rows) // 3] = None
    if seed % 5 == 0:
        se[:] = NAN
    elif seed % 5 == 1:
        se[: len(se) // 2] = NAN
    return times, values, se, rows


def whole(times, values, se, rows):
    has_rows = all(row is not None for row in rows)
    return turns.WholeCurve(times, values, se if np.isfinite(se).any() else None, np.array(rows) if has_rows else None)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(12))
def test_watching_is_applying_the_rule_to_what_there_is(rule, seed):
    """At each step, whatever is known of the errors and however that changes, until a turn is confirmed."""
    times, values, se, rows = history(seed)
    watch = TurnWatch(rule, name="it")
    assert watch.turn.status == "none"
    for count in range(1, len(times) + 1):
        place = count - 1
        was_confirmed = watch.turn.status == "confirmed"
        before, found = watch.turn, watch.add(times[place], values[place], se[place], rows[place])
        expected = getattr(turns, rule.__name__)(
            whole(times[:count], values[:count], se[:count], rows[:count]), name="it"
        )
        assert str(found) == str(before if was_confirmed else expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(12))
def test_a_curve_as_a_whole_is_one_that_has_grown(rule, seed):
    """A later maximum takes the place of an earlier one, also of one that was confirmed."""
    times, values, se, rows = history(seed)
    known = whole(times, values, se, rows)
    found = rule(Curve(times, values, known.se, known.influence))
    assert str(found) == str(getattr(turns, rule.__name__)(known))


def test_histories_of_all_kinds_are_looked_at():
    kinds = [turning_point(Curve(*history(seed)[:2])).status for seed in range(12)]
    assert {"confirmed", "unconfirmed"} <= set(kinds)
    watched = []
    for seed in range(12):
        watch = TurnWatch()
        for point in zip(*history(seed), strict=True):
            watch.add(*point)
        watched.append(watch.turn.status)
    assert 2 <= watched.count("confirmed") <= 10


def test_smoothed_values_are_those_of_the_whole_curve():
    times, values, *_ = history(2)
    curve = GrowingCurve("nothing")
    for count, (time, value) in enumerate(zip(times, values, strict=True), 1):
        curve.add(Point(time, value))
        smoothed = turns.WholeCurve(times[:count], values[:count]).smoothed()
        if count > 1 and np.isfinite(values[:count]).any():
            assert curve.peak() == np.nanargmax(smoothed)
    for index in np.flatnonzero(np.isfinite(values)):
        level = curve.level(index)
        assert level.total / level.weight == pytest.approx(smoothed[index], rel=1e-12)


def test_the_time_of_smoothing_is_logarithmic():
    times = [0, 0.01, 0.02, 100, 101, 102]

    def weights(index):
        found = []
        for values in np.eye(6):
            curve = GrowingCurve("nothing")
            for time, value in zip(times, values, strict=True):
                curve.add(Point(time, value))
            level = curve.level(index)
            found.append(level.total / level.weight)
        return np.array(found)

    np.testing.assert_allclose(weights(0), [1, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(weights(1), [0, 1, 0, 0, 0, 0])
    assert (weights(4)[3:] > 0.3).all()
    np.testing.assert_allclose(weights(4).sum(), 1)


def test_a_watched_time_must_increase():
    watch = TurnWatch()
    watch.add(1.0, 0.5)
    for time in (1.0, 0.5, NAN):
        with pytest.raises(InvalidInput, match="increase"):
            watch.add(time, 0.5)
    with pytest.raises(InvalidInput, match="increase"):
        TurnWatch().add(-1.0, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1.0]), "same measurements"),
        (([0, 1], [1.0, 2], [1.0]), "same measurements"),
        (([1, 1], [1.0, 2]), "increase"),
        (([-1, 1], [1.0, 2]), "increase"),
        (([NAN, 1], [1.0, 2]), "increase"),
    ],
)
def test_curves_that_are_none(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Curve(*arguments)


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1.5}, {"z": -1}, {"z": NAN}, {"min_change": -1}])
@pytest.mark.parametrize("rule", [turning_point, departure])
def test_options_that_are_none(rule, options):
    with pytest.raises(InvalidInput, match=next(iter(options)).replace("patience", "Patience")):
        rule(Curve([0], [1.0]), **options)
