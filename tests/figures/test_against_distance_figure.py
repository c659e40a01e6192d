from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import NAN, binned, critical_length, measurement, no_line, series

from tfstiff.figures import distance
from tfstiff.figures.against_distance import distance_numbers
from tfstiff.records import DistanceStiffness
from tfstiff.records.words import length_in_words


def with_fit(fit, pair_set="train_train"):
    one = measurement(0, 0.0, 0, 2)
    return replace(one, pair_sets={pair_set: with_space(one[pair_set], critical_length=fit)})


def with_space(stiffness, **changes):
    return replace(stiffness, spaces={"input": replace(stiffness.spaces["input"], **changes)})


def lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def at(line, x):
    return np.interp(x, line.get_xdata(), line.get_ydata())


def test_the_line_passes_through_the_critical_length():
    drawn = lines(distance([with_fit(critical_length(0.6, -1.0))]).axes[0])
    assert set(drawn) == {"fit", "crossing", "reach"}
    assert drawn["reach"].get_xdata().tolist() == pytest.approx([0.5, 0.8])  # its interval
    assert at(drawn["fit"], 0.6) == pytest.approx(0, abs=1e-12)
    assert (*drawn["crossing"].get_xdata(), *drawn["crossing"].get_ydata()) == (0.6, 0)
    assert drawn["fit"].get_xdata().tolist() == [0.05, 0.9]  # no further than the pairs


def test_an_extrapolated_one_is_reached_by_a_dashed_line():
    axes = distance([with_fit(critical_length(1.3, -1.0))]).axes[0]
    drawn = lines(axes)
    assert drawn["extended"].get_xdata().tolist() == [0.9, 1.3]
    assert drawn["extended"].get_ydata()[1] == pytest.approx(0, abs=1e-12)
    assert drawn["crossing"].get_xdata() == [1.3]
    assert axes.get_xlim()[1] > 1.3


def test_one_below_the_smallest_distance_is_reached_from_there():
    drawn = lines(distance([with_fit(critical_length(0.02, -1.0))]).axes[0])
    assert drawn["extended"].get_xdata().tolist() == [0.02, 0.05]
    assert drawn["crossing"].get_xdata() == [0.02]


@pytest.mark.parametrize("fit", [critical_length(0.9, -0.3), critical_length(-0.3, -0.3), critical_length(0.5, 0.1)])
def test_no_mark_outside_the_possible_distances(fit):
    assert "crossing" not in lines(distance([with_fit(fit)]).axes[0])


def test_no_line_where_none_was_fitted():
    figure = distance([with_fit(no_line())])
    figure.canvas.draw()
    assert lines(figure.axes[0]) == {}


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (critical_length(0.61, -1.0), "ξ = 0.61 (0.51 to 0.81)"),
        (replace(critical_length(0.61, -1.0), interval="unavailable"), "ξ = 0.61"),
        (critical_length(1.31, -1.0), "ξ = 1.31 (1.21 to 1.51), beyond the largest distance observed (0.90)"),
        (critical_length(3.0, -1.0), "ξ = 3.00 (2.90 to 3.20), beyond 2, the largest distance there is"),
        (critical_length(-0.5, -1.0), "ξ = −0.50 (−0.60 to −0.30), below the smallest distance observed (0.05)"),
        (critical_length(0.5, 0.2), "no ξ: stiffness does not fall significantly with distance"),
        (no_line(), "no ξ: too few pairs"),
        (
            replace(no_line(), status="unavailable"),
            "no ξ: inputs that are no numbers have no distances, or none were kept",
        ),
        (replace(no_line(), status="beyond", distance_max=0.9), "ξ lies beyond the largest distance observed (0.90)"),
        (
            replace(no_line(), status="all_nonpositive", distance_min=0.1),
            "ξ lies below the smallest distance observed (0.10)",
        ),
    ],
)
def test_the_status_is_said_in_words(fit, words):
    assert length_in_words(fit, digits=2, is_brief=True) == words
    assert words in distance([with_fit(fit)]).axes[0].get_title().replace("\n", " ")


