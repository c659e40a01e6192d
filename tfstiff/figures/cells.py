"""The cells of a class stiffness matrix as a picture: colours, values, and a hatched ground where there is no pair."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from tfstiff.figures.sizes import SMALLEST_TEXT
from tfstiff.figures.style import STIFFNESS_COLOURS, Figure
from tfstiff.records import ClassStiffness
from tfstiff.stiffness.intervals import quantile

MISSING: dict[str, Any] = {"facecolor": "0.9", "edgecolor": "0.55", "hatch": "//////", "linewidth": 0}
_LARGEST_VALUE = 7.0  # points
_DARK = 0.6  # white text is legible on colours from here on
_RING, _SMALLEST_RING = 0.22, 0.8  # diameter of the mark of an uncertain cell, of the cell's side; and in points
_BAR = 0.35  # length of the mark of a negative cell, of the cell's side


def values_are_shown(cell: float) -> bool:
    """Whether a cell of this side, in points, has room for its value."""
    return _text_size(cell) >= SMALLEST_TEXT


def marks_are_shown(cell: float) -> bool:
    """Whether a cell of this side, in points, has room for the ring that says that its interval holds 0."""
    return _RING * cell >= _SMALLEST_RING


def bars_are_shown(cell: float) -> bool:
    """Whether cells of this side, in points, have a bar that says that they lie below 0; a value says it itself."""
    return marks_are_shown(cell) and not values_are_shown(cell)


def draw_cells(axes: Axes, matrix: np.ndarray, cell: float, uncertain: np.ndarray) -> AxesImage:
    """Draws a class stiffness matrix from −1 (blue) over 0 (white) to 1 (red), with values where there is room.

    A cell whose 95 % interval holds 0 has a ring, one that lies below 0 a bar, unless its value is there.

    Args:
        axes: The panel.
        matrix: (C, C) the values; NaN shows the hatched ground.
        cell: Side of a cell in points.
        uncertain: (C, C) cells that get a ring: in a corner, or in the middle where no value is printed.
    """
    axes.patch.set(**MISSING)
    image = axes.imshow(matrix, cmap=STIFFNESS_COLOURS, vmin=-1, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(True)
    shown = np.argwhere(np.isfinite(matrix))
    if values_are_shown(cell) and len(shown) and isinstance(axes.figure, Figure):
        # One collection of outlines for all values: as texts they would take most of the time of the whole figure.
        values = matrix[tuple(shown.T)]
        texts = PathCollection(
            [_outline(two_digits(value)) for value in values.tolist()],
            offsets=shown[:, ::-1],
            offset_transform=axes.transData,
            facecolors=np.where(np.abs(values) > _DARK, "white", "black"),
            linewidths=0,
            gid="values",
        )
        texts.set_transform(Affine2D().scale(_text_size(cell) / 72) + axes.figure.dpi_scale_trans)
        texts.set_in_layout(False)
        axes.add_collection(texts, autolim=False)
    ringed = np.argwhere(np.isfinite(matrix) & uncertain)
    if marks_are_shown(cell) and len(ringed):
        aside = 0.36 if values_are_shown(cell) else 0.0  # below and to the right of a value
        down, right = ringed.T + aside
        look: dict[str, Any] = {"edgecolors": _inks(matrix, ringed), "linewidths": max(0.3, 0.03 * cell)}
        axes.scatter(right, down, s=(_RING * cell) ** 2, facecolors="none", gid="rings", **look)
    barred = np.argwhere(negative_cells(matrix, uncertain))
    if bars_are_shown(cell) and len(barred):
        down, right = barred.T
        look = {"color": _inks(matrix, barred), "linewidths": 0.06 * cell}
        axes.scatter(right, down, s=(_BAR * cell) ** 2, marker="_", gid="bars", **look)
    return image


def negative_cells(matrix: np.ndarray, uncertain: np.ndarray) -> np.ndarray:
    """(C, C) cells that lie below 0 by more than their error. In grey they look like those above it."""
    return (matrix < 0) & ~uncertain


def _inks(matrix: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Of some cells, (k, 2): the colour of a mark that is seen on theirs."""
    return np.where(np.abs(matrix[tuple(cells.T)]) > _DARK, "white", "0.25")


def uncertain_cells(stiffness: ClassStiffness) -> np.ndarray:
    """(C, C) cells whose 95 % interval holds 0. Those without a standard error are not among them."""
    return np.abs(stiffness.matrix) < quantile(stiffness.matrix_df) * stiffness.matrix_se


def two_digits(value: float) -> str:
    """`−.25`, with 1 and 0 as they are."""
    text = f"{abs(value):.2f}"
    if text == "0.00":
        return "0"
    return ("−" if value < 0 else "") + ("1" if text == "1.00" else text.removeprefix("0"))


def _text_size(cell: float) -> float:
    return min(_LARGEST_VALUE, cell / 3.1)  # the widest text, "−.98", is 2.5 times as wide as its size


@cache
def _outline(text: str) -> Path:
    """The outlines of a text of size 1, centred on the origin."""
    path = TextPath((0, 0), text, size=100, prop=FontProperties(family="DejaVu Sans"))
    box = path.get_extents()
    height = TextPath((0, 0), "0", size=100, prop=FontProperties(family="DejaVu Sans")).get_extents().height
    return path.transformed(Affine2D().translate(-(box.x0 + box.x1) / 2, -height / 2).scale(0.01))
