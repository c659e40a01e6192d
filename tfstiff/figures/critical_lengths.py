"""The critical length during training, by learning rate, as in figures 6 and 11 of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from tfstiff.analysis.comparison import ComparedRun, observe_measurement
from tfstiff.analysis.readings import times_of
from tfstiff.figures.chosen import chosen_pair_sets
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.learning_rates import RateGroup, by_learning_rate, shared_pair_sets, shared_settings
from tfstiff.figures.reaches import (
    Reach,
    draw_reaches,
    furthest_distance,
    nested,
    reach_handles,
    reach_label,
    reach_of,
    set_reach_axis,
    shade_beyond,
)
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, inches, is_column
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import DistanceKind, Figure, Numbers, distance_kind, drawing_style, new_figure, write_title
from tfstiff.figures.tick_labels import RoomyLabels
from tfstiff.records.words import PAIR_SET_NAMES


@drawing_style()
def critical_length(runs: Sequence[ComparedRun], *, extrapolate: bool = False, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws the critical length ξ against time and training loss: a line a learning rate, a column a pair set.

    Runs of one learning rate, which differ in their seeds, are drawn as `tfstiff compare` sums them up, at the times
    that all of them measured; a single run with the 95 % interval of its ξ. `tfstiff.figures.reaches` tells the markers
    apart. The training loss is that of the probe's training half, the mean of the runs. All is of the first space in
    which distances were taken: that of the inputs, by default.

    Args:
        runs: One run or several, which differ in learning rate and seed.
        extrapolate: Whether the zero of a straight line is taken as ξ also where it lies beyond the distances observed;
            else it is known by a bound.
        width: `column` or `page`, of a paper; a column has room for one pair set.

    Raises:
        InvalidInput: No run has a measurement, or there is no such width.
        NothingToDraw: The runs differ in more than learning rate and seed.
    """
    groups, whole = by_learning_rate(runs), inches(width)
    pair_sets, kind = shared_pair_sets(groups), distance_kind(groups[0].runs[0])
    if is_column(width):
        pair_sets = chosen_pair_sets(runs[0], pair_sets)[:1]
    furthest = {
        pair_set: furthest_distance(
            [m[pair_set].critical_length for group in groups for run in group.runs for m in run.measurements], kind
        )
        for pair_set in pair_sets
    }
    figure = new_figure(whole, 4.0)
    axes = figure.subplots(2, len(pair_sets), squeeze=False, sharey=True, sharex="row")
    tracks = {pair_set: [_track(group, pair_set, kind, extrapolate) for group in groups] for pair_set in pair_sets}
    drawn = {pair_set: [reach for track in each for reach in track.reaches] for pair_set, each in tracks.items()}
    set_reach_axis(axes[0, 0], [reach for each in drawn.values() for reach in each], max(furthest.values()))
    for column, pair_set in enumerate(pair_sets):
        over_time, over_loss = axes[:, column]
        over_time.set_title(PAIR_SET_NAMES[pair_set])
        for panel in axes[:, column]:
            shade_beyond(panel, furthest[pair_set], kind)
        for look, track in zip(nested([group.look for group in groups]), tracks[pair_set], strict=True):
            draw_reaches(over_time, track.when, track.reaches, look)
            kept = [index for index, loss in enumerate(track.losses) if loss > 0 and math.isfinite(loss)]
            losses = [track.losses[index] for index in kept]
            draw_reaches(over_loss, losses, [track.reaches[index] for index in kept], look, joined=False)
        when = sorted({time for track in tracks[pair_set] for time in track.when})
        set_time_axis(over_time, when, tracks[pair_set][0].unit)
        _set_loss_axis(over_loss, [loss for track in tracks[pair_set] for loss in track.losses])
    for row in axes:
        row[0].set_ylabel(reach_label(kind))
    handles = [Line2D([], [], **(group.look | {"linestyle": "-"}), label=group.label) for group in groups]
    several = any(len(group.runs) > 1 for group in groups)
    marks = reach_handles([(axes[0, i], drawn[pair_set]) for i, pair_set in enumerate(pair_sets)], several=several)
    add_legends(figure, ("learning rate", handles), ("ξ", marks))
    write_title(figure, "Critical length by learning rate", shared_settings(runs))
    return figure


def critical_length_numbers(runs: Sequence[ComparedRun], *, extrapolate: bool = False) -> Numbers:
    """Header and rows of the critical lengths of every run as they were recorded, a row a measurement and pair set."""
    groups = by_learning_rate(runs)
    columns = ("value", "low", "high", "status", "interval", "distance_min", "distance_max", "method", "metric")
    header = ["learning_rate", "run", "step", "epoch", "train_loss", "pair_set", "critical_length", *columns[1:]]
    rows: list[list[object]] = [
        [group.rate, run.folder.name, one.step, one.epoch, one.train.loss, pair_set]
        + [getattr(one[pair_set].critical_length, name) for name in columns]
        for group in groups
        for run in group.runs
        for one in run.measurements
        for pair_set in shared_pair_sets(groups)
    ]
    return header, rows


class _Track(NamedTuple):
    """Critical lengths of one learning rate over time."""

    when: list[float]
    unit: str
    losses: list[float]
    reaches: list[Reach]


def _track(group: RateGroup, pair_set: str, kind: DistanceKind, extrapolate: bool) -> _Track:
    """The runs of a learning rate at the times that all of them measured."""
    by_time = [dict(zip(times_of(run.measurements)[0], run.measurements, strict=True)) for run in group.runs]
    common = sorted(set.intersection(*(set(one) for one in by_time)))
    name = f"stiffness_critical_length_{pair_set}"
    losses, reaches = [], []
    for time in common:
        each = [(run, found[time]) for run, found in zip(group.runs, by_time, strict=True)]
        losses.append(float(np.mean([one.train.loss for _, one in each])))
        reaches.append(reach_of([observe_measurement(run, one, name, extrapolate) for run, one in each], kind))
    return _Track(common, times_of(group.runs[0].measurements)[1], losses, reaches)


def _set_loss_axis(axes: Axes, losses: Sequence[float]) -> None:
    axes.set_xlabel("training loss")
    positive = [loss for loss in losses if loss > 0 and math.isfinite(loss)]
    if not positive:
        return
    axes.set_xscale("log")
    axes.set_xlim(min(positive) / 1.15, max(positive) * 1.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(RoomyLabels(lambda loss: f"{loss:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


register_figure(
    critical_length,
    critical_length_numbers,
    "Critical length against time and training loss, by learning rate.",
    "ICLR 6, 11",
)
