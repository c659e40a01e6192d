import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tfstiff.callbacks import schedules
from tfstiff.callbacks.schedules import Moment, Schedule, as_schedule
from tfstiff.errors import InvalidInput


@st.composite
def walks(draw, max_epochs=5):
    """(steps of an epoch, the steps at which hooks come): 0, then any of those inside epochs, and every epoch's end."""
    length = draw(st.integers(1, 30))
    epochs = draw(st.integers(1, max_epochs))
    inside = draw(st.sets(st.integers(1, epochs * length)))
    return length, sorted({0, *inside, *range(0, epochs * length + 1, length)})


def measured_at(schedule, length, steps, start=0):
    """The hook steps at which `schedule` is due."""
    previous, found = None, []
    for step in steps:
        current = Moment(step, start + step / length)
        if schedule.due(previous, current):
            found.append(step)
        previous = current
    return found


def first_hooks(points, steps):
    """For each point, in steps, the first hook at or after it."""
    return sorted({min(step for step in steps if step >= point) for point in points if point <= steps[-1]})


@given(walks(), st.lists(st.integers(0, 160), max_size=8))
def test_each_step_asked_for_is_measured_once_at_the_next_hook(walk, wanted):
    length, steps = walk
    assert measured_at(schedules.at_steps(wanted), length, steps) == first_hooks(wanted, steps)


@given(walks(), st.integers(1, 40))
def test_every_steps(walk, interval):
    length, steps = walk
    points = range(0, steps[-1] + 1, interval)
    assert measured_at(schedules.every_steps(interval), length, steps) == first_hooks(points, steps)


@given(walks(), st.lists(st.fractions(0, 5, max_denominator=32), max_size=8))
def test_epochs_asked_for(walk, wanted):
    length, steps = walk
    found = measured_at(schedules.at_epochs([float(epoch) for epoch in wanted]), length, steps)
    assert found == first_hooks([epoch * length for epoch in wanted], steps)


@pytest.mark.parametrize("point", [0.1 * 3, 0.3, 0.3 + 1e-12, 0.3 - 1e-12])
def test_a_point_reached_up_to_rounding_is_reached(point):
    assert measured_at(schedules.at_epochs([point]), 10, range(11)) == [3]


@given(walks())
def test_every_epoch(walk):
    length, steps = walk
    assert measured_at(schedules.every_epoch(), length, steps) == list(range(0, steps[-1] + 1, length))


@given(walks())
def test_log_is_initialisation_fractions_and_every_epoch(walk):
    length, steps = walk
    fractions = [step for step in steps if step <= length]
    wanted = {0, *range(0, steps[-1] + 1, length), *first_hooks([f * length for f in LOG], fractions)}
    assert measured_at(schedules.log(), length, steps) == sorted(wanted)


LOG = [10 ** (-2 + k / 4) for k in range(8)]


def test_log_fractions():
    np.testing.assert_allclose(schedules.log_fractions(), LOG, rtol=1e-12)
    np.testing.assert_allclose(schedules.log_fractions(0.1, 2), [0.1, 10**-0.5], rtol=1e-12)
    np.testing.assert_allclose(schedules.log_fractions(0.05, 1), [0.05, 0.5], rtol=1e-12)
    assert schedules.log_fractions(1.0) == []


@given(st.floats(1e-6, 1), st.integers(1, 12))
def test_log_fractions_grow_by_one_factor_and_stop_before_1(start, per_decade):
    found = schedules.log_fractions(start, per_decade)
    assert all(fraction < 1 for fraction in found)
    np.testing.assert_allclose(np.diff(np.log10(found)), 1 / per_decade, atol=1e-9)
    if found:
        assert found[0] == start
        assert found[-1] * 10 ** (1 / per_decade) >= 1 - 1e-6


@given(walks(), st.lists(st.integers(0, 100), max_size=4), st.integers(1, 30))
def test_a_union_measures_where_one_of_its_parts_does(walk, wanted, interval):
    length, steps = walk
    one, two = schedules.at_steps(wanted), schedules.every_steps(interval)
    expected = sorted({*measured_at(one, length, steps), *measured_at(two, length, steps)})
    assert measured_at(one | two, length, steps) == expected
    assert measured_at(one | interval, length, steps) == expected
    assert measured_at(interval | one, length, steps) == expected


@given(walks(max_epochs=2), st.integers(0, 3))
def test_a_training_that_begins_later_measures_its_beginning(walk, start):
    length, steps = walk
    for schedule in (schedules.every_epoch(), schedules.log(), schedules.every_steps(1)):
        assert measured_at(schedule, length, steps, start)[0] == 0
    assert measured_at(schedules.at_epochs([start + 1]), length, steps, start) == [length]


def test_inside_an_epoch_of_unknown_length_only_steps_are_due():
    previous = Moment(0, 0.0)
    inside, end = Moment(3, math.nan), Moment(5, 1.0)
    for schedule in (schedules.every_epoch(), schedules.log(), schedules.at_epochs([0.3, 1])):
        assert not schedule.due(previous, inside)
        assert schedule.due(inside, end)
    assert schedules.at_steps([2]).due(previous, inside)
    assert not schedules.at_steps([2]).due(inside, end)
    assert not schedules.at_epochs([0.0, 2.0]).due(inside, end)
    assert schedules.at_epochs([1.4]).due(Moment(8, math.nan), Moment(10, 2.0))


@pytest.mark.parametrize(
    ("schedule", "needs"),
    [
        ("epoch", False),
        ("log", True),
        (7, True),
        ([0, 1, 2], False),
        ([0, 0.5], True),
        (schedules.at_steps([5]), True),
        (schedules.every_epoch() | [3], False),
        ("epoch" | schedules.every_steps(2), True),
    ],
)
def test_whether_anything_falls_due_inside_an_epoch(schedule, needs):
    assert as_schedule(schedule).needs_batches() is needs


@pytest.mark.parametrize(
    ("short", "same_as"),
    [
        ("epoch", schedules.every_epoch()),
        ("log", schedules.log()),
        (4, schedules.every_steps(4)),
        (np.int64(4), schedules.every_steps(4)),
        ([0.5, 2], schedules.at_epochs([0.5, 2])),
        ((0.5, 2), schedules.at_epochs([0.5, 2])),
    ],
)
def test_short_forms(short, same_as):
    steps = range(31)
    assert measured_at(as_schedule(short), 10, steps) == measured_at(same_as, 10, steps) != []
    assert as_schedule(same_as) is same_as


@pytest.mark.parametrize(
    "value",
    [
        "epochs",
        "",
        None,
        0.5,
        True,
        {1, 2},
        0,
        -3,
        [-1],
        [math.nan],
        [math.inf],
        ["1"],
        [True],
        np.arange(3.0),
        object(),
    ],
)
def test_what_is_no_schedule(value):
    with pytest.raises(InvalidInput):
        as_schedule(value)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (schedules.every_steps, (1.5,)),
        (schedules.every_steps, (True,)),
        (schedules.at_steps, ([-1],)),
        (schedules.log, (0,)),
        (schedules.log, (1.5,)),
        (schedules.log, (math.nan,)),
        (schedules.log, (0.1, 0)),
    ],
)
def test_arguments_out_of_range(make, arguments):
    with pytest.raises(InvalidInput):
        make(*arguments)


def test_a_schedule_of_ones_own():
    class Powers(Schedule):
        def due(self, previous, current):
            return any(2**k <= current.step for k in range(9) if previous is None or 2**k > previous.step)

    assert measured_at(Powers() | [3], 10, range(31)) == [1, 2, 4, 8, 16, 30]
