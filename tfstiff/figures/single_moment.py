"""A single measurement: its values with their intervals, where others have their course over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.lines import Line2D

from tfstiff.analysis.readings import reading
from tfstiff.figures.sizes import add_legends
from tfstiff.figures.style import PAIR_SET_LINES, Figure, new_figure
from tfstiff.records import Measurement
from tfstiff.records.words import PAIR_SET_NAMES, moment, number, quantity_in_words

_APART = 0.22  # of the way from one quantity to the next


def draw_moment(measurement: Measurement, pair_sets: Sequence[str], metrics: Sequence[str], width: float) -> Figure:
    """Draws the means of stiffness of a measurement: a row a quantity, a mark a pair set, bars of 95 %.

    The title says the losses.

    Args:
        measurement: The measurement.
        pair_sets: Which of its pair sets.
        metrics: Which of `sign`, `cosine`.
        width: Of the figure, in inches.
    """
    has_classes = all(measurement[one].sign is not None for one in pair_sets)
    kinds = [f"{metric}_{part}" for metric in metrics for part in (("within", "between") if has_classes else ("mean",))]
    figure = new_figure(width, 1.0 + 0.4 * len(kinds))
    axes = figure.subplots()
    axes.axvline(0, color="0.7", linewidth=0.6, zorder=0, label="_zero")
    places = np.arange(len(kinds))
    for order, pair_set in enumerate(pair_sets):
        read = [reading(measurement, f"stiffness_{kind}_{pair_set}") for kind in kinds]
        line = PAIR_SET_LINES[pair_set]
        rows = places + _APART * (order - (len(pair_sets) - 1) / 2)
        axes.hlines(rows, [one.low for one in read], [one.high for one in read], color=line["color"], linewidth=0.9)
        axes.plot([one.value for one in read], rows, color=line["color"], marker=line["marker"], ls="", label=pair_set)
    axes.set_yticks(places, [quantity_in_words(kind) for kind in kinds])
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_xlabel("stiffness")
    losses = {"training": measurement.train.loss, "validation": measurement.validation.loss}
    told = ", ".join(f"{half} loss {number(loss)}" for half, loss in losses.items() if np.isfinite(loss))
    axes.set_title(f"{moment(measurement)}: {told}" if told else moment(measurement))
    look = {"linestyle": "none"}
    handles = [Line2D([], [], **(PAIR_SET_LINES[name] | look), label=PAIR_SET_NAMES[name]) for name in pair_sets]
    add_legends(figure, ("", [*handles, Line2D([], [], color="0.35", label="95 % interval over the probe's examples")]))
    return figure
