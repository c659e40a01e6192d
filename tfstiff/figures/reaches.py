"""Critical lengths as they are drawn: so that one that was not observed is never taken for one that was.

A filled marker lies among the distances that were observed. A hollow one does not: the line was extended to it. A
triangle is a bound: ξ lies beyond the distances observed (upwards), or below them (downwards). Where stiffness does not
fall significantly there is no mark.
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

from tfstiff.analysis.comparison import Observation, over_seeds
from tfstiff.figures.style import DistanceKind
from tfstiff.records import CriticalLength

_FAR = 10.0  # times the largest distance observed: a ξ farther away is drawn at the edge
_DECADE = 10.0
_NEAR, _MARGIN = 0.35, 0.15  # an axis begins at 0 where what it shows begins below this share of its top
_TALL = 1.3  # times the largest shown: an interval that ends farther away is cut off
_LARGEST_COSINE_DISTANCE = 2.0
_TRIANGLE, _LARGEST_TRIANGLE = 5.0, 11.0  # points
_BEYOND_OBSERVED: dict[str, Any] = {"facecolor": "0.955", "label": "_beyond the largest distance observed"}
_BEYOND_POSSIBLE: dict[str, Any] = {"facecolor": "0.91", "label": "_beyond 2, the largest distance there is"}


@dataclass(frozen=True)
class Reach:
    """How far stiffness reaches: a critical length as a distance, so that more is always farther.

    Attributes:
        low: ξ, or 1 − ξ of a similarity: the least that it can be; NaN where nothing is known.
        high: The most that it can be; the same where it is known, infinite where only a bound is.
        interval_low: Lower end of its 95 % interval; NaN where there is none.
        interval_high: Upper end.
        observed: Whether it lies among the distances observed.
    """

    low: float
    high: float
    interval_low: float
    interval_high: float
    observed: bool


def reach_of(observations: Sequence[Observation], kind: DistanceKind) -> Reach:
    """What runs of the same settings say of a critical length, as they are compared; of one, with its own interval."""
    summary = over_seeds(observations)
    (low, high), limits = summary.center, summary.limits
    if len(observations) == 1:
        limits = observations[0].interval_low, observations[0].interval_high
    if kind.scale.direction < 0:
        low, high, limits = 1 - high, 1 - low, (1 - limits[1], 1 - limits[0])
    observed = low == high and all(one.status in ("ok", "censored") for one in observations if not one.is_missing)
    return Reach(low, high, *limits, observed)


def furthest_distance(lengths: Sequence[CriticalLength], kind: DistanceKind) -> float:
    """The largest distance observed; 1 where there is none."""
    found = [1 - one.distance_min if kind.scale.direction < 0 else one.distance_max for one in lengths]
    return max((distance for distance in found if math.isfinite(distance)), default=1.0)


def reach_label(kind: DistanceKind) -> str:
    """What the axis of reaches shows."""
    return "critical length ξ" if kind.scale.direction > 0 else "domain size, 1 − ξ"


def draw_reaches(
    axes: Axes, x: Sequence[float], reaches: Sequence[Reach], look: dict[str, Any], *, joined: bool = True
) -> None:
    """Draws a line of critical lengths with the band of their intervals, after `set_reach_axis`.

    Segments are solid between two that were observed, dotted where one was not, absent next to a bound.

    Args:
        axes: The panel.
        x: The place of each.
        reaches: The critical lengths.
        look: Of the line: `color` and `marker`, and `bound`, the size of its triangles in points, where it is not 5.
        joined: Whether their intervals are a band, rather than bars only: where `x` may turn back they are not.
    """
    limit = axes.get_ylim()
    numbers = np.array([(one.low, one.high, one.interval_low, one.interval_high) for one in reaches]).reshape(-1, 4)
    least, most, low, high = numbers.T
    value = np.where(least == most, least, np.nan)
    inside = (value > limit[0]) & (value < limit[1])
    observed = inside & np.array([one.observed for one in reaches], bool)
    color, places = look["color"], np.asarray(x, np.float64)
    band = inside & ~np.isnan(low)
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
    edge: dict[str, Any] = hollow | {"markersize": look.get("bound", _TRIANGLE), "clip_on": False}
    for chosen, heights, line, name in (
        (observed, value, points, "filled"),
        (inside & ~observed, value, hollow, "hollow"),
        (_is_upper(least, most, limit), np.minimum(least, limit[1]), edge | {"marker": "^"}, "lower bound"),
        (_is_lower(least, most, limit), np.maximum(most, limit[0]), edge | {"marker": "v"}, "upper bound"),
    ):
        if chosen.any():
            axes.plot(places[chosen], heights[chosen], **line, label=f"_{name}")


def nested(looks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Looks of lines whose triangles may fall on one another: those drawn first are seen around the later ones."""
    step = min(2.5, (_LARGEST_TRIANGLE - _TRIANGLE) / max(1, len(looks) - 1))
    return [look | {"bound": _TRIANGLE + step * (len(looks) - 1 - index)} for index, look in enumerate(looks)]


