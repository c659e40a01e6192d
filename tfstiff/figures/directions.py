"""Whether steps along directions help each class, over time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tfstiff.analysis.readings import readings_of_effects, times_of
from tfstiff.errors import InvalidInput
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.over_time import draw_zero
from tfstiff.figures.sizes import DEFAULT_WIDTH, inches, is_column
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import (
    Drawn,
    Figure,
    NothingToDraw,
    Numbers,
    drawing_style,
    measurements_of,
    new_figure,
    ordered_lines,
    short_name,
    write_title,
)
from tfstiff.records import Measurement
from tfstiff.records.directions import DIRECTIONS
from tfstiff.records.measurement import HALVES
from tfstiff.records.words import HALVES_IN_WORDS

_MOST_CLASSES = 10  # more lines cannot be told apart
_LABELS = {"helped": "share helped", "cosine": "cosine"}
_MEAN: dict[str, Any] = {"color": "black", "linewidth": 1.8, "marker": None}


@drawing_style()
def directions(source: Drawn, *, effect: str = "helped", width: str = DEFAULT_WIDTH) -> Figure:
    """Draws what a step along each direction does to each class against time: a row a direction, a column a half.

    A line is a class, of up to ten of them; the black one, with the band of its 95 % interval over the draw of the
    probe's examples, is the mean over classes. Of the steps on single classes it is what each does to its own class.

    Args:
        source: A run, or measurements in order of time.
        effect: `helped`, the share of examples that the step helps; or `cosine`, that of gradient and step, which is
            below 0 where it helps.
        width: A key of `tfstiff.figures.sizes.WIDTHS`.

    Raises:
        InvalidInput: There is no measurement, no such width, or no such effect.
        NothingToDraw: No direction was measured.
    """
    measurements = measurements_of(source)
    if effect not in _LABELS:
        raise InvalidInput("There is no such effect.", expected=" or ".join(_LABELS), received=effect)
    panels = _measured(measurements)
    names, halves = (list(dict.fromkeys(of)) for of in zip(*panels, strict=True))
    classes = measurements[-1].class_names
    looks = ordered_lines(len(classes)) if 1 < len(classes) <= _MOST_CLASSES else []
    figure = new_figure(inches(width), 1.5 + 1.5 * len(names))
    axes = figure.subplots(len(names), len(halves), squeeze=False, sharex=True, sharey="row")
    when, unit = times_of(measurements)
    for row, name in zip(axes, names, strict=True):
        for panel, half in zip(row, halves, strict=True):
            if effect == "helped":
                panel.axhline(0.5, color="0.7", linewidth=0.6, zorder=0, label="_half")
            else:
                draw_zero(panel)
            _draw(panel, when, _readings(measurements, name, half, effect), looks)
            if name == names[0]:
                panel.set_title(f"{HALVES_IN_WORDS[half]} half")
            set_time_axis(panel, when, unit)
            panel.label_outer()
        row[0].set_ylabel(f"{name.replace('_', ' ')}\n{_LABELS[effect]}")
    handles = [Line2D([], [], **look, label=short_name(one)) for look, one in zip(looks, classes, strict=False)]
    handles.append(Line2D([], [], **_MEAN, label="mean over classes" if len(classes) > 1 else "all examples"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if is_column(width) else 6, handlelength=3)
    write_title(figure, "Whether a step along the direction helps", source)
    return figure


def directions_numbers(source: Drawn, *, effect: str = "helped") -> Numbers:
    """Header and rows of the same: a row a measurement, direction, half and class, and their mean."""
    measurements = measurements_of(source)
    rows: list[list[object]] = []
    for m in measurements:
        labels = [*m.class_names, "(mean)"] if len(m.class_names) > 1 else ["(all)"]
        for name, half in _measured(measurements):
            effects = getattr(m.directions.get(name), half, None)
            found = [] if effects is None else readings_of_effects(effects, effect)
            rows += [
                [m.step, m.epoch, name, half, label, one.value, one.se]
                for label, one in zip(labels, found, strict=False)
            ]
    return ["step", "epoch", "direction", "half", "class", effect, f"{effect}_se"], rows


def _measured(measurements: list[Measurement]) -> list[tuple[str, str]]:
    """The directions and halves of which anything is known."""
    found = dict.fromkeys(
        (name, half)
        for m in measurements
        for name, of in m.directions.items()
        for half in HALVES
        if getattr(of, half) is not None
    )
    if not found:
        raise NothingToDraw(
            "No direction was measured.",
            remedy="Measure with `tfstiff run --directions update`, or StiffnessCallback(..., directions=['update']).",
        )
    return sorted(found, key=lambda panel: (DIRECTIONS.index(panel[0]), HALVES.index(panel[1])))


def _readings(measurements: list[Measurement], name: str, half: str, effect: str) -> np.ndarray:
    """(measurements, classes and their mean, 3): values and the ends of their intervals; NaN where nothing is known."""
    effects = [getattr(m.directions.get(name), half, None) for m in measurements]
    read = [[] if one is None else readings_of_effects(one, effect) for one in effects]
    width = max(map(len, read))
    found = np.full((len(read), width, 3), math.nan)
    for place, some in enumerate(read):
        if some:
            found[place] = [(one.value, one.low, one.high) for one in some]
    return found


def _draw(panel: Axes, when: list[float], found: np.ndarray, looks: list[dict[str, Any]]) -> None:
    for place, look in enumerate(looks):
        panel.plot(when, found[:, place, 0], **look, linewidth=0.9, alpha=0.8)
    mean = found[:, -1]
    panel.fill_between(when, mean[:, 1], mean[:, 2], color="black", alpha=0.15, linewidth=0)
    panel.plot(when, mean[:, 0], **_MEAN)


register_figure(directions, directions_numbers, "Whether steps along directions in weight space help each class.")
