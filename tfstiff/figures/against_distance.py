"""Stiffness against the distance of the inputs, and the critical length, as in figure 5 of the paper."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tfstiff.figures.chosen import chosen_pair_sets
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, inches, is_column
from tfstiff.figures.stages import choose_stages, stage_title
from tfstiff.figures.style import (
    PAIR_SET_LINES,
    DistanceKind,
    Drawn,
    Figure,
    Numbers,
    distance_kind,
    drawing_style,
    measurements_of,
    new_figure,
    pair_sets_of,
    write_title,
)
from tfstiff.records import CriticalLength, DistanceProfile, DistanceStiffness, Measurement
from tfstiff.records.words import PAIR_SET_NAMES, length_in_words, moment
from tfstiff.stiffness.intervals import interval

_LARGEST_AREA, _SMALLEST_AREA = 50.0, 3.0  # points²
_TITLE_CHARACTERS = 18  # in an inch
_FIT: dict[str, Any] = {"color": "black", "linewidth": 1.0}
_EXTENDED: dict[str, Any] = _FIT | {"linestyle": (0, (2, 2)), "linewidth": 0.8}
_CROSSING: dict[str, Any] = {
    "color": "black",
    "marker": "D",
    "markerfacecolor": "white",
    "markersize": 5,
    "linestyle": "none",
}
_REACH: dict[str, Any] = {"color": "black", "linewidth": 3, "alpha": 0.35, "solid_capstyle": "butt"}


@drawing_style()
def distance(source: Drawn, *, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws same-class stiffness against the distance of the inputs: a column a stage, a row a pair set.

    Dots are the means of bins, their areas the number of pairs, their bars 95 % intervals; a bin of few pairs or
    examples has none. The line is the straight
    line fitted to the pairs, with the band of its 95 % interval, solid where there are pairs, dashed on its way to the
    critical length ξ, which the panel states in words. Targets without classes have all pairs in place of those of one
    class. Metric, distance and pairs are those that the run's critical length is of: by default the cosine, 1 − cos of
    the inputs, and pairs of one class.

    Args:
        source: A run, or measurements in order of time.
        width: `column` or `page`, of a paper; a column has room for one pair set, at up to four stages.

    Raises:
        InvalidInput: There is no measurement, or no such width.
    """
    whole = inches(width)
    stages = choose_stages(measurements_of(source))
    pair_sets, kind = pair_sets_of(stages), distance_kind(source)
    if is_column(width):
        pair_sets = chosen_pair_sets(source, pair_sets)[:1]
    space = next(iter(stages[0][pair_sets[0]].spaces))
    drawn = [stage[pair_set].spaces[space] for stage in stages for pair_set in pair_sets]
    most_pairs = max(1, *(int(np.max(one.profile.count, initial=0)) for one in drawn))
    limits = _distance_limits(drawn)

    if len(stages) == 1:
        grid = [[(stages[0], pair_set) for pair_set in pair_sets]]
    elif is_column(width):  # two beside each other
        grid = [[(stage, pair_sets[0]) for stage in pair] for pair in _pairs(stages)]
    else:
        grid = [[(stage, pair_set) for stage in stages] for pair_set in pair_sets]
    characters = int((whole - 0.6) / len(grid[0]) * _TITLE_CHARACTERS)
    figure = new_figure(whole, 0.6 + 1.75 * len(grid))
    axes = figure.subplots(len(grid), len(grid[0]), sharex=True, sharey=True, squeeze=False)
    label = f"{kind.pairs} {drawn[0].critical_length.metric}"
    for i, row in enumerate(grid):
        words = [
            textwrap.fill(
                length_in_words(stage[pair_set].critical_length, kind.name, digits=2, is_brief=True), characters
            )
            for stage, pair_set in row
        ]
        if any("\n" in text for text in words):  # titles of a row begin at one height
            words = [text if "\n" in text else f"{text}\n" for text in words]
        for j, (stage, pair_set) in enumerate(row):
            color = PAIR_SET_LINES[pair_set]["color"]
            _draw_bins(axes[i, j], stage[pair_set].spaces[space], color, most_pairs)
            _draw_fit(axes[i, j], stage[pair_set].spaces[space].critical_length, limits, kind)
            column = PAIR_SET_NAMES[pair_set] if len(stages) == 1 else stage_title(stage)
            axes[i, j].set_title(f"{column}\n{words[j]}" if i == 0 or is_column(width) else words[j])
        axes[i, 0].set_ylabel(label if len(stages) == 1 else f"{PAIR_SET_NAMES[row[0][1]]}\n{label}")
    for panel in axes.flat[sum(map(len, grid)) :]:  # of an odd number of stages
        panel.remove()
    for place in range(len(grid[0])):
        panel = axes[sum(len(row) > place for row in grid) - 1, place]
        panel.set_xlabel(f"{space} {kind.label}", parse_math=False)
        panel.tick_params(labelbottom=True)
    axes[0, 0].set_xlim(limits[0] - 0.03 * (limits[1] - limits[0]), limits[1] + 0.04 * (limits[1] - limits[0]))
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(max(low, -1.1), min(high, 1.1))
    present = {line.get_label() for panel in axes.flat for line in panel.lines}
    add_legends(figure, ("", _handles(most_pairs, present)))
    subject = "Stiffness against distance"
    write_title(figure, subject if len(stages) > 1 else f"{subject}, {moment(stages[0])}", source)
    return figure


