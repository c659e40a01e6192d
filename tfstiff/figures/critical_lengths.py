"""The critical length during training, by learning rate, as in figures 6 and 11 of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tfstiff.analysis.readings import times_of
from tfstiff.figures.learning_rates import RateGroup, by_learning_rate, names_of, shared_pair_sets, shared_settings
from tfstiff.figures.reaches import (
    Reach,
    draw_reaches,
    middle_of,
    reach_handles,
    reach_of,
    set_reach_axis,
    shade_beyond,
)
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import (
    DistanceKind,
    Figure,
    Table,
    distance_kind,
    drawing_style,
    new_figure,
    write_title,
)
from tfstiff.records import Measurement, RunFolder
from tfstiff.records.words import PAIR_SET_NAMES


@drawing_style()
def critical_length(runs: Sequence[RunFolder]) -> Figure:
    """Draws the critical length ξ against time and training loss: a line a learning rate, a column a pair set.

    Runs of one learning rate, which differ in their seeds, are drawn as their median and range at the times that all of
    them measured; a single run with the 95 % interval of its ξ. `tfstiff.figures.reaches` tells filled markers, hollow
    ones and triangles apart. The training loss is that of the probe's training half. All is of the first space in which
    distances were taken: that of the inputs, by default.

    Args:
        runs: One run or several, which differ in learning rate and seed.

    Raises:
        InvalidInput: No run has a measurement.
        NothingToDraw: The runs differ in more than learning rate and seed.
    """
    groups = by_learning_rate(runs)
    pair_sets, kind = shared_pair_sets(groups), distance_kind(_first(runs))
    figure = new_figure(max(4.6, 1.0 + 2.6 * len(pair_sets)), 5.4)
    axes = figure.subplots(2, len(pair_sets), squeeze=False, sharey=True, sharex="row")
    tracks = {pair_set: [_track(group, pair_set, kind) for group in groups] for pair_set in pair_sets}
    drawn = {pair_set: [reach for track in each for reach in track.reaches] for pair_set, each in tracks.items()}
    set_reach_axis(axes[0, 0], [reach for each in drawn.values() for reach in each])
    for column, pair_set in enumerate(pair_sets):
        over_time, over_loss = axes[:, column]
        over_time.set_title(PAIR_SET_NAMES[pair_set])
        for panel in axes[:, column]:
            shade_beyond(panel, drawn[pair_set], kind)
        for group, track in zip(groups, tracks[pair_set], strict=True):
            draw_reaches(over_time, track.when, track.reaches, group.look)
            kept = [index for index, loss in enumerate(track.losses) if loss > 0 and math.isfinite(loss)]
            losses = [track.losses[index] for index in kept]
            draw_reaches(over_loss, losses, [track.reaches[index] for index in kept], group.look, joined=False)
        when = sorted({time for track in tracks[pair_set] for time in track.when})
        set_time_axis(over_time, when, tracks[pair_set][0].unit)
        _set_loss_axis(over_loss, [loss for track in tracks[pair_set] for loss in track.losses])
    for row in axes:
        row[0].set_ylabel("critical length ξ" if kind.scale.direction > 0 else "domain size, 1 − ξ")
    handles = [Line2D([], [], **(group.look | {"linestyle": "-"}), label=group.label) for group in groups]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=1 + len(handles) // 5, title="learning rate", alignment="left"
    )
    several = any(len(group.runs) > 1 for group in groups)
    marks = reach_handles([(axes[0, i], drawn[pair_set]) for i, pair_set in enumerate(pair_sets)], several=several)
    figure.legend(handles=marks, loc="outside lower right", ncols=1 + (len(pair_sets) > 1), title="ξ", alignment="left")
    write_title(figure, "Critical length by learning rate", shared_settings(runs))
    return figure


def critical_length_numbers(runs: Sequence[RunFolder]) -> Table:
    """Header and rows of the critical lengths of every run, a row a measurement and pair set.

    Raises:
        InvalidInput: No run has a measurement.
        NothingToDraw: The runs differ in more than learning rate and seed.
    """
    groups = by_learning_rate(runs)
    columns = ("value", "low", "high", "status", "interval", "distance_min", "distance_max", "method", "metric")
    header = ["learning_rate", "run", "step", "epoch", "train_loss", "pair_set", "critical_length", *columns[1:]]
    names = names_of(runs)
    rows: list[list[object]] = [
        [group.rate, names[id(run)], one.step, one.epoch, one.train.loss, pair_set]
        + [getattr(one[pair_set].critical_length, name) for name in columns]
        for group in groups
        for run in group.runs
        for one in run
        for pair_set in shared_pair_sets(groups)
    ]
    return header, rows


class _Track:
    """Critical lengths of one learning rate over time."""

    def __init__(self, when: list[float], unit: str, losses: list[float], reaches: list[Reach]) -> None:
        self.when, self.unit, self.losses, self.reaches = when, unit, losses, reaches


def _first(runs: Sequence[RunFolder]) -> RunFolder:
    return next(run for run in runs if run.measurements)


def _track(group: RateGroup, pair_set: str, kind: DistanceKind) -> _Track:
    """The median run at the times that all runs measured."""
    by_time: list[dict[float, Measurement]] = [dict(zip(times_of(run)[0], run, strict=True)) for run in group.runs]
    common = sorted(set.intersection(*(set(one) for one in by_time)))
    measured = [[run[time] for run in by_time] for time in common]
    return _Track(
        common,
        times_of(group.runs[0])[1],
        [float(np.median([one.train.loss for one in each])) for each in measured],
        [middle_of([reach_of(one[pair_set].critical_length, kind) for one in each]) for each in measured],
    )


def _set_loss_axis(axes: Axes, losses: Sequence[float]) -> None:
    axes.set_xlabel("training loss")
    positive = [loss for loss in losses if loss > 0 and math.isfinite(loss)]
    if not positive:
        return
    axes.set_xscale("log")
    axes.set_xlim(min(positive) / 1.15, max(positive) * 1.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
