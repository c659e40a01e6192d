"""Stiffness between classes against the learning rate, at equal training loss, as in figure 8 of the first version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tfstiff.analysis.loss_level import AtLossLevel, at_training_loss
from tfstiff.figures.learning_rates import (
    RateGroup,
    comparison,
    missing_runs,
    names_of,
    set_rate_axis,
    shared_pair_sets,
    shared_settings,
    side_by_side,
)
from tfstiff.figures.style import (
    PAIR_SET_LINES,
    Figure,
    Table,
    drawing_style,
    metrics_of,
    new_figure,
    write_title,
)
from tfstiff.records import METRICS, RunFolder
from tfstiff.records.words import PAIR_SET_NAMES
from tfstiff.stiffness.intervals import interval


@drawing_style()
def learning_rate(runs: Sequence[RunFolder], *, levels: Sequence[float] | None = None) -> Figure:
    """Draws stiffness between classes against the learning rate: a column a training loss, a row a metric.

    Each run is taken where its training loss first comes down to that of the column, by interpolation between two
    measurements (see `tfstiff.analysis.loss_level`). Lines join the medians of the runs of a learning rate; dots are
    the runs, with bars of 95 % over the draw of the probe's examples, which hold nothing of what differs between seeds.
    Targets without classes have the mean over all pairs.

    Args:
        runs: Runs that differ in learning rate and seed.
        levels: Training losses; None for those at which the runs were told to stop, else three that all runs pass.

    Raises:
        InvalidInput: No run has a measurement, or a level is not a finite number.
        NothingToDraw: There is one learning rate only, the runs differ in more than that and seed, or there is no loss
            that all come down to.
    """
    groups, levels = comparison(runs, levels)
    pair_sets, metrics, part = shared_pair_sets(groups), _metrics(runs), _part(groups)
    figure = new_figure(max(4.6, 1.0 + 2.6 * len(levels)), 1.4 + 2.1 * len(metrics))
    axes = figure.subplots(len(metrics), len(levels), squeeze=False, sharex=True, sharey="row")
    found = {level: [[at_training_loss(run, level) for run in group.runs] for group in groups] for level in levels}
    for row, metric in zip(axes, metrics, strict=True):
        for panel, level in zip(row, levels, strict=True):
            panel.axhline(0, color="0.7", linewidth=0.6, zorder=0)
            for place, pair_set in enumerate(pair_sets):
                values = [
                    [one[f"stiffness_{metric}_{part}_{pair_set}"] for one in runs_found] for runs_found in found[level]
                ]
                _draw_values(panel, groups, values, pair_set, place - (len(pair_sets) - 1) / 2)
            set_rate_axis(panel, [group.rate for group in groups])
            panel.label_outer()
        row[0].set_ylabel(f"{part}-class {metric}" if part == "between" else f"mean {metric}")
    for panel, level in zip(axes[0], levels, strict=True):
        panel.set_title(f"training loss {level:g}{missing_runs(groups, level)}")
    handles = [Line2D([], [], **PAIR_SET_LINES[name], label=PAIR_SET_NAMES[name]) for name in pair_sets]
    dot: dict[str, Any] = {"color": "0.35", "marker": "o", "markersize": 3.5, "linestyle": "none"}
    handles.append(Line2D([], [], **dot, label="a run, with its 95 % interval"))
    handles.append(Line2D([], [], color="0.35", label="median of the runs"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=3)
    subject = "Stiffness between classes" if part == "between" else "Mean stiffness"
    write_title(figure, f"{subject} at equal training loss", shared_settings(runs))
    return figure


def learning_rate_numbers(runs: Sequence[RunFolder], *, levels: Sequence[float] | None = None) -> Table:
    """Header and rows of the scalars of every run at each training loss, a row a run, loss and scalar.

    Raises:
        InvalidInput: As `learning_rate`.
        NothingToDraw: As `learning_rate`.
    """
    groups, levels = comparison(runs, levels)
    names = names_of(runs)
    rows: list[list[object]] = [
        [level, group.rate, names[id(run)], name, value.value, value.se, value.status]
        for level in levels
        for group in groups
        for run in group.runs
        for name, value in at_training_loss(run, level).items()
        if name.startswith("stiffness_") and "critical_length" not in name
    ]
    return ["train_loss", "learning_rate", "run", "scalar", "value", "se_at_most", "status"], rows


def _metrics(runs: Sequence[RunFolder]) -> list[str]:
    return [metric for metric in METRICS if all(metric in metrics_of(run) for run in runs)] or list(METRICS)


def _part(groups: Sequence[RateGroup]) -> str:
    return "between" if groups[0].runs[0][0].class_names else "mean"


def _draw_values(
    axes: Axes, groups: Sequence[RateGroup], values: Sequence[Sequence[AtLossLevel]], pair_set: str, place: float
) -> None:
    line, shift = PAIR_SET_LINES[pair_set], side_by_side(groups, place)
    medians = []
    for group, each in zip(groups, values, strict=True):
        value, se = (np.array([getattr(one, name) for one in each]) for name in ("value", "se"))
        medians.append(float(np.nanmedian(value)) if np.isfinite(value).any() else math.nan)
        rates, known = np.full(len(value), group.rate * shift), np.isfinite(value + se)
        axes.vlines(rates[known], *interval(value[known], se[known]), color=line["color"], linewidth=0.8, alpha=0.6)
        dots = line | {"linestyle": "none", "markersize": 2.5 if len(each) > 1 else 3.5}
        axes.plot(rates, value, **dots, alpha=0.7, label="_runs")
    rates = np.array([group.rate * shift for group in groups])
    known = np.isfinite(medians)
    axes.plot(rates[known], np.array(medians)[known], **(line | {"marker": ""}), label=pair_set)
