"""How wide figures are, and what fits into that: grids of panels, and legends below them.

A figure is made for one of two widths of a paper. It is laid out for that width and not scaled to it, so that no text
is ever smaller than `SMALLEST_TEXT`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.patches import Patch

from tfstiff.errors import InvalidInput
from tfstiff.figures.style import Figure

WIDTHS = {"column": 3.5, "page": 7.2}  # inches, as of journals with two columns
DEFAULT_WIDTH = "page"
SMALLEST_TEXT = 6.0  # points; what would be smaller is left out
_MOST_COLUMNS = 4
_Part = tuple[str, Sequence[Artist]]


def inches(width: str) -> float:
    """The most that a figure is wide.

    Args:
        width: A key of `WIDTHS`.

    Raises:
        InvalidInput: It is none.
    """
    if width not in WIDTHS:
        raise InvalidInput("There is no width of this name.", expected=" or ".join(WIDTHS), received=width)
    return WIDTHS[width]


def is_column(width: str) -> bool:
    """Whether a figure is as narrow as a column, which has room for two panels beside each other.

    Raises:
        InvalidInput: There is no such width.
    """
    return inches(width) < WIDTHS["page"]


def grid_of_panels(figure: Figure, rows: int, columns: int, *, transposed: bool) -> np.ndarray:
    """(rows, columns) panels that share times or distances, and along a row what is measured.

    Args:
        figure: The figure.
        rows: How many.
        columns: How many.
        transposed: Whether the rows stand beside each other, as columns.
    """
    if transposed:
        return figure.subplots(columns, rows, sharex=True, sharey="col", squeeze=False).T
    return figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)


def name_grid(axes: np.ndarray, row_names: Sequence[str], column_names: Sequence[str], *, transposed: bool) -> None:
    """Titles and labels of the panels of `grid_of_panels`, and numbers at its outer axes alone."""
    below, titles, labels = (axes, column_names, row_names) if not transposed else (axes.T, row_names, column_names)
    for panel, title in zip(below[0], titles, strict=True):
        panel.set_title(title)
    for panel, label in zip(below[:, 0], labels, strict=True):
        panel.set_ylabel(label)
    unlabel_below(below[:-1].flat)
    if not transposed:
        for panel in below[:, 1:].flat:
            panel.tick_params(labelleft=False)


def unlabel_below(panels: Iterable[Axes]) -> None:
    """Takes name and numbers from the x axes of panels, which the lowest one of their column has for all."""
    for panel in panels:
        panel.set_xlabel("")
        panel.tick_params(axis="x", which="both", labelbottom=False)


def add_legends(figure: Figure, *parts: _Part, handle_length: float = 3.0) -> None:
    """Adds legends below a figure, which gets so much higher: in as many columns as fit, side by side or as one.

    Args:
        figure: The figure, whose height is that of its panels.
        *parts: One or two: the title of each, which may be empty, and what it explains.
        handle_length: Of the samples, in text sizes.
    """
    parts = tuple(part for part in parts if part[1])
    if not parts:
        return None
    look: dict[str, Any] = {"handlelength": handle_length, "alignment": "left", "columnspacing": 1.4}
    sides = ("left", "right") if len(parts) > 1 else ("center",)
    places: list[dict[str, Any]] = [{"loc": f"outside lower {side}"} for side in sides]
    most = [min(len(handles), _MOST_COLUMNS) for _, handles in parts]
    choices = sorted(itertools.product(*(range(number, 0, -1) for number in most)), key=sum, reverse=True)
    for columns in choices:
        added = [
            figure.legend(handles=list(handles), title=title or None, ncols=number, **place, **look)
            for (title, handles), place, number in zip(parts, places, columns, strict=True)
        ]
        if _width(figure, added) <= figure.get_figwidth():
            return _make_room(figure, added)
        _remove(added)
    together: list[Artist] = []
    titles = []
    for title, handles in parts:
        titles += [len(together)] if title else []
        together += [*([Patch(visible=False, label=title)] if title else []), *handles]
    only = figure.legend(handles=together, loc="outside lower left", ncols=1, **look)
    for place in titles:  # among the names of what they stand above
        only.get_texts()[place].set_fontweight("bold")
    return _make_room(figure, [only])


def _width(figure: Figure, legends: Sequence[Legend]) -> float:
    """In inches, with the gaps between and around them."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]  # Agg's canvas has one
    return sum(one.get_window_extent(renderer).width / figure.dpi + 0.1 for one in legends)


def _make_room(figure: Figure, legends: Sequence[Legend]) -> None:
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    height = max(one.get_window_extent(renderer).height / figure.dpi for one in legends)
    figure.set_figheight(figure.get_figheight() + height)


def _remove(legends: Sequence[Legend]) -> None:
    for legend in legends:
        legend.remove()
