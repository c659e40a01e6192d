"""Where overfitting begins, by each rule, as vertical lines of a figure over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from tfstiff.analysis.overfitting import overfitting_onset
from tfstiff.figures.stages import times
from tfstiff.records import Measurement, RunFolder
from tfstiff.records.words import moment

_DROPPED = "stiffness_dropped"  # the event of StopWhenStiffnessDrops, whose module imports TensorFlow
_STIFFNESS: dict[str, Any] = {"color": "#E69F00", "linestyle": (0, (1, 1.2)), "linewidth": 1.6, "zorder": 0.5}
_LOSS: dict[str, Any] = {"color": "0.45", "linewidth": 0.9, "zorder": 0.4}
# Rule -> what it says, and its line. That of stiffness has the colour of the paper's figure 2.
_RULES = {
    "stiffness_drop": ("stiffness turns down", _STIFFNESS),
    "validation_minimum": ("validation loss is lowest", _LOSS | {"linestyle": (0, (6, 2))}),
    "gap_growth": ("the gap between the losses grows", _LOSS | {"linestyle": (0, (6, 2, 1, 2))}),
    "generalization_loss": ("validation loss is 5 % above its lowest", _LOSS | {"linestyle": (0, (1, 1))}),
}


class OnsetMark(NamedTuple):
    """One vertical line.

    Attributes:
        rule: Name of the rule, as in `OverfittingOnset`.
        time: In the units of the axis.
        line: How it is drawn.
        label: What it says, and when that was.
    """

    rule: str
    time: float
    line: dict[str, Any]
    label: str


def onset_marks(source: RunFolder | Sequence[Measurement], measurements: Sequence[Measurement]) -> list[OnsetMark]:
    """The onsets of overfitting that are confirmed, in order of the rules.

    Where `StopWhenStiffnessDrops` ended the training, its turning point of stiffness stands in place of the one that
    is found in the measurements.

    Args:
        source: The run, or its measurements.
        measurements: All of them.
    """
    when, unit = times(measurements)
    onset = overfitting_onset(measurements)
    confirmed = {rule: getattr(onset, rule).index for rule in _RULES if getattr(onset, rule).status == "confirmed"}
    found = {rule: (when[index], moment(measurements[index])) for rule, index in confirmed.items()}
    dropped = [event for event in source.events if event["event"] == _DROPPED] if isinstance(source, RunFolder) else []
    if dropped and f"peak_{unit}" in dropped[-1]:
        peak = dropped[-1][f"peak_{unit}"]
        found["stiffness_drop"] = peak, f"{unit} {peak:.3g}"
    return [
        OnsetMark(rule, found[rule][0], line, f"{words}: {found[rule][1]}")
        for rule, (words, line) in _RULES.items()
        if rule in found
    ]


def draw_onsets(axes: Axes, marks: Sequence[OnsetMark], *, rules: Sequence[str] = tuple(_RULES)) -> None:
    """Draws the marks of some rules across a panel."""
    for mark in marks:
        if mark.rule in rules:
            axes.axvline(mark.time, **mark.line, label=f"_{mark.rule}")