def test_dots_are_the_bins_that_hold_pairs():
    profile = binned(np.array([0, 0.2, 0.4, 0.6]), np.array([0.9, NAN, 0.1]), np.array([10, 0, 40]))
    one = with_fit(critical_length(0.6, -1.0))
    one = replace(one, pair_sets={"val_val": with_space(one["train_train"], profile=profile)})
    bars, dots, band = distance([one]).axes[0].collections
    assert len(bars.get_segments()) == 1  # only one bin has pairs enough for an error
    np.testing.assert_allclose(bars.get_segments()[0], [[0.5, 0.1 - 1.959964 * 0.02], [0.5, 0.1 + 1.959964 * 0.02]])
    assert band.get_alpha() < 0.2
    np.testing.assert_allclose(dots.get_offsets(), [[0.1, 0.9], [0.5, 0.1]])
    small, large = dots.get_sizes()
    assert 3 < small < large / 2


@pytest.mark.parametrize(("number", "shape"), [(1, (1, 3)), (3, (3, 3)), (80, (3, 4))])
def test_a_column_a_stage_a_row_a_pair_set(number, shape):
    figure = distance(series(number, 2))
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == shape


def test_regression_has_all_pairs():
    assert distance(series(3, 0)).axes[0].get_ylabel() == "train–train\nmean cosine"
    assert distance(series(3, 2)).axes[0].get_ylabel() == "train–train\nsame-class cosine"


def test_numbers_are_the_records():
    one = measurement(7, 0.5, 0.5, 2)
    header, rows = distance_numbers([one])
    row = dict(zip(header, rows[23], strict=True))  # fourth bin of the second pair set
    profile, fit = one["train_val"].distance_profile, one["train_val"].critical_length
    assert (row["step"], row["epoch"], row["pair_set"]) == (7, 0.5, "train_val")
    assert (row["bin_low"], row["bin_high"]) == (profile.edges[3], profile.edges[4])
    assert (row["mean_cosine"], row["cosine_se"], row["pairs"]) == (
        profile.mean[3],
        profile.mean_se[3],
        profile.count[3],
    )
    assert (row["low"], row["high"]) == (fit.low, fit.high)
    assert (row["critical_length"], row["status"], row["slope"]) == (fit.value, fit.status, fit.slope)


def by_similarity(make_run, fit, settings=None):
    """A run of similarities, from -0.4 to 0.9, whose critical length is of the sign of all pairs."""
    edges = np.linspace(-0.4, 0.9, 14)
    count = np.full(13, 50)
    profile = binned(edges, np.linspace(-0.5, 0.6, 13), count)
    spaces = {"input": DistanceStiffness(profile, replace(fit, metric="sign"))}
    one = measurement(0, 0.0, 0, 2)
    one = replace(one, pair_sets={"val_val": replace(one["val_val"], spaces=spaces)})
    spec = {"distance": "cosine_similarity", "distance_pairs": "all"} | (settings or {})
    return make_run([one], spec=spec)


def crossing(value, status="ok"):
    return replace(
        no_line(),
        value=value,
        status=status,
        low=value - 0.1,
        high=value + 0.05,
        interval="bounded",
        distance_min=-0.4,
        distance_max=0.9,
        method="first_crossing",
    )


def test_similarities_have_an_axis_below_zero_and_words_of_their_own(make_run):
    axes = distance(by_similarity(make_run, crossing(0.3))).axes[0]
    assert axes.get_xlim()[0] < -0.4
    assert axes.get_xlabel() == "input similarity, cos"
    assert axes.get_ylabel() == "mean sign"
    dots = axes.collections[1].get_offsets()
    np.testing.assert_allclose(dots[:, 1], np.sign(np.linspace(-0.5, 0.6, 13)) * 0.5)  # the sign, not the cosine
    drawn = lines(axes)
    assert set(drawn) == {"crossing", "reach"}  # a crossing needs no line
    assert drawn["crossing"].get_xdata() == [0.3]
    far = distance(by_similarity(make_run, crossing(NAN, "beyond"))).axes[0]
    assert "beyond the smallest similarity observed (−0.40)" in far.get_title().replace("\n", " ")


def test_a_similarity_line_is_extended_to_the_left(make_run):
    line = replace(
        critical_length(0.6, -1.0),
        intercept=0.6,
        slope=1.0,
        value=-0.6,
        status="extrapolated",
        distance_min=-0.4,
        distance_max=0.9,
    )
    drawn = lines(distance(by_similarity(make_run, line)).axes[0])
    assert drawn["extended"].get_xdata().tolist() == [-0.6, -0.4]
    assert drawn["extended"].get_ydata()[0] == pytest.approx(0, abs=1e-12)


def test_unbounded_distances_have_words_of_their_own():
    words = length_in_words(critical_length(3.0, -1.0), "l2", digits=2, is_brief=True)
    assert words == "ξ = 3.00 (2.90 to 3.20), beyond twice the largest distance observed (0.90)"
