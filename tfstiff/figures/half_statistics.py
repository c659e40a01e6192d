"""Statistics of each half of the probe against time, a panel a statistic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfstiff.analysis.readings import times_of
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, inches, is_column, unlabel_below
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import (
    PAIR_SET_LINES,
    Drawn,
    Figure,
    NothingToDraw,
    Numbers,
    drawing_style,
    measurements_of,
    new_figure,
    write_title,
)
from tfstiff.records import Measurement
from tfstiff.records.words import PAIR_SET_NAMES
from tfstiff.stiffness.intervals import interval
from tfstiff.stiffness.statistics import STATISTICS, Statistic

_COLUMNS = {"column": 2, "page": 4}


@drawing_style()
def statistics(source: Drawn, *, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws all statistics of the probe's halves over time; bands are 95 % intervals, where there are any.

    Args:
        source: A run, or measurements in order of time.
        width: `column` or `page`, of a paper.

    Raises:
        InvalidInput: There is no measurement, or no such width.
        NothingToDraw: No statistic was recorded, or there is a single measurement.
    """
    measurements, whole = measurements_of(source), inches(width)
    drawn = [one for one in STATISTICS if any(np.isfinite(_values(measurements, one.name)[p]).any() for p in _halves())]
    if not drawn:
        raise NothingToDraw("No statistics of the probe's halves were recorded.")
    if len(measurements) == 1:
        raise NothingToDraw("A single measurement has no course over time.", remedy="See its numbers: `tfstiff show`.")
    columns = _COLUMNS[width]
    rows = math.ceil(len(drawn) / columns)
    figure = new_figure(whole, 0.8 + (1.05 if is_column(width) else 1.3) * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    when, unit = times_of(measurements)
    for panel, statistic in zip(axes, drawn, strict=False):
        panel.set_title(statistic.name.replace("_", " "))
        panel.set_ylabel("" if statistic.unit == "1" else statistic.unit)
        for pair_set in _halves():
            low, high = _band(measurements, statistic, pair_set)
            panel.fill_between(when, low, high, color=PAIR_SET_LINES[pair_set]["color"], alpha=0.18, linewidth=0)
            values = _values(measurements, statistic.name)[pair_set]
            panel.plot(when, np.where(np.isfinite(values), values, np.nan), **PAIR_SET_LINES[pair_set])
        set_time_axis(panel, when, unit)
    unlabel_below(axes[: max(0, len(drawn) - columns)])
    for panel in axes[len(drawn) :]:
        panel.remove()
    for column in range(columns):
        figure.align_ylabels(axes[column : len(drawn) : columns])
    handles = [Line2D([], [], **PAIR_SET_LINES[name], label=PAIR_SET_NAMES[name]) for name in _halves()]
    add_legends(figure, ("", [*handles, Patch(facecolor="0.35", alpha=0.25, label="95 % interval")]))
    write_title(figure, "Statistics of the probe's halves", source)
    return figure


def statistics_numbers(source: Drawn) -> Numbers:
    """Header and rows of the same, a row a measurement and half."""
    names = [name for statistic in STATISTICS for name, _ in statistic.columns()]
    rows = [
        [m.step, m.epoch, pair_set, *(m[pair_set].statistics.get(name, math.nan) for name in names)]
        for m in measurements_of(source)
        for pair_set in _halves()
        if pair_set in m.pair_sets
    ]
    return ["step", "epoch", "pair_set", *names], rows


def _halves() -> tuple[str, str]:
    return "train_train", "val_val"


def _values(measurements: Sequence[Measurement], name: str) -> dict[str, np.ndarray]:
    """By half: the numbers of one name, (measurements,); NaN where there is none."""
    return {
        pair_set: np.array(
            [m[pair_set].statistics.get(name, math.nan) if pair_set in m.pair_sets else math.nan for m in measurements]
        )
        for pair_set in _halves()
    }


def _band(measurements: Sequence[Measurement], statistic: Statistic, pair_set: str) -> tuple[np.ndarray, np.ndarray]:
    named = {kind: _values(measurements, f"{statistic.name}_{kind}")[pair_set] for kind in ("se", "low", "high")}
    if "low" in statistic.beside:
        low, high = named["low"], named["high"]
    else:
        values = _values(measurements, statistic.name)[pair_set]
        low, high = interval(np.where(np.isfinite(values), values, np.nan), named["se"])
    is_known = np.isfinite(low) & np.isfinite(high)
    return np.where(is_known, low, np.nan), np.where(is_known, high, np.nan)


register_figure(statistics, statistics_numbers, "Coherence, noise scale and others against time.")