def set_reach_axis(axes: Axes, reaches: Sequence[Reach], furthest: float) -> None:
    """Scales the y axis for these critical lengths: logarithmic where they span a decade.

    A linear axis begins at 0 where there is little between 0 and them, else just below what is shown.

    Args:
        axes: The panel.
        reaches: All that will be drawn.
        furthest: The largest distance observed.
    """
    ends = [end for one in reaches for end in (one.low, one.high)]
    shown = [end for end in ends if 0 < end <= _FAR * furthest] or [furthest]
    low, high = min(shown), max(shown)
    if high > _DECADE * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.6)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        least = min(
            [low, furthest, *(one.interval_low for one in reaches if one.low in shown and one.interval_low > 0)]
        )
        tops = [one.interval_high for one in reaches if one.low in shown and one.interval_high < _TALL * high]
        high = max([high, *tops])
        begin = 0.0 if least < _NEAR * high or least == high else least - _MARGIN * (high - least)
        axes.set_ylim(begin, high + _MARGIN * (high - begin))


def shade_beyond(axes: Axes, furthest: float, kind: DistanceKind) -> None:
    """Shades what lies beyond the largest distance observed in one space, and what no two examples can be apart."""
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
        several: Whether some points are of several runs.
    """
    look: dict[str, Any] = {"color": "0.35", "linestyle": "none", "marker": "o"}
    hollow: dict[str, Any] = look | {"markerfacecolor": "white"}
    pairs = [(one, panel.get_ylim()) for panel, reaches in panels for one in reaches]
    up, down = ({"marker": marker, "markersize": _TRIANGLE} for marker in "^v")
    is_known = [one.low == one.high and limit[0] < one.low < limit[1] for one, limit in pairs]
    marks = [
        (any(one.observed for one, _ in pairs), look, "among the distances observed"),
        (
            any(known and not one.observed for known, (one, _) in zip(is_known, pairs, strict=True)),
            hollow,
            "extrapolated past the distances observed",
        ),
        (
            any(_is_upper(one.low, one.high, limit) for one, limit in pairs),
            hollow | up,
            "at least this: beyond the distances observed",
        ),
        (
            any(_is_lower(one.low, one.high, limit) for one, limit in pairs),
            hollow | down,
            "at most this: below the distances observed",
        ),
    ]
    handles: list[Line2D | Patch] = [Line2D([], [], **line, label=label) for present, line, label in marks if present]
    words = "95 % interval over seeds, or of a single run" if several else "95 % interval"
    handles.append(Patch(facecolor="0.35", alpha=0.25, label=words))
    for shade in (_BEYOND_OBSERVED, _BEYOND_POSSIBLE):
        if any(patch.get_label() == shade["label"] for panel, _ in panels for patch in panel.patches):
            handles.append(Patch(**(shade | {"label": shade["label"].removeprefix("_")})))
    return handles


def _is_upper(low: Any, high: Any, limit: tuple[float, float]) -> Any:
    """Whether only the least is known, or the value lies above the panel."""
    return (np.isinf(high) & np.isfinite(low)) | (low >= limit[1])


def _is_lower(low: Any, high: Any, limit: tuple[float, float]) -> Any:
    """Whether only the most is known, or the value lies below the panel."""
    return (np.isinf(low) & np.isfinite(high)) | (high <= limit[0])
