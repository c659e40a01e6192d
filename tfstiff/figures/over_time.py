"""Losses and stiffness against time, as in figures 2 and 4 of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfstiff.analysis.readings import reading, times_of
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.single_moment import draw_moment
from tfstiff.figures.sizes import (
    DEFAULT_WIDTH,
    SMALLEST_TEXT,
    add_legends,
    grid_of_panels,
    inches,
    is_column,
    name_grid,
    unlabel_below,
)
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import (
    HALF_LINES,
    KIND_LINES,
    PAIR_SET_LINES,
    Drawn,
    Figure,
    NothingToDraw,
    Numbers,
    drawing_style,
    measurements_of,
    metrics_of,
    new_figure,
    pair_sets_of,
    write_title,
)
from tfstiff.figures.turn_marks import draw_turns, turn_marks
from tfstiff.records import Measurement, scalar_row
from tfstiff.records.words import HALF_NAMES, PAIR_SET_NAMES

_FEW = 12  # points that all have a marker
_BETWEEN_MARKERS = 0.06  # of the panel's diagonal
_BAND = Patch(facecolor="0.35", alpha=0.25, label="95 % interval over the probe's examples")


@drawing_style()
def curves(source: Drawn, *, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws loss, within-class and between-class stiffness against time, the pair sets overlaid.

    Bands are 95 % intervals over the draw of the probe's examples. Time is logarithmic where it spans two decades. A
    single measurement, which has no course, is one panel of its values with their intervals.

    The upper row holds the loss and the sign, the lower the accuracy and the cosine. Targets without classes have one
    row: loss, mean sign and mean cosine over all pairs. Where the settings name one metric, its panels stand below each
    other. Vertical lines mark the turning points that the rules of
    `tfstiff.analysis.turns_of_training` find: where stiffness turns down and where the validation loss is lowest in
    every panel, what else concerns losses in that of the loss.

    Args:
        source: A run, or measurements in order of time.
        width: `column` or `page`, of a paper.

    Raises:
        InvalidInput: There is no measurement, or no such width.
    """
    measurements = measurements_of(source)
    pair_sets, metrics, has_classes = pair_sets_of(measurements), metrics_of(source), have_classes(measurements)
    if len(measurements) == 1:
        figure = draw_moment(measurements[0], pair_sets, metrics, inches(width))
        write_title(figure, "Training and stiffness", source)
        return figure
    rows, columns = 2 if has_classes else 1, 2 if has_classes and len(metrics) == 1 else 3
    upright = is_column(width) and columns == 3
    figure = new_figure(inches(width), 0.7 + (1.2 if is_column(width) else 1.6) * (columns if upright else rows))
    axes = figure.subplots(columns, rows, squeeze=False).T if upright else figure.subplots(rows, columns, squeeze=False)

    draw_halves(axes[0, 0], measurements, "loss")
    if has_classes:
        draw_halves(axes[1, 0], measurements, "accuracy")
        kinds = [(metric, kind) for metric in metrics for kind in ("within", "between")]
        for panel, (metric, kind) in zip(axes[:, 1:].flat, kinds, strict=True):
            panel.set_title(f"{kind.capitalize()}-class stiffness")
            panel.set_ylabel(f"mean {metric}")
            _draw_pair_sets(panel, measurements, pair_sets, f"{metric}_{kind}")
    else:
        for column, metric in enumerate(("sign", "cosine"), start=1):
            axes[0, column].set_title("Stiffness of all pairs")
            axes[0, column].set_ylabel(f"mean {metric}")
            _draw_pair_sets(axes[0, column], measurements, pair_sets, f"{metric}_mean")
    when, unit = times_of(measurements)
    marks = turn_marks(source, measurements)
    for panel in axes.flat:
        set_time_axis(panel, when, unit)
        draw_turns(panel, marks, rules=("stiffness_drop", "validation_minimum"))
    draw_turns(axes[0, 0], marks, rules=("gap_growth", "generalization_loss"))
    grid = axes.T if upright else axes
    unlabel_below(grid[:-1].flat)
    for column in grid.T:
        figure.align_ylabels(column)
    halves = [_handle(HALF_LINES[half], HALF_NAMES[half]) for half in HALF_LINES]
    axes[0, 0].legend(handles=halves, loc="best", handlelength=1.5, fontsize=SMALLEST_TEXT)
    pairs: list[Artist] = [_handle(PAIR_SET_LINES[name], PAIR_SET_NAMES[name]) for name in pair_sets]
    turns = [Line2D([], [], **mark.line, label=mark.label) for mark in marks]
    add_legends(figure, ("turning points", turns), ("pairs of examples", [*pairs, _BAND]))
    write_title(figure, "Training and stiffness", source)
    return figure


