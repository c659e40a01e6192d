import math
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import NAN, no_line
from synthetic_sweeps import length

from tfstiff.analysis.comparison import over_seeds
from tfstiff.analysis.comparison.observations import censored
from tfstiff.figures.reaches import (
    Reach,
    draw_reaches,
    furthest_distance,
    nested,
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


def reach(value, observed=True):
    return Reach(value, value, value - 0.1, value + 0.1, observed)


BEYOND, BELOW = Reach(0.9, INFINITY, NAN, NAN, False), Reach(-INFINITY, 0.05, NAN, NAN, False)
NOTHING = Reach(NAN, NAN, NAN, NAN, False)


@pytest.mark.parametrize(
    ("found", "ends", "observed"),
    [
        (length(0.6), (0.6, 0.6), True),
        (length(1.4, "extrapolated"), (0.9, INFINITY), False),
        (length(NAN, "beyond"), (0.9, INFINITY), False),
        (length(-0.4, "all_nonpositive"), (-INFINITY, 0.05), False),
        (length(3.0, "no_decay"), (NAN, NAN), False),
        (no_line(), (NAN, NAN), False),
    ],
)
def test_what_was_not_observed_is_told_from_what_was(found, ends, observed):
    drawn = reach_of([censored(found)], DISTANCE)
    np.testing.assert_equal((drawn.low, drawn.high), ends)
    assert drawn.observed == observed
    assert math.isfinite(drawn.interval_low) == observed


def test_an_extrapolated_one_that_is_taken_has_its_interval_and_is_not_observed():
    drawn = reach_of([censored(length(1.4, "extrapolated"), extrapolate=True)], DISTANCE)
    assert (drawn.low, drawn.high, drawn.interval_low, drawn.observed) == (1.4, 1.4, pytest.approx(1.3), False)


def test_a_similarity_becomes_a_distance():
    drawn = reach_of([censored(length(0.7), is_similarity=True)], SIMILARITY)
    assert (drawn.low, drawn.interval_low, drawn.interval_high) == pytest.approx((0.3, 0.2, 0.4))
    drawn = reach_of([censored(length(0.01, "extrapolated"), is_similarity=True)], SIMILARITY)
    assert (drawn.low, drawn.high) == (pytest.approx(0.95), INFINITY)  # below the smallest similarity, 0.05
    assert furthest_distance([length(0.7), length(0.2)], SIMILARITY) == pytest.approx(0.95)


def test_several_runs_are_what_the_comparison_says():
    known = [censored(length(value)) for value in (0.3, 0.4, 0.8)]
    summary = over_seeds(known)
    drawn = reach_of(known, DISTANCE)
    assert (drawn.low, drawn.high) == summary.center == (summary.mean, summary.mean)
    assert (drawn.interval_low, drawn.interval_high) == (summary.mean_low, summary.mean_high)
    some = [*known, censored(length(1.4, "extrapolated"))]
    drawn = reach_of(some, DISTANCE)
    assert (drawn.low, drawn.high) == over_seeds(some).center == pytest.approx((0.6, 0.6))
    assert drawn.observed


def drawn_points(reaches, joined=True, furthest=0.9):
    axes = Figure().subplots()
    set_reach_axis(axes, reaches, furthest)
    draw_reaches(axes, range(len(reaches)), reaches, LOOK, joined=joined)
    return axes, {line.get_label()[1:]: line for line in axes.lines}


def test_triangles_of_several_lines_at_one_place_are_seen_around_each_other():
    axes = Figure().subplots()
    axes.set_ylim(0, 2)
    looks = nested([LOOK] * 4)
    for look in looks:
        draw_reaches(axes, [1.0], [BEYOND], look)
    sizes = [line.get_markersize() for line in axes.lines]
    assert sizes == sorted(sizes, reverse=True)
    assert min(first - second for first, second in pairwise(sizes)) > 1.5
    assert nested([LOOK] * 20)[0]["bound"] < 12  # points: however many there are


def test_each_kind_of_point_looks_different():
    reaches = [reach(0.5), reach(1.2, False), BEYOND, BELOW, NOTHING]
    axes, lines = drawn_points(reaches)
    assert {name: line.get_xydata().tolist() for name, line in lines.items()} == {
        "filled": [[0, 0.5]],
        "hollow": [[1, 1.2]],
        "lower bound": [[2, 0.9]],
        "upper bound": [[3, 0.05]],
    }
    looks = {(line.get_marker(), str(line.get_markerfacecolor())) for line in lines.values()}
    assert looks == {("s", LOOK["color"]), ("s", "white"), ("^", "white"), ("v", "white")}
    assert [handle.get_label() for handle in reach_handles([(axes, reaches)], several=False)] == [
        "among the distances observed",
        "extrapolated past the distances observed",
        "at least this: beyond the distances observed",
        "at most this: below the distances observed",
        "95 % interval",
    ]


def test_lines_are_solid_only_between_what_was_observed():
    reaches = [reach(0.5), reach(0.6), reach(1.2, False), BEYOND, reach(0.5), reach(0.4)]
    axes, _ = drawn_points(reaches)
    segments = {
        collection.get_label(): [segment[:, 0].tolist() for segment in collection.get_segments()]
        for collection in axes.collections
        if str(collection.get_label()).startswith(("_observed", "_extended"))
    }
    assert segments == {"_observed": [[0, 1], [4, 5]], "_extended": [[1, 2]]}


def test_a_far_one_goes_to_the_edge_and_does_not_flatten_the_others():
    axes, lines = drawn_points([reach(0.5), reach(50.0, False)])
    top = axes.get_ylim()[1]
    assert top < 1
    assert lines["lower bound"].get_xydata().tolist() == [[1, top]]


def test_a_decade_makes_the_axis_logarithmic():
    assert drawn_points([reach(0.5), reach(0.6)])[0].get_yscale() == "linear"
    assert drawn_points([reach(0.5), reach(8.0, False)])[0].get_yscale() == "log"


def test_what_lies_beyond_is_shaded_in_two_steps():
    axes = Figure().subplots()
    reaches = [reach(0.5), reach(3.0, False)]
    set_reach_axis(axes, reaches, 0.9)
    shade_beyond(axes, 0.9, DISTANCE)
    assert [patch.get_y() for patch in axes.patches] == [0.9, 2.0]
    labels = [handle.get_label() for handle in reach_handles([(axes, reaches)], several=True)]
    assert labels[-3:] == [
        "95 % interval over seeds, or of a single run",
        "beyond the largest distance observed",
        "beyond 2, the largest distance there is",
    ]
