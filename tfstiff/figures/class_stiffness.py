"""Class stiffness matrices over a training, as in figure 3 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Patch

from tfstiff.errors import InvalidInput
from tfstiff.figures.stages import choose_stages, in_words, stage_title
from tfstiff.figures.style import (
    HALF_NAMES,
    PAIR_SET_NAMES,
    STIFFNESS_COLOURS,
    Figure,
    NothingToDraw,
    drawing_style,
    measurements_of,
    metrics_of,
    new_figure,
    pair_sets_of,
    short_name,
    write_title,
)
from tfstiff.records import METRICS, Measurement, Run

_Panel = tuple[Measurement, str, str]  # measurement, pair set, metric
_MISSING: dict[str, Any] = {"facecolor": "0.9", "edgecolor": "0.55", "hatch": "//////", "linewidth": 0}
_SMALLEST_LABEL, _SMALLEST_VALUE = 4.5, 5.0  # points; smaller text is left out


@drawing_style()
def class_matrices(
    source: Run | Sequence[Measurement],
    *,
    pair_sets: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    num_stages: int = 4,
) -> Figure:
    """Draws class stiffness matrices: a column a stage of the training, a row a pair set and metric.

    Colours run from −1 (blue) over 0 (white) to 1 (red). Rows of a matrix are classes of the first half of the pair
    set, columns of the second. Cells without a pair are hatched. A single stage is laid out as metrics × pair sets.

    Args:
        source: A run, or measurements in order of time.
        pair_sets: Which of `train_train`, `train_val`, `val_val`; None for all that were measured.
        metrics: Which of `sign`, `cosine`; None for those that the run's settings name, else both.
        num_stages: How many measurements at most, 1 to 4.

    Raises:
        InvalidInput: There is no measurement, or a pair set or metric is unknown.
        NothingToDraw: The targets have no classes.
    """
    measurements = measurements_of(source)
    stages = _stages(measurements, num_stages)
    measured = pair_sets_of(stages)
    pair_sets = _known(measured if pair_sets is None else pair_sets, measured)
    metrics = _known(metrics_of(source) if metrics is None else metrics, METRICS)
    grid, row_names, column_names = _arrange(stages, pair_sets, metrics)

    num_classes = len(_matrix(grid[0][0]))
    side = 1.6 if num_classes <= 4 else 2.3  # inches
    figure = new_figure(1.9 + len(grid[0]) * (side + 0.2), 1.3 + len(grid) * (side + 0.35), layout="compressed")
    axes = figure.subplots(len(grid), len(grid[0]), squeeze=False)
    for i, row in enumerate(grid):
        for j, panel in enumerate(row):
            image = _draw_matrix(axes[i, j], _matrix(panel), 72 * side / num_classes)
            _label_axes(axes[i, j], panel, 72 * side / num_classes, left=j == 0, bottom=i == len(grid) - 1)
            if j > 0 and panel[1] == row[0][1]:
                axes[i, j].set_ylabel("")  # the same as at the left
            if i == 0:
                axes[i, j].set_title(column_names[j])
        axes[i, 0].annotate(
            row_names[i],
            xy=(0, 0.5),
            xycoords=axes[i, 0].yaxis.label,
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            rotation=90,
            weight="bold",
        )
    bar = figure.colorbar(
        image, ax=axes, shrink=min(1.0, 2.2 / len(grid)), aspect=25, pad=0.01, ticks=[-1, -0.5, 0, 0.5, 1]
    )
    bar.set_label("stiffness")
    bar.outline.set_linewidth(0.6)
    if any(np.isnan(_matrix(panel)).any() for row in grid for panel in row):
        figure.legend(handles=[Patch(label="no pair in the cell", **_MISSING)], loc="outside lower right")
    write_title(figure, "Class stiffness" if len(stages) > 1 else f"Class stiffness, {in_words(stages[0])}", source)
    return figure


def class_matrices_numbers(source: Run | Sequence[Measurement]) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the matrices that `class_matrices` draws: a row a matrix row, a column a class.

    Raises:
        InvalidInput: There is no measurement.
        NothingToDraw: The targets have no classes.
    """
    stages = _stages(measurements_of(source), 4)
    names = _class_names(stages[0], len(_matrix((stages[0], pair_sets_of(stages)[0], "sign"))))
    rows: list[list[object]] = [
        [stage.step, stage.epoch, pair_set, metric, name, *values]
        for pair_set in pair_sets_of(stages)
        for metric in METRICS
        for stage in stages
        for name, values in zip(names, _matrix((stage, pair_set, metric)).tolist(), strict=True)
    ]
    return ["step", "epoch", "pair_set", "metric", "class", *names], rows


