"""Stiffness between classes against the learning rate, at equal training loss, as in figure 8 of the first version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tfstiff.analysis.comparison import ComparedRun, Comparison, Milestone, known_quantities
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.learning_rates import (
    RateGroup,
    at_equal_loss,
    by_learning_rate,
    milestone_title,
    set_rate_axis,
    shared_pair_sets,
    shared_settings,
    side_by_side,
)
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, grid_of_panels, inches, is_column, name_grid
from tfstiff.figures.style import (
    PAIR_SET_LINES,
    Figure,
    Numbers,
    drawing_style,
    metrics_of,
    new_figure,
    write_title,
)
from tfstiff.records import METRICS
from tfstiff.records.words import PAIR_SET_NAMES


@drawing_style()
def learning_rate(
    runs: Sequence[ComparedRun], *, levels: Sequence[float] | None = None, width: str = DEFAULT_WIDTH
) -> Figure:
    """Draws stiffness between classes against the learning rate: a column a training loss, a row a metric.

    Each run is taken where its training loss first comes down to that of the column, by interpolation between two
    measurements (see `tfstiff.analysis.comparison`). Lines join the means of the runs of a learning rate; dots are the
    runs, with bars of 95 % over the draw of the probe's examples, which hold nothing of what differs between seeds.
    Pair sets stand beside each other on a grey ground, which is one learning rate. Targets without classes have the
    mean over all pairs.

    Args:
        runs: Runs that differ in learning rate and seed.
        levels: Training losses; None for those at which the runs were told to stop, else three that all runs pass.
        width: `column` or `page`, of a paper; in a column losses are the rows.

    Raises:
        InvalidInput: No run has a measurement, a level is not a finite number, or there is no such width.
        NothingToDraw: There is one learning rate only, the runs differ in more than that and seed, or there is no loss
            that all come down to.
    """
    groups, whole, upright = by_learning_rate(runs), inches(width), is_column(width)
    pair_sets, part = shared_pair_sets(groups), _part(groups)
    metrics = [metric for metric in METRICS if all(metric in metrics_of(run) for run in runs)] or list(METRICS)
    names = {
        (metric, pair_set): f"stiffness_{metric}_{part}_{pair_set}" for metric in metrics for pair_set in pair_sets
    }
    found = at_equal_loss(groups, list(names.values()), levels)
    figure = new_figure(whole, 0.6 + (1.35 * len(found.milestones) if upright else 1.75 * len(metrics)))
    axes = grid_of_panels(figure, len(metrics), len(found.milestones), transposed=upright)
    for row, metric in zip(axes, metrics, strict=True):
        for panel, milestone in zip(row, found.milestones, strict=True):
            panel.axhline(0, color="0.7", linewidth=0.6, zorder=0)
            for place, pair_set in enumerate(pair_sets):
                shift = side_by_side(groups, place / max(1, len(pair_sets) - 1) * 2 - 1 if len(pair_sets) > 1 else 0)
                rates = np.array([group.rate * shift for group in groups])
                _draw_runs(panel, found, names[metric, pair_set], milestone, rates, pair_set)
            set_rate_axis(panel, [group.rate for group in groups])
    names_of_rows = [f"{part}-class {metric}" if part == "between" else f"mean {metric}" for metric in metrics]
    name_grid(axes, names_of_rows, [milestone_title(found, one) for one in found.milestones], transposed=upright)
    handles: list[Artist] = [Line2D([], [], **PAIR_SET_LINES[name], label=PAIR_SET_NAMES[name]) for name in pair_sets]
    dot: dict[str, Any] = {"color": "0.35", "marker": "o", "markersize": 3.5, "linestyle": "none"}
    handles.append(Line2D([], [], **dot, label="a run, with its 95 % interval"))
    handles.append(Line2D([], [], color="0.35", label="mean of the runs"))
    add_legends(figure, ("", handles))
    subject = "Stiffness between classes" if part == "between" else "Mean stiffness"
    write_title(figure, f"{subject} at equal training loss", shared_settings(runs))
    return figure


def learning_rate_numbers(runs: Sequence[ComparedRun], *, levels: Sequence[float] | None = None) -> Numbers:
    """Header and rows of the scalars of every run at each training loss, a row a run, loss and scalar."""
    groups = by_learning_rate(runs)
    measured = [run for group in groups for run in group.runs]
    names = [n for n in known_quantities(measured) if n.startswith("stiffness_") and "critical_length" not in n]
    found = at_equal_loss(groups, names, levels)
    rows: list[list[object]] = []
    for milestone in found.milestones:
        for index, group in enumerate(groups):
            for seed, run in found.groups[index].runs.items():
                for name in names:
                    one = found.observations[name, milestone, index][seed]
                    numbers = [one.value, one.se, one.interval_low, one.interval_high, one.status]
                    rows.append([milestone.at, group.rate, run.folder.name, name, *numbers])
    return ["train_loss", "learning_rate", "run", "scalar", "value", "se_at_most", "low", "high", "status"], rows


def _part(groups: Sequence[RateGroup]) -> str:
    return "between" if groups[0].runs[0].measurements[0].class_names else "mean"


def _draw_runs(
    axes: Axes, found: Comparison, name: str, milestone: Milestone, rates: np.ndarray, pair_set: str
) -> None:
    line = PAIR_SET_LINES[pair_set]
    means = np.array([found.summary(name, milestone, index).mean for index in range(len(rates))])
    for index, rate in enumerate(rates):
        each = list(found.observations[name, milestone, index].values())
        places = np.full(len(each), rate)
        limits = np.array([(one.interval_low, one.interval_high) for one in each]).T
        known = np.isfinite(limits).all(axis=0)
        axes.vlines(places[known], *limits[:, known], color=line["color"], linewidth=0.8, alpha=0.6)
        dots = line | {"linestyle": "none", "markersize": 2.5 if len(each) > 1 else 3.2}
        axes.plot(places, [one.value for one in each], **dots, alpha=0.7, label="_runs")
    known = np.isfinite(means)
    axes.plot(rates[known], means[known], **(line | {"marker": "", "linewidth": 1.2}), label=pair_set)


register_figure(
    learning_rate,
    learning_rate_numbers,
    "Between-class stiffness against learning rate, at equal training loss.",
    "v1 8",
)
