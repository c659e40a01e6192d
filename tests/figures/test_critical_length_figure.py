import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import SPEC, series, write_run
from synthetic_sweeps import NAN, length, sweep, with_lengths

from tfstiff.errors import InvalidInput
from tfstiff.figures import NothingToDraw, critical_length
from tfstiff.figures.critical_lengths import critical_length_numbers


def points(axes, marker, label="_filled"):
    (found,) = [line for line in axes.lines if line.get_label() == label and line.get_marker() == marker]
    return found.get_xydata()


def test_columns_are_pair_sets_and_rows_time_and_loss(tmp_path):
    runs = sweep(tmp_path, seeds=(0,))
    axes = critical_length(runs).axes
    assert [panel.get_title() for panel in axes[:3]] == ["train–train", "train–validation", "validation–validation"]
    measured = runs[1].measurements
    expected = [one["val_val"].critical_length.value for one in measured]
    over_time, over_loss = points(axes[2], "s"), points(axes[5], "s")
    np.testing.assert_allclose(over_time, np.transpose([[one.epoch for one in measured], expected]))
    np.testing.assert_allclose(over_loss, np.transpose([[one.train.loss for one in measured], expected]))
    assert axes[5].get_xscale() == "log"


def test_seeds_are_drawn_as_their_mean_with_its_interval(tmp_path):
    runs = sweep(tmp_path, rates=(1e-4,), seeds=(0, 1, 2))
    figure = critical_length(runs)
    values = np.array([[one["train_val"].critical_length.value for one in run.measurements] for run in runs])
    np.testing.assert_allclose(points(figure.axes[1], "o")[:, 1], values.mean(axis=0))
    half = 4.30265 * values.std(axis=0, ddof=1) / math.sqrt(3)  # t(0.975, 2)
    band = figure.axes[1].collections[0].get_paths()[0].get_extents()
    ends = [(values.mean(axis=0) - half).min(), (values.mean(axis=0) + half).max()]
    np.testing.assert_allclose([band.y0, band.y1], ends, rtol=1e-5)
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "0.0001 (3 runs)" in labels
    assert "95 % interval over seeds, or of a single run" in labels


def test_seeds_are_compared_at_the_times_that_all_measured(tmp_path):
    runs = sweep(tmp_path, rates=(1e-4,), seeds=(0,), number=5)
    fewer = [run_measurement for index, run_measurement in enumerate(runs[0].measurements) if index != 2]
    runs.append(write_run(tmp_path / "fewer", fewer, spec=SPEC | {"learning_rate": 1e-4}))
    assert points(critical_length(runs).axes[0], "o")[:, 0].tolist() == [one.epoch for one in fewer]


@pytest.mark.parametrize("number", [1, 3, 80])
def test_a_single_run_of_any_length_is_drawn(tmp_path, number):
    measured = series(number, 2)
    statuses = [("ok", 0.5), ("extrapolated", 1.5), ("beyond", NAN), ("no_decay", NAN), ("all_nonpositive", -0.1)]
    lengths = [length(statuses[i % 5][1], statuses[i % 5][0]) for i in range(len(measured))]
    run = write_run(tmp_path / "run", with_lengths(measured, lengths))
    figure = critical_length([run])
    figure.canvas.draw()
    drawn = sum(len(line.get_xdata()) for line in figure.axes[0].lines if line.get_label() != "_axis break")
    assert drawn == sum(found.status != "no_decay" for found in lengths)  # of which nothing is known


def test_a_diverged_loss_is_left_out_of_the_losses_only(tmp_path):
    measured = with_lengths(series(3, 2), [length(0.5)] * 3)
    measured[2] = replace(measured[2], train=replace(measured[2].train, loss=math.inf))
    axes = critical_length([write_run(tmp_path / "run", measured)]).axes
    assert len(points(axes[0], "o")) == 3
    assert len(points(axes[3], "o")) == 2


@pytest.mark.parametrize("setting", ["arch", "dataset", "batch_size", "distance", "space"])
def test_runs_that_differ_in_more_are_not_compared(tmp_path, setting):
    runs = sweep(tmp_path / "a", rates=(1e-4,), seeds=(0,), **{setting: "one"})
    runs += sweep(tmp_path / "b", rates=(1e-3,), seeds=(0,), **{setting: "other"})
    with pytest.raises(NothingToDraw, match=rf"differ in {setting} \(one, other\)"):
        critical_length(runs)


def test_a_run_that_has_just_begun_is_left_out(tmp_path):
    runs = sweep(tmp_path, rates=(1e-4,), seeds=(0,))
    empty = write_run(tmp_path / "empty", [], status="running")
    assert len(points(critical_length([empty, *runs]).axes[0], "o")) == 5
    with pytest.raises(InvalidInput, match="None of the runs"):
        critical_length([empty])


def test_the_learning_rate_comes_from_the_measurements_where_no_settings_name_it(tmp_path):
    run = write_run(tmp_path / "bare", series(2, 2), spec={})
    assert critical_length_numbers([run])[1][0][0] == 8e-4
    nothing = [replace(one, learning_rate=NAN) for one in series(2, 2)]
    with pytest.raises(NothingToDraw, match="no single learning rate"):
        critical_length([write_run(tmp_path / "unknown", nothing, spec={})])


def test_numbers_are_the_records_of_every_run(tmp_path):
    runs = sweep(tmp_path)
    header, rows = critical_length_numbers(runs)
    assert len(rows) == 4 * 5 * 3
    row = dict(zip(header, next(r for r in rows if r[1:3] == ["lr0.001-s1", 8] and r[5] == "val_val"), strict=True))
    one = runs[3].measurements[1]
    assert row["critical_length"] == one["val_val"].critical_length.value
    assert (row["learning_rate"], row["train_loss"], row["status"]) == (1e-3, one.train.loss, "ok")
