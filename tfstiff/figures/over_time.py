"""Losses and stiffness against time, as in figures 2 and 4 of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tfstiff.figures.stages import set_time_axis, times
from tfstiff.figures.style import (
    HALF_LINES,
    HALF_NAMES,
    PAIR_SET_LINES,
    PAIR_SET_NAMES,
    Figure,
    drawing_style,
    measurements_of,
    new_figure,
    pair_sets_of,
    write_title,
)
from tfstiff.records import Measurement, Run, scalar_row
from tfstiff.stiffness.overfitting import overfitting_onset

_MOST_MARKERS = 25
_NORMAL_QUANTILE = 1.96
_VALUE_AND_ERROR = (Measurement.scalars, Measurement.standard_errors)
_DROPPED = "stiffness_dropped"  # the event of StopWhenStiffnessDrops, whose module imports TensorFlow
_TURN_LINE: dict[str, Any] = {"color": "#E69F00", "linestyle": (0, (1, 1.2)), "linewidth": 1.4, "zorder": 0.5}


@drawing_style()
def curves(source: Run | Sequence[Measurement]) -> Figure:
    """Draws loss, within-class and between-class stiffness against time, the pair sets overlaid.

    Bands are 95 % intervals over the draw of the probe's examples.

    The upper row holds the loss and the sign, the lower the accuracy and the cosine. Targets without classes have one
    row: loss, mean sign and mean cosine over all pairs. A vertical line marks where stiffness has turned down for sure:
    where `StopWhenStiffnessDrops` found it, else where `tfstiff.stiffness.overfitting` finds it in the measurements.

    Args:
        source: A run, or measurements in order of time.

    Raises:
        InvalidInput: There is no measurement.
    """
    measurements = measurements_of(source)
    pair_sets = pair_sets_of(measurements)
    has_classes = all(stiffness.sign is not None for m in measurements for stiffness in m.pair_sets.values())
    figure = new_figure(8.4, 5.0 if has_classes else 2.9)
    axes = figure.subplots(2 if has_classes else 1, 3, squeeze=False)

    _draw_halves(axes[0, 0], measurements, "loss")
    if has_classes:
        _draw_halves(axes[1, 0], measurements, "accuracy")
        for row, metric in enumerate(("sign", "cosine")):
            for column, kind in enumerate(("within", "between"), start=1):
                axes[row, column].set_title(f"{kind.capitalize()}-class stiffness, {metric}")
                _draw_pair_sets(axes[row, column], measurements, pair_sets, f"{metric}_{kind}")
    else:
        for column, metric in enumerate(("sign", "cosine"), start=1):
            axes[0, column].set_title(f"Mean {metric} over all pairs")
            _draw_pair_sets(axes[0, column], measurements, pair_sets, f"{metric}_mean")
    when, unit = times(measurements)
    turn = _stiffness_turns(source, measurements, pair_sets, unit)
    for panel in axes.flat:
        set_time_axis(panel, when, unit)
        if turn is not None:
            panel.axvline(turn, **_TURN_LINE, label="_stiffness turns down")
    handles = [_handle(PAIR_SET_LINES[name], PAIR_SET_NAMES[name]) for name in pair_sets]
    figure.legend(handles=handles, loc="outside lower right", ncols=3, title="pairs of examples", alignment="left")
    halves = [_handle(HALF_LINES[half], HALF_NAMES[half]) for half in HALF_LINES]
    if turn is not None:
        halves.append(_handle(_TURN_LINE, "stiffness turns down"))
    axes[0, 0].legend(handles=halves, loc="best")
    write_title(figure, "Training and stiffness", source)
    return figure


def curves_numbers(source: Run | Sequence[Measurement]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the scalars that `curves` draws, a row a measurement.

    Raises:
        InvalidInput: There is no measurement.
    """
    rows = [scalar_row(measurement) for measurement in measurements_of(source)]
    header = list(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name, math.nan) for name in header] for row in rows]


def _draw_halves(axes: Axes, measurements: list[Measurement], name: str) -> None:
    axes.set_title(name.capitalize())
    _draw_line(axes, measurements, lambda m: getattr(m.train, name), HALF_LINES["train"], f"train {name}")
    _draw_line(axes, measurements, lambda m: getattr(m.validation, name), HALF_LINES["val"], f"validation {name}")


def _draw_pair_sets(axes: Axes, measurements: list[Measurement], pair_sets: list[str], name: str) -> None:
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0, label="_zero")
    for pair_set in pair_sets:
        key = f"stiffness_{name}_{pair_set}"
        _draw_band(axes, measurements, key, PAIR_SET_LINES[pair_set]["color"])
        _draw_line(axes, measurements, lambda m, key=key: m.scalars()[key], PAIR_SET_LINES[pair_set], pair_set)


def _draw_band(axes: Axes, measurements: list[Measurement], key: str, color: str) -> None:
    """The 95 % intervals of a scalar, in the line's colour."""
    when, _ = times(measurements)
    value, se = (np.array([read(m)[key] for m in measurements]) for read in _VALUE_AND_ERROR)
    width = np.where(np.isfinite(se), _NORMAL_QUANTILE * se, np.nan)
    axes.fill_between(when, value - width, value + width, color=color, alpha=0.18, linewidth=0, zorder=1)


def _draw_line(
    axes: Axes, measurements: list[Measurement], read: Callable[..., float], line: dict[str, Any], label: str
) -> None:
    when, _ = times(measurements)
    values = [value if math.isfinite(value) else math.nan for value in map(read, measurements)]
    every = max(1, math.ceil(len(values) / _MOST_MARKERS))
    # The markers of lines that lie on one another take turns; the first point always has one.
    turn = sum(not str(other.get_label()).startswith("_") for other in axes.lines) * every // 3
    axes.plot(when, values, **line, markevery=[0, *range(max(1, turn), len(values), every)], label=label)


def _stiffness_turns(
    source: Run | Sequence[Measurement], measurements: list[Measurement], pair_sets: list[str], unit: str
) -> float | None:
    """The time at which stiffness turns down, in units of the axis; None where it does not."""
    dropped = [event for event in source.events if event["event"] == _DROPPED] if isinstance(source, Run) else []
    if dropped:
        return dropped[-1].get(f"peak_{unit}")
    if "train_val" not in pair_sets:
        return None
    found = overfitting_onset(measurements)
    if found.stiffness_drop.status != "confirmed":
        return None
    return times(measurements)[0][found.stiffness_drop.index]


def _handle(line: dict[str, Any], label: str) -> Line2D:
    return Line2D([], [], **line, label=label)
