"""The figures by their names: each file of a figure registers its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal, NamedTuple

from tfstiff.figures.style import Figure, Numbers

_TAKES: dict[str, Literal["run", "runs"]] = {"source": "run", "runs": "runs"}


class FigureKind(NamedTuple):
    """How to make a figure.

    Attributes:
        draw: Draws what `takes` says, for a `width` of `tfstiff.figures.sizes`. Raises `NothingToDraw` where the figure
            does not apply.
        numbers: Header and rows of the numbers that `draw` shows, of the same.
        description: One line.
        redraws: Figures of the papers that it redraws: `v1` is the first version, `ICLR` the submission of 2020.
        takes: `run`: one run, or a sequence of its measurements. `runs`: a sequence of runs that differ in learning
            rate and seed. `nothing`: no argument.
        options: Names of keyword arguments of both functions that a user may set.
        of_stages: Whether it shows some stages of a training, and not all of it over time.
    """

    draw: Callable[..., Figure]
    numbers: Callable[..., Numbers]
    description: str
    redraws: str
    takes: Literal["run", "runs", "nothing"]
    options: tuple[str, ...]
    of_stages: bool = False


FIGURES: dict[str, FigureKind] = {}


def register_figure(
    draw: Callable[..., Figure],
    numbers: Callable[..., Numbers],
    description: str,
    redraws: str = "",
    *,
    of_stages: bool = False,
) -> None:
    """Makes a figure known under the name of the function that draws it.

    Args:
        draw: As in `FigureKind`.
        numbers: What it takes says what the figure takes: `source`, `runs` or nothing, and keyword arguments.
        description: One line.
        redraws: As in `FigureKind`.
        of_stages: As in `FigureKind`.
    """
    first, *options = [*inspect.signature(numbers).parameters] or [""]
    FIGURES[draw.__name__] = FigureKind(
        draw, numbers, description, redraws, _TAKES.get(first, "nothing"), tuple(options), of_stages
    )
