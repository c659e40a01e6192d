"""Labels of ticks that have room beside each other, however narrow the panel turns out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import Formatter

_GAP = 0.5  # of the text size, between two labels


class RoomyLabels(Formatter):
    """Labels of a horizontal axis, without those that would touch another; their ticks stay.

    It decides when the axis is drawn, since only then its length is known. The last tick and the first have their
    labels before all others, and then the later ones before the earlier.

    Args:
        write: The label of a place.
    """

    def __init__(self, write: Callable[[float], str]) -> None:
        self._write = write
        self._size = FontProperties(size=matplotlib.rcParams["xtick.labelsize"]).get_size_in_points()

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self._write(float(x))

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        labels = [self._write(float(value)) for value in values]
        if not isinstance(self.axis, Axis):  # which is not drawn, and may be as long as it likes
            return labels
        places = _points_along(self.axis, np.asarray(values, np.float64))
        shown = [index for index, place in enumerate(places) if math.isfinite(place)]
        kept: dict[int, tuple[float, float]] = {}
        for index in dict.fromkeys([*shown[-1:], *shown[:1], *shown[::-1]]):
            half = label_width(labels[index], self._size) / 2
            ends = places[index] - half, places[index] + half
            if all(ends[1] <= low or high <= ends[0] for low, high in kept.values()):
                kept[index] = ends
        return [label if index in kept else "" for index, label in enumerate(labels)]


def _points_along(axis: Axis, values: np.ndarray) -> np.ndarray:
    """Where values are on a horizontal axis, in points; NaN for those outside it."""
    transform = axis.get_transform()
    low, high = transform.transform(np.asarray(axis.get_view_interval(), np.float64))
    share = (transform.transform(values) - low) / (high - low)
    length = axis.axes.bbox.width * 72 / axis.axes.figure.dpi
    return np.where((share > -1e-6) & (share < 1 + 1e-6), share * length, math.nan)


def label_width(text: str, size: float) -> float:
    """How much room a label of this size takes, in points, with the gap to the next."""
    return size * (_width(text) + _GAP)


@cache
def _width(text: str) -> float:
    return float(TextPath((0, 0), text, size=100, prop=FontProperties(family="DejaVu Sans")).get_extents().width) / 100
