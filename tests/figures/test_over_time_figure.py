import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from synthetic_runs import series

from tfstiff.figures import NothingToDraw, curves, log_curves
from tfstiff.figures.over_time import curves_numbers
from tfstiff.figures.style import HALF_LINES, PAIR_SET_LINES
from tfstiff.records.scores import ExampleScores

KINDS = ("within", "between")


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize("number", [3, 80])
def test_lines_are_the_measured_scalars(number):
    measured = series(number, 2)
    loss, within_sign, between_sign, accuracy, within_cosine, between_cosine = curves(measured).axes
    np.testing.assert_array_equal(line(loss, "validation loss").get_ydata(), [m.validation.loss for m in measured])
    np.testing.assert_array_equal(line(accuracy, "training accuracy").get_ydata(), [m.train.accuracy for m in measured])
    for axes, metric, kind in (
        (within_sign, "sign", "within"),
        (between_sign, "sign", "between"),
        (within_cosine, "cosine", "within"),
        (between_cosine, "cosine", "between"),
    ):
        for pair_set in ("train_train", "train_val", "val_val"):
            drawn = line(axes, pair_set)
            np.testing.assert_array_equal(drawn.get_xdata(), [m.epoch for m in measured])
            np.testing.assert_array_equal(
                drawn.get_ydata(), [getattr(getattr(m[pair_set], metric), kind) for m in measured]
            )


def test_pair_sets_differ_in_colour_dash_and_marker():
    drawn = [line(curves(series(3, 2)).axes[1], name) for name in ("train_train", "train_val", "val_val")]
    for look in ("get_color", "get_marker"):
        assert len({getattr(one, look)() for one in drawn}) == 3
    assert len({str(one._dash_pattern) for one in drawn}) == 3


def test_regression_has_means_over_all_pairs():
    measured = series(3, 0)
    loss, sign, cosine = curves(measured).axes
    np.testing.assert_array_equal(line(sign, "val_val").get_ydata(), [m["val_val"].mean_sign for m in measured])
    np.testing.assert_array_equal(line(cosine, "val_val").get_ydata(), [m["val_val"].mean_cosine for m in measured])
    assert "Loss" in loss.get_title()


def test_a_diverged_loss_leaves_a_gap():
    measured = series(3, 2)
    measured[2] = replace(measured[2], train=replace(measured[2].train, loss=math.inf))
    figure = curves(measured)
    figure.canvas.draw()
    drawn = line(figure.axes[0], "training loss").get_ydata()
    assert np.isnan(drawn[2])
    assert np.isfinite(drawn[:2]).all()


def test_numbers_are_the_scalars_and_their_errors():
    measured = series(3, 2)
    header, rows = curves_numbers(measured)
    table = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    assert table["stiffness_sign_between_val_val"] == [m["val_val"].sign.between for m in measured]
    assert table["stiffness_sign_between_val_val_se"] == [0.01] * 3
    share = measured[1].train.accuracy
    assert table["train_accuracy_se"][1] == pytest.approx(math.sqrt(share * (1 - share) / 250))


def band(axes, color):
    (found,) = [c for c in axes.collections if np.allclose(c.get_facecolor()[0][:3], to_rgb(color))]
    return found.get_paths()[0].get_extents()


def test_bands_are_the_95_per_cent_intervals():
    measured = series(1, 2) * 2  # a band of constant width
    measured[1] = replace(measured[1], step=5, epoch=1.0)
    extent = band(curves(measured).axes[1], PAIR_SET_LINES["train_train"]["color"])
    value = measured[0]["train_train"].sign.within
    np.testing.assert_allclose(
        [extent.y0, extent.y1], [value - 1.97190 * 0.02, value + 1.97190 * 0.02], rtol=1e-5
    )  # t(0.975, 200)


