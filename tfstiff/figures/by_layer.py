"""Stiffness against distance in the input and in the outputs of the layers, as in figure 9 of the first version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from tfstiff.figures.against_distance import bins_of, profile_numbers
from tfstiff.figures.chosen import chosen_pair_sets
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.panels import figure_of
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, inches, is_column
from tfstiff.figures.stages import choose_stages, stage_title
from tfstiff.figures.style import (
    Drawn,
    Figure,
    NothingToDraw,
    Numbers,
    distance_kind,
    drawing_style,
    measurements_of,
    new_figure,
    ordered_lines,
    pair_sets_of,
    short_name,
    write_title,
)
from tfstiff.records import DistanceStiffness, Measurement
from tfstiff.records.words import PAIR_SET_NAMES
from tfstiff.stiffness.intervals import interval

MOST_SPACES = 10  # more lines cannot be told apart
_MOST_STAGES = 2
_REACH = 1.6  # points: of the bar of an interval of ξ
_APART = 4.0  # points between those of two spaces


@drawing_style()
def layers(source: Drawn, *, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws stiffness against distance, a line for each space in which distances were taken.

    A column is a pair set, a row a stage: the first measurement and the last (side by side where there is one pair
    set). Lines join the means of bins that have a
    standard error, and bands are 95 % intervals. A diamond marks the critical length where it lies among the distances
    observed, with the bar of its 95 % interval; those of several spaces stand a little above one another about 0, where
    they belong. Of more than ten spaces ten are drawn, evenly from the input to the last layer.

    Args:
        source: A run, or measurements in order of time.
        width: `column` or `page`, of a paper; a column has room for one pair set.

    Raises:
        InvalidInput: There is no measurement, or no such width.
        NothingToDraw: Distances were taken in one space only.
    """
    whole, stages = inches(width), _stages(source)
    kind, pair_sets = distance_kind(source), pair_sets_of(stages)
    if is_column(width):
        pair_sets = chosen_pair_sets(source, pair_sets)[:1]
    names = spaces_of(stages)
    drawn = spread(names, MOST_SPACES)
    looks = dict(zip(drawn, ordered_lines(len(drawn)), strict=True))
    grid = [[(stage, pair_set) for pair_set in pair_sets] for stage in stages]
    if len(pair_sets) == 1:  # the stages side by side
        grid = [[panel for row in grid for panel in row]]
    figure = new_figure(whole, 0.6 + 2.0 * len(grid))
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False, sharex=True, sharey=True)
    label = f"{kind.pairs} {stages[0][pair_sets[0]].critical_length.metric}"
    for i, row in enumerate(grid):
        for panel, (stage, pair_set) in zip(axes[i], row, strict=True):
            panel.axhline(0, color="0.7", linewidth=0.6, zorder=0)
            for order, name in enumerate(drawn):
                aside = (order - (len(drawn) - 1) / 2) * _APART
                _draw_space(panel, stage[pair_set].spaces[name], looks[name], aside)
            when = stage_title(stage) if is_column(width) else stage_title(stage).replace("\n", ", ")
            panel.set_title(f"{PAIR_SET_NAMES[pair_set]}\n{when}")
        axes[i, 0].set_ylabel(label)
    for panel in axes[-1]:
        panel.set_xlabel(kind.label)
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(max(low, -1.1), min(high, 1.1))
    shown = {name: short_name(name.rsplit("/", 1)[-1], 24) for name in drawn}
    handles: list[Artist] = [Line2D([], [], **look, label=shown[name]) for name, look in looks.items()]
    marks: list[Artist] = [Patch(facecolor="0.35", alpha=0.25, label="95 % interval of a bin")]
    if any(line.get_label() == "_crossing" for panel in axes.flat for line in panel.lines):
        length = _crossing("0.3") | {"linestyle": "-", "linewidth": _REACH}
        marks.append(Line2D([], [], **length, label="critical length ξ, with its 95 % interval"))
    add_legends(figure, ("distances in", handles), ("", marks))
    some = f", {len(drawn)} of {len(names)} spaces" if len(drawn) < len(names) else ""
    write_title(figure, f"Stiffness against distance by layer{some}", source)
    return figure


def layers_numbers(source: Drawn) -> Numbers:
    """Header and rows of the bins of every space, a row a bin, with the critical length in each of its rows."""
    return profile_numbers(_stages(source))


def spaces_of(measurements: Sequence[Measurement]) -> list[str]:
    """The spaces that all pair sets of all measurements have, from the input on."""
    found = [stiffness.spaces for one in measurements for stiffness in one.pair_sets.values()]
    return [name for name in found[0] if all(name in spaces for spaces in found)]


def spread(names: Sequence[str], limit: int) -> list[str]:
    """Up to `limit` of the names, evenly spread, the first and the last among them."""
    if len(names) <= limit:
        return list(names)
    return [names[index] for index in np.linspace(0, len(names) - 1, limit).round().astype(int)]


def _stages(source: Drawn) -> list[Measurement]:
    stages = choose_stages(measurements_of(source), _MOST_STAGES)
    if len(spaces_of(stages)) < 2:
        raise NothingToDraw(
            "Distances were taken in one space only.",
            remedy="Measure with `tfstiff run --space all`, or StiffnessCallback(..., space='all').",
        )
    return stages


def _draw_space(axes: Axes, space: DistanceStiffness, look: dict[str, Any], aside: float) -> None:
    """The bins of a space, and its ξ so many points above 0."""
    fit = space.critical_length
    centres, mean, se = bins_of(space.profile, fit.metric)
    known = np.isfinite(se)
    centres, mean = centres[known], mean[known]
    axes.fill_between(centres, *interval(mean, se[known]), color=look["color"], alpha=0.15, linewidth=0)
    axes.plot(centres, mean, **look)
    if fit.status == "ok":
        shift = ScaledTranslation(0, aside / 72, figure_of(axes).dpi_scale_trans)
        shifted: dict[str, Any] = {"transform": axes.transData + shift}
        if fit.interval == "bounded":
            ends = np.clip([fit.low, fit.high], fit.distance_min, fit.distance_max)
            axes.plot(ends, [0, 0], color=look["color"], linewidth=_REACH, zorder=2.9, label="_reach", **shifted)
        axes.plot([fit.value], [0], **_crossing(look["color"]), zorder=3, label="_crossing", **shifted)


def _crossing(color: Any) -> dict[str, Any]:
    edge = {"markeredgecolor": color, "markerfacecolor": "white", "markeredgewidth": 1.0}
    return {"color": color, "marker": "D", "markersize": 4, "linestyle": "none"} | edge


register_figure(layers, layers_numbers, "Stiffness against distance, layer by layer.", "v1 9", of_stages=True)
