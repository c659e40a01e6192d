from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import binned, critical_length, measurement, series

from tfstiff.figures import NothingToDraw, layers
from tfstiff.figures.by_layer import layers_numbers, spread
from tfstiff.records import DistanceStiffness


def with_spaces(one, names):
    edges = np.linspace(0, 1, 6)
    spaces = {
        name: DistanceStiffness(
            binned(edges, 0.9 - 0.1 * depth - edges[:5], np.array([50, 60, 70, 40, 10])),
            critical_length(0.9 - 0.1 * depth, -1.0),
        )
        for depth, name in enumerate(names)
    }
    changed = {pair_set: replace(stiffness, spaces=spaces) for pair_set, stiffness in one.pair_sets.items()}
    return replace(one, pair_sets=changed)


def lines(axes, color):
    return [line for line in axes.lines if line.get_color() == color]


def test_a_line_is_a_space_through_the_bins_that_have_an_error():
    measured = [with_spaces(one, ["input", "model/dense"]) for one in series(3, 2)]
    figure = layers(measured)
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (2, 3)  # the first and the last measurement, three pair sets
    first, second = (line for line in figure.axes[0].lines if len(line.get_xdata()) == 4)
    np.testing.assert_allclose(first.get_xydata(), [[x, 1.0 - x] for x in (0.1, 0.3, 0.5, 0.7)])
    np.testing.assert_allclose(second.get_ydata() - first.get_ydata(), -0.1)
    assert first.get_marker() != second.get_marker()
    assert first.get_color() != second.get_color()
    crossings = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_label() == "_crossing"]
    assert crossings == pytest.approx([0.9, 0.8])
    texts = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
    assert texts[0] == ["input", "dense"]
    assert "critical length ξ, with its 95 % interval" in texts[1]


def test_each_critical_length_has_its_interval_apart_from_the_others():
    figure = layers([with_spaces(measurement(0, 0.0, 0, 2), ["input", "dense"])])
    figure.canvas.draw()
    axes = figure.axes[0]
    reaches = [line for line in axes.lines if line.get_label() == "_reach"]
    ends = [line.get_xdata() for line in reaches]  # from 0.1 below to 0.2 above, among distances up to 0.9
    np.testing.assert_allclose(ends, [[0.8, 0.9], [0.7, 0.9]])
    heights = [line.get_transform().transform((0.8, 0))[1] for line in reaches]
    assert heights[1] - heights[0] == pytest.approx(4 * figure.dpi / 72)
    assert np.mean(heights) == pytest.approx(axes.transData.transform((0.8, 0))[1])


def test_a_critical_length_that_was_not_observed_has_no_mark():
    one = measurement(0, 0.0, 0, 2)
    spaces = {"input": critical_length(1.5, -1.0), "dense": critical_length(0.5, 0.1)}
    profile = next(iter(one["val_val"].spaces.values())).profile
    stiffness = replace(one["val_val"], spaces={k: DistanceStiffness(profile, v) for k, v in spaces.items()})
    figure = layers([replace(one, pair_sets={"val_val": stiffness})])
    assert not [line for line in figure.axes[0].lines if line.get_label() == "_crossing"]


def test_one_pair_set_has_its_stages_side_by_side():
    measured = [with_spaces(one, ["input", "dense"]) for one in series(3, 2)]
    measured = [replace(one, pair_sets={"val_val": one["val_val"]}) for one in measured]
    grid = layers(measured).axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (1, 2)


def test_many_layers_are_thinned_out_and_that_is_said():
    figure = layers([with_spaces(measurement(0, 0.0, 0, 2), ["input", *(f"layer_{i}" for i in range(30))])])
    assert "10 of 31 spaces" in figure.get_suptitle()
    assert spread(["a", "b", "c", "d", "e"], 3) == ["a", "c", "e"]
    assert spread(["a", "b"], 3) == ["a", "b"]


def test_the_inputs_alone_are_left_out_with_the_option_to_rerun_with():
    with pytest.raises(NothingToDraw, match="--space all"):
        layers(series(3, 2))


def test_numbers_hold_every_space():
    measured = [with_spaces(one, ["input", "dense"]) for one in series(3, 2)]
    header, rows = layers_numbers(measured)
    assert len(rows) == 2 * 3 * 2 * 5  # stages, pair sets, spaces, bins
    row = dict(zip(header, rows[5], strict=True))
    assert (row["space"], row["mean_cosine"], row["critical_length"]) == ("dense", 0.8, pytest.approx(0.8))
