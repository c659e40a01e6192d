"""Stiffness against the distance of the inputs, and the critical length, as in figure 5 of the paper."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from tfstiff.figures.stages import choose_stages, in_words, stage_title
from tfstiff.figures.style import (
    PAIR_SET_LINES,
    PAIR_SET_NAMES,
    Figure,
    drawing_style,
    measurements_of,
    new_figure,
    pair_sets_of,
    write_title,
)
from tfstiff.records import CriticalLength, Measurement, PairSetStiffness, Run

_NORMAL_QUANTILE = 1.96
_LARGEST_AREA, _SMALLEST_AREA = 70.0, 3.0  # points²
_FIT: dict[str, Any] = {"color": "black", "linewidth": 1.0}
_EXTENDED: dict[str, Any] = _FIT | {"linestyle": (0, (2, 2)), "linewidth": 0.8}
_CROSSING: dict[str, Any] = {
    "color": "black",
    "marker": "D",
    "markerfacecolor": "white",
    "markersize": 5,
    "linestyle": "none",
}


@drawing_style()
def distance(source: Run | Sequence[Measurement]) -> Figure:
    """Draws same-class cosine stiffness against 1 − cos of the inputs: a column a stage, a row a pair set.

    Dots are the means of bins, their areas the number of pairs, their bars 95 % intervals. The line is the straight
    line fitted to the pairs, with the band of its 95 % interval, solid where there are pairs, dashed on its way to the
    critical length ξ, which the panel states in words. Targets without classes have all pairs in place of those of one
    class.

    Args:
        source: A run, or measurements in order of time.

    Raises:
        InvalidInput: There is no measurement.
    """
    stages = choose_stages(measurements_of(source))
    pair_sets = pair_sets_of(stages)
    drawn = [stage[pair_set] for stage in stages for pair_set in pair_sets]
    most_pairs = max(1, *(int(np.max(stiffness.distance_profile.count, initial=0)) for stiffness in drawn))
    limit = _distance_limit(drawn)
    kind = "same-class" if all(stiffness.cosine is not None for stiffness in drawn) else "mean"

    if len(stages) == 1:
        grid = [[(stages[0], pair_set) for pair_set in pair_sets]]
    else:
        grid = [[(stage, pair_set) for stage in stages] for pair_set in pair_sets]
    figure = new_figure(max(4.6, 1.2 + 2.25 * len(grid[0])), 1.4 + 1.95 * len(grid))
    axes = figure.subplots(len(grid), len(grid[0]), sharex=True, sharey=True, squeeze=False)
    for i, row in enumerate(grid):
        words = [textwrap.fill(describe(stage[pair_set].critical_length), 36) for stage, pair_set in row]
        if any("\n" in text for text in words):  # titles of a row begin at one height
            words = [text if "\n" in text else f"{text}\n" for text in words]
        for j, (stage, pair_set) in enumerate(row):
            _draw_panel(axes[i, j], stage[pair_set], pair_set, most_pairs, limit)
            column = PAIR_SET_NAMES[pair_set] if len(stages) == 1 else stage_title(stage)
            axes[i, j].set_title(f"{column}\n{words[j]}" if i == 0 else words[j])
        axes[i, 0].set_ylabel(f"{kind} cosine" if len(stages) == 1 else f"{PAIR_SET_NAMES[row[0][1]]}\n{kind} cosine")
    for panel in axes[-1]:
        panel.set_xlabel("input distance, 1 − cos")
    axes[0, 0].set_xlim(-0.03 * limit, limit * 1.04)
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(max(low, -1.1), min(high, 1.1))
    present = {line.get_label() for panel in axes.flat for line in panel.lines}
    figure.legend(handles=_handles(most_pairs, present), loc="outside lower center", ncols=5 if len(grid[0]) > 2 else 2)
    subject = "Stiffness against distance"
    write_title(figure, subject if len(stages) > 1 else f"{subject}, {in_words(stages[0])}", source)
    return figure


def distance_numbers(source: Run | Sequence[Measurement]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the bins that `distance` draws, a row a bin; the fit stands in each of its rows.

    Raises:
        InvalidInput: There is no measurement.
    """
    header = ["step", "epoch", "pair_set", "bin_low", "bin_high", "mean_cosine", "se", "pairs"]
    header += [
        "critical_length",
        "low",
        "high",
        "status",
        "intercept",
        "slope",
        "distance_min",
        "distance_max",
        "pairs_fitted",
    ]
    rows: list[list[object]] = []
    stages = choose_stages(measurements_of(source))
    for pair_set in pair_sets_of(stages):
        for stage in stages:
            profile, fit = stage[pair_set].distance_profile, stage[pair_set].critical_length
            numbers = [
                fit.value,
                fit.low,
                fit.high,
                fit.status,
                fit.intercept,
                fit.slope,
                fit.distance_min,
                fit.distance_max,
            ]
            columns = (profile.edges[:-1], profile.edges[1:], profile.mean, profile.mean_se, profile.count)
            for bin_numbers in zip(*(column.tolist() for column in columns), strict=True):
                rows.append([stage.step, stage.epoch, pair_set, *bin_numbers, *numbers, fit.num_pairs])
    return header, rows


