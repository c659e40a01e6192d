"""Where a training turned, by each rule, as vertical lines of a figure over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from tfstiff.analysis.turns_of_training import turns_of
from tfstiff.figures.panels import figure_of
from tfstiff.figures.style import Drawn
from tfstiff.records import Measurement, RunFolder
from tfstiff.records.words import TURNS_IN_WORDS, moment

_STIFFNESS: dict[str, Any] = {"color": "#E69F00", "linestyle": (0, (1, 1.2)), "linewidth": 1.6, "zorder": 0.5}
_LOSS: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "zorder": 0.4}
_APART = 2.0  # points between lines of one time, or one would hide the other
# Rule -> its line. That of stiffness has the colour of the paper's figure 2.
_LINES = {
    "stiffness_drop": _STIFFNESS,
    "validation_minimum": _LOSS | {"linestyle": (0, (6, 2))},
    "gap_growth": _LOSS | {"linestyle": (0, (6, 2, 1, 2))},
    "generalization_loss": _LOSS | {"linestyle": (0, (1, 1))},
}


class TurnMark(NamedTuple):
    """One vertical line.

    Attributes:
        rule: Name of the rule, as in `TurningPoints`.
        time: In the units of the axis.
        line: How it is drawn.
        label: What it says, and when that was.
    """

    rule: str
    time: float
    line: dict[str, Any]
    label: str


def turn_marks(source: Drawn, measurements: Sequence[Measurement]) -> list[TurnMark]:
    """The turning points that are confirmed, in order of the rules.

    Args:
        source: The run, or its measurements.
        measurements: All of them.
    """
    spec, events = (source.spec, source.events) if isinstance(source, RunFolder) else ({}, [])
    found = turns_of(measurements, spec, events)
    rules = {} if found is None else found.rules
    return [
        TurnMark(rule, turn.time, line, f"{TURNS_IN_WORDS[rule]}: {moment(measurements[turn.index])}")
        for rule, line in _LINES.items()
        if (turn := rules.get(rule)) is not None and turn.status == "confirmed"
    ]


def draw_turns(axes: Axes, marks: Sequence[TurnMark], *, rules: Sequence[str] = tuple(_LINES)) -> None:
    """Draws the marks of some rules across a panel, those of one time beside each other."""
    for index, mark in enumerate(marks):
        if mark.rule in rules:
            line = axes.axvline(mark.time, **mark.line, label=f"_{mark.rule}")
            same = sum(other.time == mark.time for other in marks[:index])
            if same:
                aside = ScaledTranslation(same * _APART / 72, 0, figure_of(axes).dpi_scale_trans)
                line.set_transform(line.get_transform() + aside)
