"""Class stiffness matrices over a training, as in figure 3 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tfstiff.errors import InvalidInput
from tfstiff.figures.cells import MISSING, bars_are_shown, draw_cells, marks_are_shown, negative_cells, uncertain_cells
from tfstiff.figures.chosen import chosen_pair_sets
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.sizes import DEFAULT_WIDTH, SMALLEST_TEXT, add_legends, inches, is_column
from tfstiff.figures.stages import choose_stages, stage_title
from tfstiff.figures.style import (
    Drawn,
    Figure,
    NothingToDraw,
    Numbers,
    drawing_style,
    measurements_of,
    metrics_of,
    new_figure,
    pair_sets_of,
    short_name,
    write_title,
)
from tfstiff.records import METRICS, ClassStiffness, Measurement
from tfstiff.records.words import HALF_NAMES, PAIR_SET_NAMES, moment

_Panel = tuple[Measurement, str, str]  # measurement, pair set, metric
_LARGEST_SIDE = 2.7  # inches
_BESIDE = {"column": 1.05, "page": 1.7}  # inches that names and the scale of the colours take


@drawing_style()
def class_matrices(
    source: Drawn,
    *,
    pair_sets: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    num_stages: int = 4,
    width: str = DEFAULT_WIDTH,
) -> Figure:
    """Draws class stiffness matrices: a column a stage of the training, a row a pair set and metric.

    Colours run from −1 (blue) over 0 (white) to 1 (red). Rows of a matrix are classes of the first half of the pair
    set, columns of the second. Cells without a pair are hatched. A ring marks a cell whose 95 % interval holds 0; how
    large the standard errors of the cells are stands below. Values are printed where there is room for them: of ten
    classes in a page's width, beside each other, at two stages. Where they are not, a bar marks a cell below 0, so that
    a print in grey tells it from one above. A single stage has its metrics side by side. In a column the stages are the
    rows.

    Args:
        source: A run, or measurements in order of time.
        pair_sets: Which of `train_train`, `train_val`, `val_val`; None for those that were asked for, else train_val
            where it was measured.
        metrics: Which of `sign`, `cosine`; None for those that the run's settings name, else both.
        num_stages: How many measurements at most, 1 to 4.
        width: `column` or `page`, of a paper.

    Raises:
        InvalidInput: There is no measurement, or a pair set, metric or width is unknown.
        NothingToDraw: The targets have no classes.
    """
    measurements = measurements_of(source)
    stages = class_stages(measurements, num_stages)
    measured = pair_sets_of(stages)
    pair_sets = _known(chosen_pair_sets(source, measured) if pair_sets is None else pair_sets, measured)
    metrics = _known(metrics_of(source) if metrics is None else metrics, METRICS)
    grid, row_names, column_names = _arrange(stages, pair_sets, metrics, transposed=is_column(width))

    num_classes = len(_stiffness(grid[0][0]).matrix)
    side = side_of_matrices(width, len(grid[0]))
    figure = new_figure(inches(width), 1.1 + len(grid) * (side + 0.35), layout="compressed")
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False)
    for i, row in enumerate(grid):
        for j, panel in enumerate(row):
            stiffness = _stiffness(panel)
            image = draw_cells(axes[i, j], stiffness.matrix, 72 * side / num_classes, uncertain_cells(stiffness))
            label_classes(axes[i, j], panel, 72 * side / num_classes, left=j == 0, bottom=i == len(grid) - 1)
            if j > 0 and panel[1] == row[0][1]:
                axes[i, j].set_ylabel("")  # the same as at the left
            if i == 0:
                axes[i, j].set_title(column_names[j])
        name_row(axes[i, 0], row_names[i])
    add_colour_bar(figure, image, axes, width)
    drawn = [_stiffness(panel) for row in grid for panel in row]
    add_notes(figure, drawn, cell=72 * side / num_classes)
    write_title(figure, "Class stiffness" if len(stages) > 1 else f"Class stiffness, {moment(stages[0])}", source)
    return figure


def class_matrices_numbers(source: Drawn) -> Numbers:
    """Header and rows of the matrices at the stages of `class_matrices`, of all pair sets and both metrics.

    A row is a matrix row, a column a class.

    The column `quantity` says whether a row is of the values or of their standard errors.
    """
    stages = class_stages(measurements_of(source), 4)
    names = class_names(stages[0])
    rows: list[list[object]] = [
        [stage.step, stage.epoch, pair_set, metric, quantity, name, *values]
        for pair_set in pair_sets_of(stages)
        for metric in METRICS
        for stage in stages
        for quantity, matrix in matrices(_stiffness((stage, pair_set, metric))).items()
        for name, values in zip(names, matrix.tolist(), strict=True)
    ]
    return ["step", "epoch", "pair_set", "metric", "quantity", "class", *names], rows


def matrices(stiffness: ClassStiffness) -> dict[str, np.ndarray]:
    """What is saved of class stiffness, by the name of the quantity."""
    return {"stiffness": stiffness.matrix, "standard error": stiffness.matrix_se}


def class_stages(measurements: list[Measurement], limit: int) -> list[Measurement]:
    """The measurements whose matrices are drawn.

    Raises:
        NothingToDraw: The targets have no classes.
    """
    if any(stiffness.sign is None for m in measurements for stiffness in m.pair_sets.values()):
        raise NothingToDraw("There are no classes to draw a matrix of: the targets are not class labels.")
    return choose_stages(measurements, limit)


def class_names(measurement: Measurement) -> list[str]:
    """Names of the classes; their numbers where the names are not known."""
    num_classes = len(_stiffness((measurement, pair_sets_of([measurement])[0], "sign")).matrix)
    known = len(measurement.class_names) == num_classes
    return list(measurement.class_names) if known else [str(index) for index in range(num_classes)]


def name_row(axes: Axes, name: str) -> None:
    """Writes what a row of panels shows, upright, at the left of the label of its first."""
    axes.annotate(
        name,
        xy=(0, 0.5),
        xycoords=axes.yaxis.label,
        xytext=(-3, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        rotation=90,
        weight="bold",
    )


def side_of_matrices(width: str, columns: int) -> float:
    """The side of each of some matrices beside each other, in inches."""
    return min(_LARGEST_SIDE, (inches(width) - _BESIDE[width]) / columns - 0.08)


def add_colour_bar(figure: Figure, image: AxesImage, axes: np.ndarray, width: str) -> None:
    """Adds the scale of the colours: at the right of all panels, or below them in a column."""
    place: dict[str, Any] = {"location": "bottom", "shrink": 0.8} if is_column(width) else {"location": "right"}
    if not is_column(width):
        place["shrink"] = min(1.0, 2.0 / len(axes))
    bar = figure.colorbar(image, ax=axes, aspect=25, pad=0.01, ticks=[-1, -0.5, 0, 0.5, 1], **place)
    bar.set_label("stiffness")
    if isinstance(bar.outline, Patch):
        bar.outline.set_linewidth(0.6)


def add_notes(figure: Figure, drawn: Sequence[ClassStiffness], *, cell: float, others: Sequence[str] = ()) -> None:
    """Says below the panels how sure the cells are, and what the hatched ones are.

    Args:
        figure: The figure.
        drawn: What it shows.
        cell: Side of a cell in points.
        others: What else is to be said.
    """
    errors = np.concatenate([stiffness.matrix_se.ravel() for stiffness in drawn])
    errors = errors[np.isfinite(errors)]
    handles: list[Artist] = []
    if any(stiffness.num_empty_cells for stiffness in drawn):
        handles.append(Patch(label="no pair in the cell", **MISSING))
    mark: dict[str, Any] = {"markerfacecolor": "none", "color": "0.25", "linestyle": "none", "markeredgewidth": 0.5}
    unsure = [uncertain_cells(stiffness) for stiffness in drawn]
    if marks_are_shown(cell) and any(cells.any() for cells in unsure):
        handles.append(Line2D([], [], marker="o", label="the 95 % interval holds 0", **mark))
    below = [negative_cells(stiffness.matrix, cells) for stiffness, cells in zip(drawn, unsure, strict=True)]
    if bars_are_shown(cell) and any(cells.any() for cells in below):
        handles.append(Line2D([], [], marker="_", label="below 0", **mark))
    notes = list(others)
    if len(errors):
        notes.append(f"standard error of a cell: {np.median(errors):.2g} (median), at most {errors.max():.2g}")
    handles += [Patch(label=note, visible=False) for note in notes]
    add_legends(figure, ("", handles), handle_length=1.5)


def _known(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    if not wanted or not set(wanted) <= set(known):
        raise InvalidInput(
            "The figure cannot be drawn of these.", expected=f"some of {', '.join(known)}", received=tuple(wanted)
        )
    return list(dict.fromkeys(wanted))


def _arrange(
    stages: list[Measurement], pair_sets: list[str], metrics: list[str], *, transposed: bool
) -> tuple[list[list[_Panel]], list[str], list[str]]:
    """The grid of panels, with the names of its rows and columns."""
    if len(stages) == 1 and len(pair_sets) == 1:
        return (
            [[(stages[0], pair_sets[0], metric) for metric in metrics]],
            [PAIR_SET_NAMES[pair_sets[0]]],
            list(metrics),
        )
    if len(stages) == 1:
        grid = [[(stages[0], pair_set, metric) for pair_set in pair_sets] for metric in metrics]
        return grid, list(metrics), [PAIR_SET_NAMES[name] for name in pair_sets]
    kinds = [(pair_set, metric) for pair_set in pair_sets for metric in metrics]
    names = [f"{PAIR_SET_NAMES[pair_set]}\n{metric}" for pair_set, metric in kinds]
    titles = [stage_title(stage) for stage in stages]
    if transposed:
        return [[(stage, *kind) for kind in kinds] for stage in stages], titles, names
    return [[(stage, *kind) for stage in stages] for kind in kinds], names, titles


def _stiffness(panel: _Panel) -> ClassStiffness:
    measurement, pair_set, metric = panel
    return getattr(measurement[pair_set], metric)


def label_classes(axes: Axes, panel: _Panel, cell: float, *, left: bool = True, bottom: bool = True) -> None:
    """Names the classes at a matrix whose cells have this side, in points, where there is room; else numbers some."""
    measurement, pair_set, _ = panel
    names = class_names(measurement)
    first, second = (HALF_NAMES[half] for half in pair_set.split("_"))
    size = min(7.0, 0.85 * cell)
    if size >= SMALLEST_TEXT:
        ticks, kind = list(range(len(names))), "class"
        labels = [short_name(name) for name in names]
    else:  # too many names to read: number some of the classes instead
        ticks, kind = list(range(0, len(names), max(1, round(len(names) / 50) * 10))), "class, by number"
        labels, size = [str(tick) for tick in ticks], 6.5
    fits = kind != "class" or 0.65 * size * max(map(len, labels)) < cell
    axes.set_xticks(ticks if bottom else [], labels if bottom else [], rotation=0 if fits else 90, parse_math=False)
    axes.set_yticks(ticks if left else [], labels if left else [], parse_math=False)
    axes.tick_params(length=0 if kind == "class" else 2, labelsize=size, pad=2)
    axes.set_xlabel(f"{second} {kind}", labelpad=3)
    axes.set_ylabel(f"{first} {kind}", labelpad=4)


register_figure(
    class_matrices,
    class_matrices_numbers,
    "Class stiffness matrices at up to 4 stages.",
    "v1 3–6; ICLR 3, 7, 8",
    of_stages=True,
)
