"""Figures of runs. Matplotlib's object interface only; imports no TensorFlow.

A new figure is one file, which registers it, and its line here, in the order in which figures are listed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# isort: off
from tfstiff.figures.class_stiffness import class_matrices as class_matrices
from tfstiff.figures.class_groups import class_groups as class_groups
from tfstiff.figures.over_time import curves as curves, log_curves as log_curves
from tfstiff.figures.half_statistics import statistics as statistics
from tfstiff.figures.against_distance import distance as distance
from tfstiff.figures.directions import directions as directions
from tfstiff.figures.by_layer import layers as layers
from tfstiff.figures.critical_lengths import critical_length as critical_length
from tfstiff.figures.between_classes import learning_rate as learning_rate
from tfstiff.figures.domain_sizes import domain_size as domain_size
from tfstiff.figures.overlays import overlay as overlay
from tfstiff.figures.concept import concept as concept
# isort: on

from tfstiff.analysis.reservations import gradient_reservations, reservations_of
from tfstiff.errors import InvalidInput
from tfstiff.figures.chosen import ChosenRun
from tfstiff.figures.kinds import FIGURES, FigureKind
from tfstiff.figures.saving import save_figure
from tfstiff.figures.sizes import DEFAULT_WIDTH, WIDTHS, inches
from tfstiff.figures.style import NothingToDraw, add_note, measurements_of
from tfstiff.records import RunFolder

__all__ = [
    "DEFAULT_FIGURES",
    "DEFAULT_FORMATS",
    "DEFAULT_WIDTH",
    "FIGURES",
    "FORMATS",
    "WIDTHS",
    "ChosenRun",
    "FigureKind",
    "NothingToDraw",
    "common_folder",
    "draw",
    *FIGURES,
]

DEFAULT_FIGURES = ("class_matrices", "curves", "log_curves", "distance")  # that apply to hardly any run in vain
FORMATS = ("png", "svg", "pdf")
DEFAULT_FORMATS = ("png", "svg")


def draw(
    source: RunFolder | Sequence[RunFolder] | None,
    names: Iterable[str] | None = None,
    folder: str | Path | None = None,
    *,
    formats: Iterable[str] = DEFAULT_FORMATS,
    width: str = DEFAULT_WIDTH,
    say: Callable[[str], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Draws figures and saves them, with the numbers behind each as CSV beside it.

    Equal runs give equal files. What is to be borne in mind of a run (`Measurement.reservations`) stands below.

    Args:
        source: A run; several, for figures that compare runs; None for those that need none.
        names: Keys of `FIGURES`; None for `DEFAULT_FIGURES`, and `directions` where a run was asked for any.
        folder: Where to save; created where it does not exist. None for `figures/` in the run's folder; of several
            runs, in the folder that holds them all; without a run, in the current one.
        formats: Some of `FORMATS`. PNG has 150 dots per inch.
        width: Of a `column` (3.5 inches) or a `page` (7.2 inches) of a paper, at which no text is below 6 points.
        say: Called with a sentence for each figure that does not apply. None warns.
        options: Keyword arguments for the figures that have them: `grouping`, `levels`, `extrapolate`, `quantity`, …

    Returns:
        The files written. A figure that does not apply has none.

    Raises:
        InvalidInput: There is no measurement, a name, format, width or option is unknown, a figure takes another
            number of runs, or the folder cannot be written.
    """
    runs = [source] if isinstance(source, RunFolder) else list(source or ())
    names = _known("figure", _default_figures(runs) if names is None else names, FIGURES)
    formats = _known("format", formats, FORMATS)
    inches(width)  # which says which there are
    options = dict(options or {})
    _known("option of a figure", options, {option for kind in FIGURES.values() for option in kind.options})
    arguments = {name: _arguments(name, runs) for name in names}
    folder = (common_folder(runs) if runs else Path()) / "figures" if folder is None else Path(folder)
    paths: list[Path] = []
    failures: list[Exception] = []
    for name in names:
        kind = FIGURES[name]
        chosen = {option: options[option] for option in kind.options if option in options}
        try:
            drawn = kind.draw(*arguments[name], **chosen, width=width), kind.numbers(*arguments[name], **chosen)
        except Exception as reason:  # of one figure, which is no failure of the others
            if not isinstance(reason, NothingToDraw):
                failures.append(reason)
            left_out = isinstance(reason, NothingToDraw | InvalidInput)
            told = str(reason) if left_out else f"It could not be drawn: {type(reason).__name__}: {reason}"
            message = f"The figure {name} is left out. {told}"
            if len(names) == 1 and failures:
                raise
            warnings.warn(message, stacklevel=2) if say is None else say(message)
            continue
        figure, numbers = drawn
        add_note(figure, [text for run in runs for text in _reservations(run)])
        paths += save_figure(figure, numbers, folder / name, formats)
    if failures and not paths:
        raise failures[0]
    return paths


def _default_figures(runs: Sequence[RunFolder]) -> list[str]:
    was_asked = len(runs) == 1 and any(m.directions for m in runs[0].measurements)
    return [*DEFAULT_FIGURES, *(["directions"] if was_asked else [])]


def _reservations(run: RunFolder) -> list[str]:
    return [*reservations_of(run.measurements), *gradient_reservations(run.measurements, least=0.5)]


def common_folder(runs: Sequence[RunFolder]) -> Path:
    """The folder of one run, or the deepest one that holds the folders of several."""
    if len(runs) == 1:
        return runs[0].folder
    return Path(os.path.commonpath([run.folder.resolve() for run in runs]))


def _arguments(name: str, runs: list[RunFolder]) -> tuple[Any, ...]:
    """What a figure is drawn of."""
    takes = FIGURES[name].takes
    if takes == "nothing":
        return ()
    if not runs or (takes == "run" and len(runs) > 1):
        expected = "one run" if takes == "run" else "one run or several"
        raise InvalidInput(f"The figure {name} is not of this many runs.", expected=expected, received=len(runs))
    if takes == "runs":
        return ([run.of_stages(are_chosen=False) if isinstance(run, ChosenRun) else run for run in runs],)
    run = runs[0]
    if isinstance(run, ChosenRun):
        run = run.of_stages(are_chosen=FIGURES[name].of_stages)
    measurements_of(run)
    return (run,)


def _known(kind: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(wanted))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidInput(f"There is no {kind} of this name.", expected=", ".join(sorted(known)), received=unknown[0])
    return wanted
