import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import measurement, series

from tfstiff.analysis.readings import times_of
from tfstiff.figures.stages import choose_stages, set_time_axis, stage_title
from tfstiff.records.words import moment


def epochs(measurements):
    return [m.epoch for m in measurements]


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        ([0], [0]),
        ([0, 3], [0, 3]),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 0.001, 0.01, 0.05, 0.3, 0.9, 4, 20], [0, 0.05, 0.9, 20]),
        ([0, 0.2, 0.4, 1, 5, 10], [0, 0.2, 1, 10]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 1, 3, 9]),  # nothing before epoch 1: a middle one of the later
        ([5, 6, 7, 8, 9], [5, 6, 7, 9]),
        ([0, 0.001, 0.01, 0.1, 0.2], [0, 0.01, 0.1, 0.2]),  # less than an epoch
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_stages_are_the_telling_ones(by_epoch, available, chosen):
    assert epochs(choose_stages(by_epoch(*available))) == chosen


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_stages_keep_the_limit_and_the_last(by_epoch, limit):
    stages = choose_stages(by_epoch(0, 0.05, 0.3, 1, 5, 20), limit)
    assert len(stages) == limit
    assert stages[-1].epoch == 20


def test_many_measurements_give_distinct_stages():
    stages = choose_stages(series(80, 2))
    assert len({m.step for m in stages}) == 4
    assert stages[0].step == 0
    assert 0.03 < stages[1].epoch < 0.08
    assert 0.8 < stages[2].epoch < 1.25
    assert stages[3].epoch == 20


def test_nothing_is_ticked_between_the_initialisation_and_the_first_time():
    axes = Figure().subplots()
    set_time_axis(axes, [0, 0.0096, 0.1, 7], "epoch")
    ticks = [*axes.get_xticks(), *axes.get_xticks(minor=True)]
    assert sorted(tick for tick in ticks if tick < 0.0096) == [0]
    assert {0.02, 0.1, 0.5, 7} <= set(np.round(ticks, 9))


def test_large_times_are_written_out():
    axes = Figure().subplots()
    set_time_axis(axes, [0, 8, 12_345, 200_000], "step")
    assert [axes.xaxis.get_major_formatter()(time) for time in (0, 10, 1000, 100_000)] == [
        "init",
        "10",
        "1000",
        "100000",
    ]


def test_time_is_the_epoch_else_the_step_else_the_index(by_epoch):
    measured = by_epoch(0, 1, 2)
    assert times_of(measured) == ([0, 1, 2], "epoch")
    without_epoch = [replace(m, epoch=math.nan) for m in measured]
    assert times_of(without_epoch) == ([0, 1000, 2000], "step")
    assert times_of([replace(m, step=-1) for m in without_epoch]) == ([0, 1, 2], "measurement")
    assert [m.step for m in choose_stages(without_epoch)] == [0, 1000, 2000]


def test_titles_say_when():
    assert stage_title(measurement(0, 0.0, 0, 2)) == "Initialisation"
    assert stage_title(measurement(94, 0.0501, 0, 2)) == "Epoch 0.0501\nstep 94"
    assert stage_title(measurement(94, math.nan, 0, 2)) == "Step 94"
    assert moment(measurement(94, 0.0501, 0, 2)) == "epoch 0.0501 (step 94)"
    assert moment(measurement(94, math.nan, 0, 2)) == "step 94"


def test_decades_get_a_logarithmic_axis_that_shows_the_initialisation():
    axes = Figure().subplots()
    set_time_axis(axes, [0, 0.01, 0.1, 1, 10], "epoch")
    at = axes.transData.transform([(time, 0) for time in (0, 0.01, 0.1, 1, 10)])[:, 0]
    assert axes.get_xlim()[0] < 0
    np.testing.assert_allclose(np.diff(at)[1:], np.diff(at)[1], rtol=1e-6)  # decades are equally wide
    assert 0.2 < (at[1] - at[0]) / (at[2] - at[1]) < 1
    labels = [axes.xaxis.get_major_formatter()(tick, 0) for tick in axes.get_xticks()]
    assert labels == ["init", "0.01", "0.1", "1", "10"]


def test_an_axis_without_an_initialisation_has_no_break():
    axes = Figure().subplots()
    set_time_axis(axes, [0.01, 10], "epoch")
    assert axes.get_xlim()[0] > 0
    assert not axes.lines
    assert 0 not in axes.get_xticks()


def test_few_epochs_get_a_linear_axis():
    axes = Figure().subplots()
    set_time_axis(axes, [0, 1, 2, 20], "epoch")
    assert axes.get_xscale() == "linear"
    assert axes.get_xlim()[0] < 0 < 20 < axes.get_xlim()[1]