def _stages(measurements: list[Measurement], limit: int) -> list[Measurement]:
    if any(stiffness.sign is None for m in measurements for stiffness in m.pair_sets.values()):
        raise NothingToDraw("There are no classes to draw a matrix of: the targets are not class labels.")
    return choose_stages(measurements, limit)


def _known(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    if not wanted or not set(wanted) <= set(known):
        raise InvalidInput(
            "The figure cannot be drawn of these.", expected=f"some of {', '.join(known)}", received=tuple(wanted)
        )
    return list(dict.fromkeys(wanted))


def _arrange(
    stages: list[Measurement], pair_sets: list[str], metrics: list[str]
) -> tuple[list[list[_Panel]], list[str], list[str]]:
    """The grid of panels, with the names of its rows and columns."""
    if len(stages) == 1:
        grid = [[(stages[0], pair_set, metric) for pair_set in pair_sets] for metric in metrics]
        return grid, list(metrics), [PAIR_SET_NAMES[name] for name in pair_sets]
    kinds = [(pair_set, metric) for pair_set in pair_sets for metric in metrics]
    names = [f"{PAIR_SET_NAMES[pair_set]}\n{metric}" for pair_set, metric in kinds]
    return [[(stage, *kind) for stage in stages] for kind in kinds], names, [stage_title(stage) for stage in stages]


def _matrix(panel: _Panel) -> np.ndarray:
    measurement, pair_set, metric = panel
    return np.asarray(getattr(measurement[pair_set], metric).matrix, dtype=np.float64)


def _class_names(measurement: Measurement, num_classes: int) -> list[str]:
    if len(measurement.class_names) == num_classes:
        return list(measurement.class_names)
    return [str(index) for index in range(num_classes)]


def _draw_matrix(axes: Axes, matrix: np.ndarray, cell: float) -> AxesImage:
    """Draws one matrix; `cell` is the side of a cell in points."""
    axes.patch.set(**_MISSING)
    image = axes.imshow(matrix, cmap=STIFFNESS_COLOURS, vmin=-1, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(True)
    size = min(7.0, cell / 3.1)  # the widest text, "−.98", is 2.5 times as wide as its size
    if size >= _SMALLEST_VALUE:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                text = axes.text(column, row, _two_digits(value), fontsize=size, ha="center", va="center_baseline")
                text.set_color("white" if abs(value) > 0.6 else "black")
                text.set_in_layout(False)  # it lies inside the axes; asking each for its size takes seconds
    return image


def _two_digits(value: float) -> str:
    text = f"{abs(value):.2f}"
    if text == "0.00":
        return "0"
    return ("−" if value < 0 else "") + ("1" if text == "1.00" else text.removeprefix("0"))


def _label_axes(axes: Axes, panel: _Panel, cell: float, *, left: bool, bottom: bool) -> None:
    measurement, pair_set, _ = panel
    num_classes = len(_matrix(panel))
    first, second = (HALF_NAMES[half] for half in pair_set.split("_"))
    size = min(7.0, 0.85 * cell)
    if size >= _SMALLEST_LABEL:
        ticks, kind = list(range(num_classes)), "class"
        labels = [short_name(name) for name in _class_names(measurement, num_classes)]
    else:  # too many names to read: number some of the classes instead
        ticks, kind = list(range(0, num_classes, max(1, round(num_classes / 50) * 10))), "class, by number"
        labels, size = [str(tick) for tick in ticks], 7.0
    fits = kind != "class" or 0.65 * size * max(map(len, labels)) < cell
    axes.set_xticks(ticks, labels if bottom else [], rotation=0 if fits else 90, parse_math=False)
    axes.set_yticks(ticks, labels if left else [], parse_math=False)
    axes.tick_params(length=0 if kind == "class" else 2, labelsize=size, pad=2)
    axes.set_xlabel(f"{second} {kind}", labelpad=3)
    axes.set_ylabel(f"{first} {kind}", labelpad=4)