def test_the_band_of_a_loss_is_that_of_the_mean_of_the_examples():
    losses = np.random.default_rng(0).exponential(size=250)
    one = series(1, 2)[0]
    scores = ExampleScores(losses, losses, None)
    measured = [
        replace(one, step=step, epoch=float(step), train=replace(one.train, loss=losses.mean(), scores=scores))
        for step in (0, 1)
    ]
    extent = band(curves(measured).axes[0], HALF_LINES["train"]["color"])
    se = losses.std(ddof=1) / math.sqrt(250)
    np.testing.assert_allclose(
        [extent.y0, extent.y1], [losses.mean() - 1.96954 * se, losses.mean() + 1.96954 * se], rtol=1e-5
    )  # t(0.975, 249)


@pytest.mark.parametrize("number", [3, 80])
def test_log_curves_have_a_column_a_pair_set_and_a_row_a_metric(number):
    measured = series(number, 2)
    axes = log_curves(measured).axes
    panels = [(metric, pair_set) for metric in ("sign", "cosine") for pair_set in measured[0].pair_sets]
    for panel, (metric, pair_set) in zip(axes, panels, strict=True):
        for kind in ("within", "between"):
            expected = [getattr(getattr(m[pair_set], metric), kind) for m in measured]
            np.testing.assert_array_equal(line(panel, kind).get_ydata(), expected)
        assert panel.get_xscale() == "symlog"


def test_log_curves_are_logarithmic_however_short_the_training_is():
    short = [replace(m, epoch=epoch) for m, epoch in zip(series(3, 2), (0.0, 2.0, 3.0), strict=True)]
    panel = log_curves(short).axes[0]
    labels = [panel.xaxis.get_major_formatter()(tick, 0) for tick in panel.get_xticks()]
    assert labels == ["init", "2", "3"]
    assert curves(short).axes[0].get_xscale() == "linear"


def test_log_curves_of_regression_have_the_mean():
    measured = series(3, 0)
    panel = log_curves(measured).axes[0]
    np.testing.assert_array_equal(line(panel, "mean").get_ydata(), [m["train_train"].mean_sign for m in measured])


def test_time_is_logarithmic_where_it_spans_decades_and_values_are_named():
    axes = curves(series(5, 2)).axes
    assert {panel.get_xscale() for panel in axes} == {"symlog"}
    assert [panel.get_ylabel() for panel in axes] == ["loss", *["mean sign"] * 2, "accuracy", *["mean cosine"] * 2]


def test_what_lies_on_one_another_is_seen():
    drawn = [line(curves(series(3, 2)).axes[1], name) for name in ("train_train", "train_val", "val_val")]
    for size in ([one.get_markersize() for one in drawn], [one.get_linewidth() for one in drawn]):
        assert size == sorted(size, reverse=True)  # the ones above are smaller
        assert len(set(size)) == 3


def test_a_single_measurement_is_its_values_with_their_intervals():
    (one,) = series(1, 2)
    (axes,) = curves([one]).axes
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["sign within classes", "sign between classes"]
    drawn = line(axes, "train_val")
    expected = [getattr(getattr(one["train_val"], metric), kind) for metric in ("sign", "cosine") for kind in KINDS]
    np.testing.assert_array_equal(drawn.get_xdata(), expected)
    bars = axes.collections[1].get_segments()  # of train_val
    half = 1.97190 * 0.02  # t(0.975, 200)
    np.testing.assert_allclose(bars[0][:, 0], [expected[0] - half, expected[0] + half], rtol=1e-5)
    assert "training loss 2.300, validation loss 2.300" in axes.get_title()
    with pytest.raises(NothingToDraw, match="no course"):
        log_curves([one])


def test_in_a_column_pair_sets_are_the_rows():
    measured = series(4, 2)
    axes = log_curves(measured, width="column").axes
    assert [panel.get_title() for panel in axes[:2]] == ["mean sign", "mean cosine"]
    expected = [m["train_val"].cosine.within for m in measured]
    np.testing.assert_array_equal(line(axes[3], "within").get_ydata(), expected)
    grid = curves(measured, width="column").axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (3, 2)
