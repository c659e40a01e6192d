"""Figures and their numbers as files, whole or absent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfstiff.errors import InvalidInput
from tfstiff.figures.style import Figure, Numbers, drawing_style
from tfstiff.records.atomic import write_atomically, write_text
from tfstiff.records.cells import harmless

_DOTS_PER_INCH = 150
_NO_TIME: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # equal files


def save_figure(figure: Figure, numbers: Numbers, path: Path, formats: Iterable[str]) -> list[Path]:
    """Saves a figure in some formats, and its numbers as CSV beside it. Equal figures give equal files.

    Args:
        figure: The figure.
        numbers: Header and rows of what it shows.
        path: Without a suffix. The folder is created where it does not exist.
        formats: Some of `png` (150 dots per inch), `svg` and `pdf`.

    Returns:
        The files written.

    Raises:
        InvalidInput: They cannot be written.
    """
    paths = [path.with_name(f"{path.name}.{suffix}") for suffix in (*formats, "csv")]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for picture in paths[:-1]:
            _save(figure, picture)
        _save_numbers(numbers, paths[-1])
    except OSError as error:
        raise InvalidInput(
            f"The figure {path.name} cannot be saved in {path.parent}: {error}",
            remedy="Choose a folder that can be written.",
        ) from error
    return paths


def _save(figure: Figure, path: Path) -> None:
    form = path.suffix[1:]
    options: dict[str, Any] = {"dpi": _DOTS_PER_INCH, "bbox_inches": "tight", "pad_inches": 0.02}
    metadata = _NO_TIME.get(form, {})
    with drawing_style():
        write_atomically(path, lambda file: figure.savefig(file, format=form, metadata=metadata, **options))


def _save_numbers(table: Numbers, path: Path) -> None:
    header, rows = table
    text = io.StringIO()
    lines: list[list[object]] = [[*header], *rows]
    csv.writer(text, lineterminator="\n").writerows([harmless(cell) for cell in line] for line in lines)
    write_text(path, text.getvalue())