def distance_numbers(source: Drawn) -> Numbers:
    """Header and rows of the bins that `distance` draws, a row a bin; the fit stands in each of its rows."""
    return profile_numbers(choose_stages(measurements_of(source)), first_space_only=True)


def profile_numbers(stages: Sequence[Measurement], *, first_space_only: bool = False) -> Numbers:
    """Header and rows of stiffness against distance, a row a bin, with the critical length in each of its rows."""
    fit_columns = (
        *("value", "low", "high", "status", "interval", "method", "metric", "intercept", "slope"),
        *("distance_min", "distance_max", "num_pairs"),
    )
    header = ["step", "epoch", "pair_set", "space", "bin_low", "bin_high"]
    header += ["mean_cosine", "cosine_se", "mean_sign", "sign_se", "pairs", "critical_length", *fit_columns[1:]]
    rows: list[list[object]] = []
    for pair_set in pair_sets_of(stages):
        for stage in stages:
            for space in list(stage[pair_set].spaces)[: 1 if first_space_only else None]:
                one = stage[pair_set].spaces[space]
                profile = one.profile
                fit = [getattr(one.critical_length, name) for name in fit_columns]
                columns = [profile.edges[:-1], profile.edges[1:], profile.mean, profile.mean_se]
                columns += [profile.mean_sign, profile.mean_sign_se, profile.count]
                for bin_numbers in zip(*(column.tolist() for column in columns), strict=True):
                    rows.append([stage.step, stage.epoch, pair_set, space, *bin_numbers, *fit])
    return header, rows