def curves_numbers(source: Drawn) -> Numbers:
    """Header and rows of the scalars over time, a row a measurement, with the standard error of each that has one."""
    rows = []
    for measurement in measurements_of(source):
        row: dict[str, object] = {**scalar_row(measurement)}
        for name in (f"{half}_{what}" for half in ("train", "validation") for what in ("loss", "accuracy")):
            row[f"{name}_se"] = reading(measurement, name).se
        rows.append(
            row | {f"{name}_se": se for name, se in measurement.standard_errors().items() if "critical" not in name}
        )
    header = list(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name, math.nan) for name in header] for row in rows]


@drawing_style()
def log_curves(source: Drawn, *, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws within- and between-class stiffness against the logarithm of time: a column a pair set, a row a metric.

    Bands are 95 % intervals over the draw of the probe's examples. The initialisation stands apart at the left. Where
    stiffness turns down for good is marked, as in `curves`. Targets without classes have the mean over all pairs.

    Args:
        source: A run, or measurements in order of time.
        width: `column` or `page`, of a paper; in a column pair sets are the rows.

    Raises:
        InvalidInput: There is no measurement, or no such width.
        NothingToDraw: There is a single measurement.
    """
    measurements = measurements_of(source)
    if len(measurements) == 1:
        raise NothingToDraw(
            "A single measurement has no course over time.",
            remedy="See its values in the figure curves, or measure more often: `tfstiff run --schedule log`.",
        )
    pair_sets, metrics, upright = pair_sets_of(measurements), metrics_of(source), is_column(width)
    kinds = ("within", "between") if have_classes(measurements) else ("mean",)
    figure = new_figure(inches(width), 0.6 + (1.25 * len(pair_sets) if upright else 1.6 * len(metrics)))
    axes = grid_of_panels(figure, len(metrics), len(pair_sets), transposed=upright)
    when, unit = times_of(measurements)
    marks = [mark for mark in turn_marks(source, measurements) if mark.rule == "stiffness_drop"]
    for row, metric in zip(axes, metrics, strict=True):
        for panel, pair_set in zip(row, pair_sets, strict=True):
            draw_zero(panel)
            for kind in kinds:
                name = f"stiffness_{metric}_{kind}_{pair_set}"
                draw_line(panel, measurements, name, KIND_LINES[kind], kind)
            set_time_axis(panel, when, unit, logarithmic=True)
            draw_turns(panel, marks)
    name_grid(axes, [f"mean {one}" for one in metrics], [PAIR_SET_NAMES[one] for one in pair_sets], transposed=upright)
    names = {"within": "within a class", "between": "between classes", "mean": "over all pairs"}
    handles: list[Artist] = [_handle(KIND_LINES[kind], names[kind]) for kind in kinds]
    handles += [_BAND, *(Line2D([], [], **mark.line, label=mark.label) for mark in marks)]
    add_legends(figure, ("", handles))
    write_title(figure, "Stiffness over time", source)
    return figure


def have_classes(measurements: Sequence[Measurement]) -> bool:
    return all(stiffness.sign is not None for m in measurements for stiffness in m.pair_sets.values())


def draw_halves(axes: Axes, measurements: list[Measurement], what: str) -> None:
    axes.set_title(f"{what.capitalize()} on the probe")
    axes.set_ylabel(what)
    for half, name in (("train", "train"), ("val", "validation")):
        draw_line(axes, measurements, f"{name}_{what}", HALF_LINES[half], f"{HALF_NAMES[half]} {what}")


def _draw_pair_sets(axes: Axes, measurements: list[Measurement], pair_sets: list[str], name: str) -> None:
    draw_zero(axes)
    for pair_set in pair_sets:
        draw_line(axes, measurements, f"stiffness_{name}_{pair_set}", PAIR_SET_LINES[pair_set], pair_set)


def draw_zero(axes: Axes) -> None:
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0, label="_zero")


def draw_line(axes: Axes, measurements: list[Measurement], name: str, line: dict[str, Any], label: str) -> None:
    """A scalar over time with the band of its 95 % intervals."""
    when, _ = times_of(measurements)
    read = [reading(measurement, name) for measurement in measurements]
    known = np.array([(one.value, one.low, one.high) for one in read], np.float64)
    values, low, high = np.where(np.isfinite(known), known, np.nan).T
    axes.fill_between(when, low, high, color=line["color"], alpha=0.18, linewidth=0, zorder=1)
    if len(values) == 1:  # a single point has no band
        axes.vlines(when, low, high, color=line["color"], linewidth=0.8, label="_error")
    every = None
    if len(values) > _FEW:  # markers of lines that lie on one another take turns
        turn = sum(not str(other.get_label()).startswith("_") for other in axes.lines) % 3
        every = (turn * _BETWEEN_MARKERS / 3, _BETWEEN_MARKERS)
    axes.plot(when, values, **line, markevery=every, label=label)


def _handle(line: dict[str, Any], label: str) -> Line2D:
    return Line2D([], [], **line, label=label)


register_figure(
    curves,
    curves_numbers,
    "Loss, within-class and between-class stiffness against time, and turning points.",
    "v1 2; ICLR 2",
)
register_figure(
    log_curves, curves_numbers, "Within-class and between-class stiffness against the logarithm of time.", "ICLR 4"
)
