import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfstiff import at_training_loss, load_run
from tfstiff.analysis.loss_level import at_loss_level, checked_levels
from tfstiff.errors import InvalidInput
from tfstiff.records import HalfSummary, Measurement, RunWriter


def test_a_value_that_is_linear_in_the_logarithm_of_the_loss_is_found_exactly():
    losses = np.array([2.3, 1.7, 0.9, 0.4, 0.05])
    for level in (2.0, 1.0, 0.9, 0.3, 0.05, 0.06):
        found = at_loss_level(losses, 3 - 2 * np.log(losses), level)
        assert found.value == pytest.approx(3 - 2 * math.log(level))
        assert found.status == "ok"


def test_the_formula_by_hand():
    # Half-way from 1 to 1/4 on a logarithmic scale is 1/2.
    found = at_loss_level([4, 1, 0.25], [0, 10, 20], 0.5, se=[9, 1, 3])
    assert (found.value, found.se, found.status) == (pytest.approx(15), pytest.approx(2), "ok")


def test_the_first_crossing_counts_whatever_the_loss_does_later():
    found = at_loss_level([2, 1, 2, 0.5, 3], [0, 1, 5, 6, 7], 1.0)
    assert found.value == 1
    later = at_loss_level([2, 1, 4, 0.25, 3], [0, 1, 2, 4, 7], 0.5)  # between the third and the fourth
    assert later.value == pytest.approx(2 + 2 * math.log(8) / math.log(16))


@pytest.mark.parametrize(
    ("losses", "level", "status"),
    [
        ([2, 1, 0.5], 0.4, "not_reached"),
        ([], 0.4, "not_reached"),
        ([math.nan, math.inf], 0.4, "not_reached"),
        ([0.3, 0.2], 0.4, "begins_below"),
        ([math.nan, 0.3], 0.4, "begins_below"),
        ([0.4, 0.2], 0.4, "ok"),
    ],
)
def test_where_there_is_nothing_to_interpolate(losses, level, status):
    found = at_loss_level(losses, np.arange(len(losses)), level)
    assert found.status == status
    assert math.isnan(found.value) == (status != "ok")


def test_a_value_that_is_missing_beside_the_crossing():
    assert at_loss_level([2, 1, 0.5], [0, math.nan, 1], 0.7).status == "undefined"
    assert at_loss_level([2, 1, 0.5], [0, math.nan, 1], 0.5).value == 1  # at a measurement, only that one counts
    assert at_loss_level([2, 1, 0.5], [math.nan, 2, 1], 0.5).value == 1
    assert at_loss_level([2, math.nan, 0.5], [4, math.nan, 2], 1.0).value == pytest.approx(3)


@pytest.mark.parametrize(("losses", "level"), [([1, 0], 0.25), ([1, -1], 0.5), ([1, -1], -0.5), ([3, -1], 0)])
def test_losses_that_are_not_above_zero_are_interpolated_linearly(losses, level):
    assert at_loss_level(losses, [10 * loss for loss in losses], level).value == pytest.approx(10 * level)


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=12, unique=True), st.data())
def test_the_value_lies_between_its_neighbours_and_moves_with_the_level(losses, data):
    losses = sorted(losses, reverse=True)
    low, high = sorted(data.draw(st.floats(losses[-1], losses[0])) for _ in range(2))
    steps = np.arange(len(losses))
    early, late = at_loss_level(losses, steps, high), at_loss_level(losses, steps, low)
    assert early.status == late.status == "ok"
    assert 0 <= early.value <= late.value <= steps[-1]
    rounding = 1 + 1e-12  # of the logarithms
    assert losses[math.ceil(late.value)] / rounding <= low <= losses[math.floor(late.value)] * rounding


@given(st.floats(-1, 1), st.floats(0.01, 2), st.floats(0.01, 2), st.floats(0.02, 0.98))
def test_the_standard_error_bounds_that_of_any_correlation(correlation, one, two, place):
    level = math.exp((1 - place) * math.log(2) + place * math.log(1))
    found = at_loss_level([2, 1], [0, 0], level, se=[one, two])
    a, b = (1 - place) * one, place * two
    assert found.se >= math.sqrt(max(a * a + b * b + 2 * correlation * a * b, 0)) - 1e-9
    assert found.se == pytest.approx(a + b)


@pytest.mark.parametrize("level", [math.nan, math.inf, "0.1", None, True])
def test_levels_that_cannot_be(level):
    with pytest.raises(InvalidInput, match="finite number"):
        at_loss_level([2, 1], [0, 1], level)


@pytest.mark.parametrize(("values", "se"), [([0], None), ([0, 1], [0]), ([[0, 1]], None)])
def test_series_of_different_lengths(values, se):
    with pytest.raises(InvalidInput, match="same length"):
        at_loss_level([2, 1], values, 1.5, se)


def test_checked_levels():
    assert checked_levels(0.1) == (0.1,)
    assert checked_levels([0.1, 1, 0.3]) == (1.0, 0.3, 0.1)
    assert checked_levels(np.array([0.5, 2.0])) == (2.0, 0.5)
    assert checked_levels(()) == ()
    with pytest.raises(InvalidInput, match="twice"):
        checked_levels((0.1, 0.1))


def measurement(step, loss):
    half = HalfSummary(2, loss, 0.5, 0, 0)
    return Measurement(half, dataclasses.replace(half, loss=2 * loss), {}, step=step, epoch=step / 10)


def test_a_whole_run(tmp_path):
    writer = RunWriter(tmp_path)
    measurements = [measurement(step, loss) for step, loss in ((0, 4.0), (10, 1.0), (20, 0.25))]
    for one in measurements:
        writer.add(one, 0.1)
    for source in (measurements, load_run(tmp_path)):
        found = at_training_loss(source, 0.5)
        assert found["step"].value == pytest.approx(15)
        assert found["epoch"].value == pytest.approx(1.5)
        assert found["validation_loss"].value == pytest.approx((2 + 0.5) / 2)
        assert "train_loss" not in found
        assert found["learning_rate"].status == "undefined"
        assert at_training_loss(source, 0.1)["step"].status == "not_reached"


def test_a_run_without_a_measurement():
    with pytest.raises(InvalidInput, match="no measurement"):
        at_training_loss([], 0.5)
