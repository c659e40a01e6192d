"""A report of runs: one HTML file that needs no network. Imports no TensorFlow."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfstiff.errors import InvalidInput
from tfstiff.records import RunFolder
from tfstiff.records.atomic import write_text
from tfstiff.report.contents import contents
from tfstiff.report.page import has_plotly, render

__all__ = ["default_path", "write_report"]


def write_report(
    runs: RunFolder | Sequence[RunFolder],
    path: str | Path | None = None,
    *,
    interactive: bool | None = None,
    thumbnails: bool = True,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Writes a report of one run, or a comparison of several, as one HTML file.

    Equal runs give equal files.

    Args:
        runs: One run or several, of which one at least has a measurement. They may be running still.
        path: The file; None is `default_path`.
        interactive: Whether charts are drawn by Plotly in the browser; otherwise they are pictures. None: if Plotly is
            installed.
        thumbnails: Whether single examples are shown, images, texts or values, beside what is told of them.
        say: Called with a sentence for each thing that is left out. None warns.

    Returns:
        The file.

    Raises:
        InvalidInput: There is no measurement, a library is missing, or the file cannot be written.
    """
    runs = [runs] if isinstance(runs, RunFolder) else list(runs)
    path = default_path(runs) if path is None else Path(path)
    if path.is_dir():
        raise InvalidInput("The report's path is a folder.", expected="a file such as report.html", received=str(path))
    say = _warn if say is None else say
    if interactive is None:
        interactive = has_plotly()
        if not interactive:
            say("Plotly is not installed, so the charts are pictures. Remedy: pip install 'tfstiff[report]'")
    page = render(contents(runs, interactive, say, thumbnails=thumbnails), interactive=interactive)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    except OSError as error:
        raise InvalidInput(
            f"The report cannot be written to {path}: {error}", remedy="Choose a folder that can be written."
        ) from error
    return path


def default_path(runs: Sequence[RunFolder]) -> Path:
    """`report.html` in the run's folder; of several runs in the folder that holds them all.

    Raises:
        InvalidInput: Several runs lie in different folders.
    """
    folders = [run.folder.resolve() for run in runs]
    if len(folders) == 1:
        return runs[0].folder / "report.html"
    parents = {folder.parent for folder in folders}
    if len(parents) != 1:
        raise InvalidInput(
            "The runs lie in different folders, so there is no usual place for their report.",
            expected="runs of one folder, or a path for the report",
            received=sorted(map(str, parents)),
            remedy="Name the file: --out report.html",
        )
    return runs[0].folder.parent / "report.html"


def _warn(text: Any) -> None:
    warnings.warn(text, stacklevel=3)
