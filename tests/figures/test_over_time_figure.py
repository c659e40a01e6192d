import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import series

from tfstiff.figures import curves
from tfstiff.figures.over_time import curves_numbers


def line(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.mark.parametrize("number", [1, 3, 80])
def test_lines_are_the_measured_scalars(number):
    measured = series(number, 2)
    loss, within_sign, between_sign, accuracy, within_cosine, between_cosine = curves(measured).axes
    np.testing.assert_array_equal(line(loss, "validation loss").get_ydata(), [m.validation.loss for m in measured])
    np.testing.assert_array_equal(line(accuracy, "train accuracy").get_ydata(), [m.train.accuracy for m in measured])
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
    drawn = line(figure.axes[0], "train loss").get_ydata()
    assert np.isnan(drawn[2])
    assert np.isfinite(drawn[:2]).all()


def test_numbers_are_the_scalars():
    measured = series(3, 2)
    header, rows = curves_numbers(measured)
    column = header.index("stiffness_sign_between_val_val")
    assert [row[column] for row in rows] == [m["val_val"].sign.between for m in measured]
