"""Figures of a run. Matplotlib's object interface only; imports no TensorFlow.

A new figure is one file and one line of `FIGURES`.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tfstiff.errors import InvalidInput
from tfstiff.figures.against_distance import distance, distance_numbers
from tfstiff.figures.class_stiffness import class_matrices, class_matrices_numbers
from tfstiff.figures.over_time import curves, curves_numbers
from tfstiff.figures.style import Figure, NothingToDraw, drawing_style, measurements_of
from tfstiff.records import Run
from tfstiff.records.atomic import write_atomically

__all__ = ["FIGURES", "FORMATS", "FigureKind", "NothingToDraw", "class_matrices", "curves", "distance", "draw"]


class FigureKind(NamedTuple):
    """How to make a figure.

    Attributes:
        draw: Draws a run, or a sequence of measurements. Raises `NothingToDraw` where the figure does not apply.
        numbers: Header and rows of the numbers that `draw` shows.
        description: One line.
    """

    draw: Callable[..., Figure]
    numbers: Callable[..., tuple[list[str], list[list[object]]]]
    description: str


FIGURES = {
    "class_matrices": FigureKind(class_matrices, class_matrices_numbers, "Class stiffness matrices at up to 4 stages."),
    "curves": FigureKind(curves, curves_numbers, "Loss, within-class and between-class stiffness against time."),
    "distance": FigureKind(distance, distance_numbers, "Stiffness against input distance, and the critical length."),
}
FORMATS = ("png", "svg")


def draw(
    run: Run,
    names: Iterable[str] | None = None,
    folder: str | Path | None = None,
    *,
    formats: Iterable[str] = FORMATS,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Draws figures of a run and saves them, with the numbers behind each as CSV beside it.

    Equal runs give equal files.

    Args:
        run: The run.
        names: Keys of `FIGURES`; None for all.
        folder: Where to save; created where it does not exist. None for `figures/` in the run's folder.
        formats: Some of `FORMATS`. PNG has 150 dots per inch.
        say: Called with a sentence for each figure that does not apply to the run. None warns.

    Returns:
        The files written. A figure that does not apply has none.

    Raises:
        InvalidInput: The run has no measurement, a name or format is unknown, or the folder cannot be written.
    """
    names = _known("figure", FIGURES if names is None else names, FIGURES)
    formats = _known("format", formats, FORMATS)
    measurements_of(run)
    folder = run.folder / "figures" if folder is None else Path(folder)
    paths: list[Path] = []
    for name in names:
        try:
            figure = FIGURES[name].draw(run)
        except NothingToDraw as reason:
            message = f"The figure {name} is left out. {reason}"
            warnings.warn(message, stacklevel=2) if say is None else say(message)
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for form in formats:
                _save(figure, folder / f"{name}.{form}")
            _save_numbers(FIGURES[name].numbers(run), folder / f"{name}.csv")
        except OSError as error:
            raise InvalidInput(
                f"The figure {name} cannot be saved in {folder}: {error}", remedy="Choose a folder that can be written."
            ) from error
        paths += [folder / f"{name}.{suffix}" for suffix in (*formats, "csv")]
    return paths


def _known(kind: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(wanted))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidInput(f"There is no {kind} of this name.", expected=", ".join(known), received=unknown[0])
    return wanted


def _save(figure: Figure, path: Path) -> None:
    form = path.suffix[1:]
    metadata = {"Date": None} if form == "svg" else {}
    with drawing_style():
        write_atomically(
            path,
            lambda file: figure.savefig(
                file, format=form, dpi=150, bbox_inches="tight", pad_inches=0.06, metadata=metadata
            ),
        )


def _save_numbers(table: tuple[list[str], list[list[object]]], path: Path) -> None:
    header, rows = table
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_atomically(path, lambda file: file.write(text.getvalue().encode()) and None)