def describe(length: CriticalLength) -> str:
    """The critical length and its status in words."""
    reasons = {
        "no_decay": "the line does not fall significantly",
        "too_few_pairs": "too few pairs",
        "unavailable": "its method needs all pairs",
    }
    if length.status in reasons:
        return f"no ξ: {reasons[length.status]}"
    if math.isnan(length.value):
        if length.status == "beyond":
            return f"ξ lies beyond the largest distance observed ({length.distance_max:.2f})"
        return f"ξ lies below the smallest distance observed ({length.distance_min:.2f})"
    where = {
        "extrapolated": f", beyond the largest distance observed ({length.distance_max:.2f})",
        "beyond": ", beyond 2, the largest distance there is",
        "all_nonpositive": f", below the smallest distance observed ({length.distance_min:.2f})",
    }
    limits = ""
    if length.interval == "bounded":
        limits = f" ({length.low:.2f} to {length.high:.2f})"
    return f"ξ = {length.value:.2f}{limits}".replace("-", "−") + where.get(length.status, "")


def _distance_limit(drawn: Sequence[PairSetStiffness]) -> float:
    """The right end of the axis: all bins that hold pairs, and each ξ up to twice as far."""
    observed = max(
        (float(s.distance_profile.edges[1:][s.distance_profile.count > 0].max(initial=0)) for s in drawn), default=0
    )
    observed = observed or 1.0
    crossings = [s.critical_length.value for s in drawn if s.critical_length.status in ("ok", "extrapolated")]
    return max([observed, *(value for value in crossings if value <= 2 * observed)])


def _draw_panel(axes: Axes, stiffness: PairSetStiffness, pair_set: str, most_pairs: int, limit: float) -> None:
    profile, fit = stiffness.distance_profile, stiffness.critical_length
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0, label="_zero")
    filled = profile.count > 0
    centres = (profile.edges[:-1] + profile.edges[1:]) / 2
    known = filled & np.isfinite(profile.mean_se)
    bars = np.array([-1, 1])[:, None] * _NORMAL_QUANTILE * profile.mean_se[known] + profile.mean[known]
    axes.vlines(centres[known], *bars, color=PAIR_SET_LINES[pair_set]["color"], linewidth=0.8, label="_errors")
    axes.scatter(
        centres[filled],
        profile.mean[filled],
        s=_area(profile.count[filled], most_pairs),
        color=PAIR_SET_LINES[pair_set]["color"],
        alpha=0.75,
        linewidth=0,
    )
    if not math.isfinite(fit.slope) or not math.isfinite(fit.intercept):
        return
    ends = np.array([fit.distance_min, fit.distance_max])
    axes.plot(ends, fit.intercept + fit.slope * ends, **_FIT, label="fit")
    if np.isfinite(fit.covariance).all():
        places = np.linspace(fit.distance_min, fit.distance_max, 50)
        variance = fit.covariance[0, 0] + 2 * places * fit.covariance[0, 1] + places**2 * fit.covariance[1, 1]
        middle, width = fit.intercept + fit.slope * places, _NORMAL_QUANTILE * np.sqrt(np.maximum(variance, 0))
        axes.fill_between(places, middle - width, middle + width, color="black", alpha=0.12, linewidth=0)
    if fit.status in ("extrapolated", "beyond"):
        ends = np.array([fit.distance_max, min(fit.value, limit)])
    elif fit.status == "all_nonpositive":
        ends = np.array([max(fit.value, 0.0), fit.distance_min])
    elif fit.status != "ok":
        return
    if fit.status != "ok" and ends[1] > ends[0]:
        axes.plot(ends, fit.intercept + fit.slope * ends, **_EXTENDED, label="extended")
    if 0 <= fit.value <= limit:
        axes.plot([fit.value], [0], **_CROSSING, label="crossing")


def _area(count: np.ndarray | int, most_pairs: int) -> np.ndarray | float:
    return _SMALLEST_AREA + (_LARGEST_AREA - _SMALLEST_AREA) * count / most_pairs


def _handles(most_pairs: int, present: set[object]) -> list[Line2D]:
    dots: dict[str, Any] = {"color": "0.45", "marker": "o", "linestyle": "none", "markeredgewidth": 0}
    sizes = dict.fromkeys((most_pairs, max(1, most_pairs // 10)))
    lines = {
        "fit": Line2D([], [], **_FIT, label="straight line fitted"),
        "extended": Line2D([], [], **_EXTENDED, label="extended past the pairs"),
        "crossing": Line2D([], [], **_CROSSING, label="critical length ξ"),
    }
    return [
        *(
            Line2D([], [], **dots, markersize=math.sqrt(_area(n, most_pairs)), label=f"bin mean, {n} pairs")
            for n in sizes
        ),
        *(line for label, line in lines.items() if label in present),
    ]
