"""Figures for a report without Plotly: PNG within the page."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tfstiff.records import RunFolder

_ALTERNATIVES = {
    "curves": "Loss, accuracy and stiffness against time; the numbers stand in the table of measurements.",
    "class_matrices": "Class stiffness matrices at up to four moments of the training.",
    "distance": "Stiffness against distance with the line fitted, at up to four moments of the training.",
}


class StaticFigure(NamedTuple):
    """A picture.

    Attributes:
        address: A `data:` address of the PNG.
        alternative: What it shows, for those who do not see it.
    """

    address: str
    alternative: str


def static_figures(run: RunFolder, names: Sequence[str], say: Callable[[str], None]) -> list[StaticFigure]:
    """Draws figures of a run.

    Args:
        run: With at least one measurement.
        names: Some of `curves`, `class_matrices` and `distance`.
        say: Called with a sentence for each figure that does not apply.
    """
    from tfstiff.figures import draw  # not above: matplotlib takes half a second, and Plotly does not need it

    with tempfile.TemporaryDirectory() as folder:
        paths = [path for path in draw(run, names, folder, formats=("png",), say=say) if path.suffix == ".png"]
        return [StaticFigure(_address(path), _ALTERNATIVES[path.stem]) for path in paths]


def _address(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