def bins_of(profile: DistanceProfile, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, means and standard errors of the bins that hold pairs, (b,) each."""
    mean, se = (profile.mean, profile.mean_se) if metric == "cosine" else (profile.mean_sign, profile.mean_sign_se)
    filled = profile.count > 0
    return ((profile.edges[:-1] + profile.edges[1:]) / 2)[filled], mean[filled], se[filled]


def _distance_limits(drawn: Sequence[DistanceStiffness]) -> tuple[float, float]:
    """The ends of the axis: all bins that hold pairs, 0 where distances have a sign, and each ξ not too far away."""
    edges = [one.profile.edges[i:][: len(one.profile.count)][one.profile.count > 0] for one in drawn for i in (0, 1)]
    low, high = min(0.0, *(part.min(initial=0) for part in edges)), max(part.max(initial=0) for part in edges)
    high = float(high) or 1.0
    found = [one.critical_length.value for one in drawn if one.critical_length.status in ("ok", "extrapolated")]
    near = [value for value in found if low - (high - low) <= value <= high + (high - low)]
    return min([float(low), *near]), max([high, *near])


def _draw_bins(axes: Axes, drawn: DistanceStiffness, color: str, most_pairs: int) -> None:
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0, label="_zero")
    centres, mean, se = bins_of(drawn.profile, drawn.critical_length.metric)
    known = np.isfinite(se)
    axes.vlines(centres[known], *interval(mean[known], se[known]), color=color, linewidth=0.8, label="_errors")
    areas = _area(drawn.profile.count[drawn.profile.count > 0], most_pairs)
    axes.scatter(centres, mean, s=areas, color=color, alpha=0.75, linewidth=0)


def _draw_fit(axes: Axes, fit: CriticalLength, limits: tuple[float, float], kind: DistanceKind) -> None:
    """The line with its band, on its way to ξ dashed, and ξ with its interval where the axis reaches it."""
    if math.isfinite(fit.slope) and math.isfinite(fit.intercept):
        ends = np.array([fit.distance_min, fit.distance_max])
        axes.plot(ends, fit.intercept + fit.slope * ends, **_FIT, label="fit")
        if np.isfinite(fit.covariance).all():
            places = np.linspace(fit.distance_min, fit.distance_max, 50)
            variance = fit.covariance[0, 0] + 2 * places * fit.covariance[0, 1] + places**2 * fit.covariance[1, 1]
            limits_of_line = interval(fit.intercept + fit.slope * places, np.sqrt(np.maximum(variance, 0)))
            axes.fill_between(places, *limits_of_line, color="black", alpha=0.12, linewidth=0)
        if fit.status in ("extrapolated", "beyond", "all_nonpositive"):
            ends = np.array(_way_to_zero(fit, limits, kind))
            if ends[1] > ends[0]:
                axes.plot(ends, fit.intercept + fit.slope * ends, **_EXTENDED, label="extended")
    if fit.status in ("ok", "extrapolated", "beyond", "all_nonpositive") and limits[0] <= fit.value <= limits[1]:
        if fit.interval == "bounded":
            reach = np.clip([fit.low, fit.high], *limits)
            axes.plot(reach, [0, 0], **_REACH, zorder=2.5, label="reach")
        axes.plot([fit.value], [0], **_CROSSING, zorder=3, label="crossing")


def _way_to_zero(fit: CriticalLength, limits: tuple[float, float], kind: DistanceKind) -> tuple[float, float]:
    """From the pairs to ξ, as far as the axis reaches."""
    if (fit.status == "all_nonpositive") == (kind.scale.direction > 0):
        return max(fit.value, limits[0]), fit.distance_min
    return fit.distance_max, min(fit.value, limits[1])


def _pairs(stages: Sequence[Measurement]) -> list[Sequence[Measurement]]:
    return [stages[index : index + 2] for index in range(0, len(stages), 2)]


def _area(count: np.ndarray | int, most_pairs: int) -> np.ndarray | float:
    return _SMALLEST_AREA + (_LARGEST_AREA - _SMALLEST_AREA) * count / most_pairs


def _handles(most_pairs: int, present: set[object]) -> list[Line2D]:
    dots: dict[str, Any] = {"color": "0.45", "marker": "o", "linestyle": "none", "markeredgewidth": 0}
    sizes = dict.fromkeys((most_pairs, max(1, most_pairs // 10)))
    lines = {
        "fit": Line2D([], [], **_FIT, label="straight line fitted"),
        "extended": Line2D([], [], **_EXTENDED, label="extended past the pairs"),
        "crossing": Line2D([], [], **_CROSSING, label="critical length ξ"),
        "reach": Line2D([], [], **_REACH, label="95 % interval of ξ"),
    }
    return [
        *(
            Line2D([], [], **dots, markersize=math.sqrt(_area(n, most_pairs)), label=f"bin mean, {n} pairs")
            for n in sizes
        ),
        *(line for label, line in lines.items() if label in present),
    ]


register_figure(
    distance,
    distance_numbers,
    "Stiffness against input distance, and the critical length.",
    "ICLR 5, 9, 10",
    of_stages=True,
)
