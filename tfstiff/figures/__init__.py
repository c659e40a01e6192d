"""Figures of runs. Matplotlib's object interface only; imports no TensorFlow.

A new figure is one file and one line of `FIGURES`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tfstiff.errors import InvalidInput
from tfstiff.figures.against_distance import distance, distance_numbers
from tfstiff.figures.between_classes import learning_rate, learning_rate_numbers
from tfstiff.figures.by_layer import layers, layers_numbers
from tfstiff.figures.class_groups import class_groups, class_groups_numbers
from tfstiff.figures.class_stiffness import class_matrices, class_matrices_numbers
from tfstiff.figures.concept import concept, concept_numbers
from tfstiff.figures.critical_lengths import critical_length, critical_length_numbers
from tfstiff.figures.domain_sizes import domain_size, domain_size_numbers
from tfstiff.figures.half_statistics import statistics, statistics_numbers
from tfstiff.figures.over_time import curves, curves_numbers, log_curves
from tfstiff.figures.saving import save_figure
from tfstiff.figures.style import Figure, NothingToDraw, Numbers, measurements_of
from tfstiff.records import RunFolder

__all__ = [
    *("DEFAULT_FIGURES", "FIGURES", "FORMATS", "FigureKind", "NothingToDraw", "common_folder", "draw"),
    *("class_groups", "class_matrices", "concept", "critical_length", "curves", "distance", "domain_size", "layers"),
    *("learning_rate", "log_curves", "statistics"),
]


class FigureKind(NamedTuple):
    """How to make a figure.

    Attributes:
        draw: Draws what `takes` says. Raises `NothingToDraw` where the figure does not apply.
        numbers: Header and rows of the numbers that `draw` shows, of the same.
        description: One line.
        redraws: Figures of the papers that it redraws: `v1` is the first version, `ICLR` the submission of 2020.
        takes: `run`: one run, or a sequence of its measurements. `runs`: a sequence of runs that differ in learning
            rate and seed. `nothing`: no argument.
        options: Names of keyword arguments of both functions that a user may set.
    """

    draw: Callable[..., Figure]
    numbers: Callable[..., Numbers]
    description: str
    redraws: str
    takes: Literal["run", "runs", "nothing"] = "run"
    options: tuple[str, ...] = ()


FIGURES = {
    "class_matrices": FigureKind(
        class_matrices,
        class_matrices_numbers,
        "Class stiffness matrices at up to 4 stages.",
        "v1 3–6; ICLR 3, 7, 8",
    ),
    "class_groups": FigureKind(
        class_groups,
        class_groups_numbers,
        "Class stiffness matrices ordered by groups of classes.",
        "v1 7",
        options=("grouping",),
    ),
    "curves": FigureKind(
        curves,
        curves_numbers,
        "Loss, within-class and between-class stiffness against time, and the onset of overfitting.",
        "v1 2; ICLR 2",
    ),
    "log_curves": FigureKind(
        log_curves, curves_numbers, "Within-class and between-class stiffness against the logarithm of time.", "ICLR 4"
    ),
    "statistics": FigureKind(statistics, statistics_numbers, "Coherence, noise scale and others against time.", ""),
    "distance": FigureKind(
        distance,
        distance_numbers,
        "Stiffness against input distance, and the critical length.",
        "ICLR 5, 9, 10",
    ),
    "layers": FigureKind(layers, layers_numbers, "Stiffness against distance, layer by layer.", "v1 9"),
    "critical_length": FigureKind(
        critical_length,
        critical_length_numbers,
        "Critical length against time and training loss, by learning rate.",
        "ICLR 6, 11",
        "runs",
        ("extrapolate",),
    ),
    "learning_rate": FigureKind(
        learning_rate,
        learning_rate_numbers,
        "Between-class stiffness against learning rate, at equal training loss.",
        "v1 8",
        "runs",
        ("levels",),
    ),
    "domain_size": FigureKind(
        domain_size,
        domain_size_numbers,
        "Domain size against learning rate in input and layers, at equal training loss.",
        "v1 10",
        "runs",
        ("levels", "extrapolate"),
    ),
    "concept": FigureKind(concept, concept_numbers, "What stiffness is; needs no run.", "v1 1; ICLR 1", "nothing"),
}
DEFAULT_FIGURES = ("class_matrices", "curves", "log_curves", "distance")  # that apply to hardly any run in vain
FORMATS = ("png", "svg")


def draw(
    source: RunFolder | Sequence[RunFolder] | None,
    names: Iterable[str] | None = None,
    folder: str | Path | None = None,
    *,
    formats: Iterable[str] = FORMATS,
    say: Callable[[str], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Draws figures and saves them, with the numbers behind each as CSV beside it.

    Equal runs give equal files.

    Args:
        source: A run; several, for figures that compare runs; None for those that need none.
        names: Keys of `FIGURES`; None for `DEFAULT_FIGURES`.
        folder: Where to save; created where it does not exist. None for `figures/` in the run's folder; of several
            runs, in the folder that holds them all; without a run, in the current one.
        formats: Some of `FORMATS`. PNG has 150 dots per inch.
        say: Called with a sentence for each figure that does not apply. None warns.
        options: Keyword arguments for the figures that have them: `grouping`, `levels`, `extrapolate`.

    Returns:
        The files written. A figure that does not apply has none.

    Raises:
        InvalidInput: There is no measurement, a name, format or option is unknown, a figure takes another number of
            runs, or the folder cannot be written.
    """
    names = _known("figure", DEFAULT_FIGURES if names is None else names, FIGURES)
    formats = _known("format", formats, FORMATS)
    options = dict(options or {})
    _known("option of a figure", options, {option for kind in FIGURES.values() for option in kind.options})
    runs = [source] if isinstance(source, RunFolder) else list(source or ())
    arguments = {name: _arguments(name, runs) for name in names}
    folder = (common_folder(runs) if runs else Path()) / "figures" if folder is None else Path(folder)
    paths: list[Path] = []
    for name in names:
        kind = FIGURES[name]
        chosen = {option: options[option] for option in kind.options if option in options}
        try:
            figure = kind.draw(*arguments[name], **chosen)
        except NothingToDraw as reason:
            message = f"The figure {name} is left out. {reason}"
            warnings.warn(message, stacklevel=2) if say is None else say(message)
            continue
        paths += save_figure(figure, kind.numbers(*arguments[name], **chosen), folder / name, formats)
    return paths


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
        return (runs,)
    measurements_of(runs[0])
    return (runs[0],)


def _known(kind: str, wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(wanted))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InvalidInput(f"There is no {kind} of this name.", expected=", ".join(sorted(known)), received=unknown[0])
    return wanted
