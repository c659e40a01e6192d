import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import NAN, no_line
from synthetic_sweeps import length

from tfstiff.figures.reaches import (
    Reach,
    draw_reaches,
    middle_of,
    reach_handles,
    reach_of,
    set_reach_axis,
    shade_beyond,
)
from tfstiff.figures.style import DistanceKind
from tfstiff.stiffness.critical_length import SCALES

DISTANCE = DistanceKind("cosine", "distance", "same-class", SCALES["cosine"])
SIMILARITY = DistanceKind("cosine_similarity", "similarity", "mean", SCALES["cosine_similarity"])
LOOK = {"color": "#0072B2", "marker": "s"}
INFINITY = math.inf


def reach(value, observed=True, furthest=0.9):
    return Reach(value, value - 0.1, value + 0.1, observed, furthest)


@pytest.mark.parametrize(
    ("found", "value", "observed"),
    [
        (length(0.6), 0.6, True),
        (length(1.4, "extrapolated"), 1.4, False),
        (length(5.0, "beyond"), 5.0, False),
        (length(NAN, "beyond"), INFINITY, False),
        (length(3.0, "no_decay"), INFINITY, False),
        (length(-0.4, "all_nonpositive"), -INFINITY, False),
        (length(NAN, "all_nonpositive"), -INFINITY, False),
        (no_line(), NAN, False),
        (length(NAN, "unavailable"), NAN, False),
    ],
)
def test_what_was_not_observed_is_told_from_what_was(found, value, observed):
    drawn = reach_of(found, DISTANCE)
    np.testing.assert_equal(drawn.value, value)
    assert drawn.observed == observed
    assert math.isfinite(drawn.low) == math.isfinite(value)


def test_a_similarity_becomes_a_distance():
    drawn = reach_of(length(0.7), SIMILARITY)
    assert (drawn.value, drawn.low, drawn.high) == pytest.approx((0.3, 0.2, 0.4))
    assert drawn.furthest == pytest.approx(0.95)  # of the smallest similarity, 0.05


@pytest.mark.parametrize(
    ("values", "middle", "low", "high"),
    [
        ([0.3, 0.1, 0.2], 0.2, 0.1, 0.3),
        ([0.1, 0.4], 0.25, 0.1, 0.4),
        ([0.1, 0.2, INFINITY], 0.2, 0.1, INFINITY),
        ([0.1, INFINITY, INFINITY], INFINITY, 0.1, INFINITY),
        ([0.1, INFINITY], INFINITY, 0.1, INFINITY),
        ([-INFINITY, 0.3], -INFINITY, -INFINITY, 0.3),
        ([-INFINITY, INFINITY], INFINITY, -INFINITY, INFINITY),
        ([NAN, 0.3, 0.5], 0.4, 0.3, 0.5),
    ],
)
def test_runs_at_an_edge_have_their_place_in_the_median(values, middle, low, high):
    found = middle_of([reach(value, observed=math.isfinite(value)) for value in values])
    assert (found.value, found.low, found.high) == pytest.approx((middle, low, high))
    assert found.observed == math.isfinite(middle)


def test_a_single_run_is_itself_and_none_is_nothing():
    one = reach(0.5)
    assert middle_of([one]) is one
    assert math.isnan(middle_of([reach(NAN), reach(NAN)]).value)


def test_a_median_that_hangs_on_an_extrapolation_is_not_observed():
    assert not middle_of([reach(0.5), reach(1.2, observed=False)]).observed
    assert middle_of([reach(0.5), reach(0.6), reach(1.2, observed=False)]).observed


def drawn_points(reaches, joined=True):
    axes = Figure().subplots()
    set_reach_axis(axes, reaches)
    draw_reaches(axes, range(len(reaches)), reaches, LOOK, joined=joined)
    return axes, {line.get_label()[1:]: line for line in axes.lines}


def test_each_kind_of_point_looks_different():
    reaches = [reach(0.5), reach(1.2, False), reach(INFINITY, False), reach(-INFINITY, False), reach(NAN, False)]
    axes, lines = drawn_points(reaches)
    assert {name: line.get_xdata().tolist() for name, line in lines.items()} == {
        "filled": [0],
        "hollow": [1],
        "upper edge": [2],
        "lower edge": [3],
    }
    looks = {(line.get_marker(), str(line.get_markerfacecolor())) for line in lines.values()}
    assert looks == {("s", LOOK["color"]), ("s", "white"), ("^", "white"), ("v", "white")}
    assert 0 < lines["lower edge"].get_ydata()[0] < 0.1 < 0.9 < lines["upper edge"].get_ydata()[0] < 1
    assert [handle.get_label() for handle in reach_handles([(axes, reaches)], several=False)] == [
        "among the distances observed",
        "extrapolated past the distances observed",
        "off the scale, or no fall to 0",
        "0 or less even for the nearest pairs",
        "95 % interval",
    ]


def test_lines_are_solid_only_between_what_was_observed():
    reaches = [reach(0.5), reach(0.6), reach(1.2, False), reach(INFINITY, False), reach(0.5), reach(0.4)]
    axes, _ = drawn_points(reaches)
    segments = {
        collection.get_label(): [segment[:, 0].tolist() for segment in collection.get_segments()]
        for collection in axes.collections
        if str(collection.get_label()).startswith(("_observed", "_extended"))
    }
    assert segments == {"_observed": [[0, 1], [4, 5]], "_extended": [[1, 2]]}


def test_a_far_one_goes_to_the_edge_and_does_not_flatten_the_others():
    axes, lines = drawn_points([reach(0.5), reach(50.0, False)])
    assert axes.get_ylim()[1] < 1
    assert lines["upper edge"].get_xdata().tolist() == [1]


def test_a_decade_makes_the_axis_logarithmic():
    assert drawn_points([reach(0.5), reach(0.6)])[0].get_yscale() == "linear"
    assert drawn_points([reach(0.5), reach(8.0, False)])[0].get_yscale() == "log"


def test_what_lies_beyond_is_shaded_in_two_steps():
    axes = Figure().subplots()
    reaches = [reach(0.5), reach(3.0, False)]
    set_reach_axis(axes, reaches)
    shade_beyond(axes, reaches, DISTANCE)
    assert [patch.get_y() for patch in axes.patches] == [0.9, 2.0]
    labels = [handle.get_label() for handle in reach_handles([(axes, reaches)], several=True)]
    assert labels[-3:] == [
        "range of the runs, or a single one's 95 % interval",
        "beyond the largest distance observed",
        "beyond 2, the largest distance there is",
    ]
