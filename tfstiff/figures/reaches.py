"""Critical lengths as they are drawn: so that one that was not observed is never taken for one that was.

A filled marker lies among the distances that were observed. A hollow one does not: the line was extended to it. A
triangle at the upper or lower edge has no place on the axis: stiffness does not fall to 0, or is not above 0 even for
the nearest pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tfstiff.figures.style import DistanceKind
from tfstiff.records import CriticalLength

_FAR = 10.0  # times the largest distance observed: a ξ farther away is drawn at the edge
_DECADE = 10.0
_EDGE = 0.035  # of the panel's height
_LARGEST_COSINE_DISTANCE = 2.0
_BEYOND_OBSERVED: dict[str, Any] = {"facecolor": "0.955", "label": "_beyond the largest distance observed"}
_BEYOND_POSSIBLE: dict[str, Any] = {"facecolor": "0.91", "label": "_beyond 2, the largest distance there is"}
_DEFINED = ("ok", "extrapolated", "beyond")


@dataclass(frozen=True)
class Reach:
    """How far stiffness reaches: a critical length as a distance, so that more is always farther.

    Attributes:
        value: ξ, or 1 − ξ of a similarity. Infinite where stiffness does not fall to 0 at any distance, minus infinity
            where it is not above 0 at any; NaN where nothing could be fitted.
        low: Lower end of the 95 % interval; NaN where it is not bounded.
        high: Upper end.
        observed: Whether it lies among the distances observed.
        furthest: Largest distance observed.
    """

    value: float
    low: float
    high: float
    observed: bool
    furthest: float


def reach_of(length: CriticalLength, kind: DistanceKind) -> Reach:
    """A critical length as it is drawn."""
    similar = kind.scale.direction < 0
    value, low, high = length.value, length.low, length.high
    if similar:
        value, low, high = 1 - value, 1 - high, 1 - low
    if length.status == "all_nonpositive":
        value = -math.inf
    elif length.status == "no_decay" or (length.status == "beyond" and not math.isfinite(value)):
        value = math.inf
    elif length.status not in _DEFINED:
        value = math.nan
    if length.interval != "bounded" or not math.isfinite(value):
        low = high = math.nan
    furthest = 1 - length.distance_min if similar else length.distance_max
    return Reach(value, low, high, length.status == "ok", furthest)


def middle_of(reaches: Sequence[Reach]) -> Reach:
    """Several runs as one: their median and range. A single one is itself, with its interval.

    Values at an edge have their place in the order, so that the median is right whatever they are. It counts as
    observed where the runs that make it, one or two, do.
    """
    if len(reaches) == 1:
        return reaches[0]
    ordered = sorted((one for one in reaches if not math.isnan(one.value)), key=lambda one: one.value)
    furthest = min(one.furthest for one in reaches)
    if not ordered:
        return Reach(math.nan, math.nan, math.nan, False, furthest)
    below, above = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    middle = (below.value + above.value) / 2
    if not math.isfinite(middle):  # half of the runs lie at an edge, and there is nothing halfway to it
        middle = above.value if above.value == math.inf else below.value
    return Reach(middle, ordered[0].value, ordered[-1].value, below.observed and above.observed, furthest)


def draw_reaches(
    axes: Axes, x: Sequence[float], reaches: Sequence[Reach], look: dict[str, Any], *, joined: bool = True
) -> None:
    """Draws a line of critical lengths with the band of their intervals or ranges, after `set_reach_axis`.

    Segments are solid between two that were observed, dotted where one was not, absent next to an edge.

    Args:
        axes: The panel.
        x: The place of each.
        reaches: The critical lengths.
        look: Of the line: `color` and `marker`.
        joined: Whether their intervals are a band, rather than bars only: where `x` may turn back they are not.
    """
    limit = axes.get_ylim()
    value = np.array([one.value for one in reaches])
    inside = (value > limit[0]) & (value < limit[1])
    observed = inside & np.array([one.observed for one in reaches], bool)
    low, high = (np.array([getattr(one, name) for one in reaches]) for name in ("low", "high"))
    color, places = look["color"], np.asarray(x, np.float64)
    band = inside & np.isfinite(value) & ~np.isnan(low)
    clipped = np.clip([np.where(band, low, np.nan), np.where(band, high, np.nan)], *limit)
    if joined:
        axes.fill_between(places, *clipped, color=color, alpha=0.15, linewidth=0, zorder=1)
    bars: dict[str, Any] = {"linewidth": 0.6 if joined else 1.0, "alpha": 0.5, "zorder": 1}
    axes.vlines(places[band], clipped[0][band], clipped[1][band], color=color, **bars)
    for kind, chosen, style in (("observed", observed, "-"), ("extended", inside, (0, (1, 1.5)))):
        neighbours = chosen[:-1] & chosen[1:]
        if kind == "extended":
            neighbours &= ~(observed[:-1] & observed[1:])
        ends = np.flatnonzero(neighbours)
        segments = np.stack([np.stack([places[ends + i], value[ends + i]], axis=-1) for i in (0, 1)], axis=1)
        axes.add_collection(LineCollection(list(segments), colors=[color], linestyles=[style], label=f"_{kind}"))
    points: dict[str, Any] = {"color": color, "linestyle": "none", "marker": look["marker"], "zorder": 3}
    hollow: dict[str, Any] = points | {"markerfacecolor": "white"}
    edge: dict[str, Any] = hollow | {"markersize": 5, "transform": axes.get_xaxis_transform(), "clip_on": False}
    for chosen, heights, line, name in (
        (observed, value, points, "filled"),
        (inside & ~observed, value, hollow, "hollow"),
        (value >= limit[1], np.full_like(value, 1 - _EDGE), edge | {"marker": "^"}, "upper edge"),
        (value <= limit[0], np.full_like(value, _EDGE), edge | {"marker": "v"}, "lower edge"),
    ):
        if chosen.any():
            axes.plot(places[chosen], heights[chosen], **line, label=f"_{name}")


def set_reach_axis(axes: Axes, reaches: Sequence[Reach]) -> None:
    """Scales the y axis for these critical lengths: logarithmic where they span a decade."""
    furthest = max((one.furthest for one in reaches if math.isfinite(one.furthest)), default=1.0)
    shown = [one.value for one in reaches if 0 < one.value <= _FAR * furthest] or [furthest]
    low, high = min(shown), max(shown)
    if high > _DECADE * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.6)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(0, high * 1.15)


def shade_beyond(axes: Axes, reaches: Sequence[Reach], kind: DistanceKind) -> None:
    """Shades what lies beyond the largest distance observed in one space, and what no two examples can be apart."""
    furthest = max((one.furthest for one in reaches if math.isfinite(one.furthest)), default=math.inf)
    bounds = [(furthest, _BEYOND_OBSERVED)]
    if kind.scale.largest is not None:
        bounds.append((_LARGEST_COSINE_DISTANCE, _BEYOND_POSSIBLE))
    top = axes.get_ylim()[1]
    for bound, shade in bounds:
        if bound < top:
            axes.axhspan(bound, top, **shade, linewidth=0, zorder=0)


def reach_handles(panels: Sequence[tuple[Axes, Sequence[Reach]]], *, several: bool) -> list[Line2D | Patch]:
    """What the markers and shades mean, of those that occur.

    Args:
        panels: Each with the critical lengths that it shows.
        several: Whether some points are medians of several runs.
    """
    look: dict[str, Any] = {"color": "0.35", "linestyle": "none", "marker": "o"}
    hollow: dict[str, Any] = look | {"markerfacecolor": "white"}
    pairs = [(one.value, one.observed, *panel.get_ylim()) for panel, reaches in panels for one in reaches]
    up, down = ({"marker": marker, "markersize": 5} for marker in "^v")
    extended = any(low < value < high and not seen for value, seen, low, high in pairs)
    marks = [
        (any(seen for _, seen, _, _ in pairs), look, "among the distances observed"),
        (extended, hollow, "extrapolated past the distances observed"),
        (any(value >= high for value, _, _, high in pairs), hollow | up, "off the scale, or no fall to 0"),
        (any(value <= low for value, _, low, _ in pairs), hollow | down, "0 or less even for the nearest pairs"),
    ]
    handles: list[Line2D | Patch] = [Line2D([], [], **line, label=label) for present, line, label in marks if present]
    words = "range of the runs, or a single one's 95 % interval" if several else "95 % interval"
    handles.append(Patch(facecolor="0.35", alpha=0.25, label=words))
    for shade in (_BEYOND_OBSERVED, _BEYOND_POSSIBLE):
        if any(patch.get_label() == shade["label"] for panel, _ in panels for patch in panel.patches):
            handles.append(Patch(**(shade | {"label": shade["label"].removeprefix("_")})))
    return handles
