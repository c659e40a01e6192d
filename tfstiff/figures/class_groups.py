"""Class stiffness with the classes of a group side by side, as in figure 7 of the first version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tfstiff.datasets.groupings import Grouping, group_indices, known_grouping
from tfstiff.figures.cells import draw_cells, uncertain_cells
from tfstiff.figures.class_stiffness import (
    add_colour_bar,
    add_notes,
    class_names,
    class_stages,
    matrices,
    name_row,
    side_of_matrices,
)
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.sizes import DEFAULT_WIDTH, SMALLEST_TEXT, inches, is_column
from tfstiff.figures.stages import stage_title
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
from tfstiff.figures.tick_labels import label_width
from tfstiff.records import METRICS, BlockStiffness, ClassStiffness, Measurement
from tfstiff.records.words import HALF_NAMES, PAIR_SET_NAMES, default_pair_set, number
from tfstiff.stiffness.blocks import group_order
from tfstiff.stiffness.intervals import quantile

_LARGEST_NAME = 7.0  # points
_SYMBOLS = (
    "Δ: same group less different",
    "±: to the ends of the 95 % interval",
    "p: by permutation of the classes",
)
_MOST_STAGES = 4


@drawing_style()
def class_groups(source: Drawn, *, grouping: Grouping | None = None, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws class stiffness matrices ordered by groups of classes: a column a stage of the training, a row a metric.

    Lines are the boundaries of the groups; classes of no group come last, as the rest. A panel's title says what cells
    of two different classes hold on average where both are of one group, and where they are not; and where the
    measurement compared these very groups, the difference with its 95 % interval. The pair set is train–validation
    where it was measured.

    Args:
        source: A run, or measurements in order of time.
        grouping: Names of the classes of each group. None for those that the measurements compared, else for a built-in
            one of these very classes, such as CIFAR-100's superclasses.
        width: `column` or `page`, of a paper; in a column the stages are the rows.

    Raises:
        InvalidInput: There is no measurement or no such width, or the grouping does not fit the classes.
        NothingToDraw: The targets have no classes, or no grouping of them is known.
    """
    stages, grouping = _stages(source), _grouping(source, grouping)
    names, pair_set, metrics = class_names(stages[0]), _pair_set(stages), metrics_of(source)
    indices, groups = group_indices(grouping, names)
    order = group_order(indices)
    titles = _group_titles(indices[order], groups)
    rows, columns = (stages, metrics) if is_column(width) else (metrics, stages)
    side = side_of_matrices(width, len(columns))
    figure = new_figure(inches(width), 1.4 + len(rows) * (side + 0.65), layout="compressed")
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    axes = panels.T if is_column(width) else panels
    cell = 72 * side / len(names)
    for i, metric in enumerate(metrics):
        for j, stage in enumerate(stages):
            stiffness = getattr(stage[pair_set], metric)
            ordered = np.ix_(order, order)
            image = draw_cells(axes[i, j], stiffness.matrix[ordered], cell, uncertain_cells(stiffness)[ordered])
            _draw_boundaries(axes[i, j], indices[order])
            is_top, is_left = (j == 0, i == 0) if is_column(width) else (i == 0, j == 0)
            when = f"{metric if is_column(width) else stage_title(stage)}\n" if is_top else ""
            blocks = stiffness.blocks if _same_groups(stage.groups, grouping) else None
            axes[i, j].set_title(when + _contrast(stiffness, indices, blocks=blocks))
            is_lowest = axes[i, j] in panels[-1]
            _name_axes(axes[i, j], titles, [names[index] for index in order], cell, left=is_left, bottom=is_lowest)
    first, second = (HALF_NAMES[half] for half in pair_set.split("_"))
    for panel, name in zip(panels[:, 0], map(stage_title, stages) if is_column(width) else metrics, strict=True):
        panel.set_ylabel(f"{first} class")
        name_row(panel, name)
    for panel in panels[-1]:
        panel.set_xlabel(f"{second} class")
    add_colour_bar(figure, image, panels, width)
    drawn = [getattr(stage[pair_set], metric) for stage in stages for metric in metrics]
    told = _SYMBOLS if any("±" in panel.get_title() for panel in panels.flat) else ()
    add_notes(figure, drawn, cell=cell, others=told)
    write_title(figure, f"Class stiffness by group, {PAIR_SET_NAMES[pair_set]}", source)
    return figure


def class_groups_numbers(source: Drawn, *, grouping: Grouping | None = None) -> Numbers:
    """Header and rows of the ordered matrices, with the group of each class: a row a matrix row."""
    stages = _stages(source)
    names, pair_set = class_names(stages[0]), _pair_set(stages)
    indices, groups = group_indices(_grouping(source, grouping), names)
    order = group_order(indices)
    group_of = [groups[index] if index >= 0 else "" for index in indices]
    rows: list[list[object]] = [
        [stage.step, stage.epoch, pair_set, metric, quantity, group_of[row], names[row], *matrix[row][order].tolist()]
        for metric in METRICS
        for stage in stages
        for quantity, matrix in matrices(getattr(stage[pair_set], metric)).items()
        for row in order
    ]
    header = ["step", "epoch", "pair_set", "metric", "quantity", "group", "class"]
    return [*header, *(names[index] for index in order)], rows


def _stages(source: Drawn) -> list[Measurement]:
    return class_stages(measurements_of(source), _MOST_STAGES)


def _pair_set(stages: Sequence[Measurement]) -> str:
    return default_pair_set(pair_sets_of(stages))


def _grouping(source: Drawn, wanted: Grouping | None) -> Grouping:
    last = measurements_of(source)[-1]
    found = wanted or last.groups or known_grouping(last.class_names)
    if not found:
        raise NothingToDraw(
            "No groups of these classes are known.",
            remedy="Name them: `tfstiff plot RUN --figure class_groups --groups 'clothes=Shirt,Coat;shoes=Sneaker'`, "
            "or a .json or .toml file.",
        )
    return found


def _group_titles(indices: np.ndarray, groups: Sequence[str]) -> dict[float, str]:
    """Names of the groups by the middle of their classes."""
    middles = {group: float(np.flatnonzero(indices == group).mean()) for group in dict.fromkeys(indices.tolist())}
    names = {group: groups[group].replace("_", " ") if group >= 0 else "rest" for group in middles}
    return {middle: short_name(names[group], 30) for group, middle in middles.items()}


def _draw_boundaries(axes: Axes, indices: np.ndarray) -> None:
    """Thin lines between groups, and a frame round the classes of each."""
    ends = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    for end in ends[1:-1]:
        axes.axhline(end - 0.5, color="0.35", linewidth=0.3)
        axes.axvline(end - 0.5, color="0.35", linewidth=0.3)
    for begin, end in pairwise(ends):
        if indices[begin] >= 0:
            side = end - begin
            axes.add_patch(Rectangle((begin - 0.5, begin - 0.5), side, side, fill=False, linewidth=0.9, clip_on=False))


def _name_axes(
    axes: Axes, titles: dict[float, str], names: Sequence[str], cell: float, *, left: bool, bottom: bool
) -> None:
    """Names the classes where there is room, with their groups above; else the groups only.

    Args:
        axes: The panel.
        titles: Names of the groups by the middle of their classes.
        names: Of the classes, in order.
        cell: Side of a cell in points.
        left: Whether the panel is the first of its row.
        bottom: Whether it is in the last row.
    """
    size = 0.85 * cell
    if size < SMALLEST_TEXT:
        places, labels, size = list(titles), list(titles.values()), 0.85 * cell * len(names) / len(titles)
    else:
        places, labels = list(range(len(names))), [short_name(name) for name in names]
        above = axes.secondary_xaxis(1.0)
        above.set_xticks(list(titles), _within_their_groups(titles, cell), parse_math=False)
        above.tick_params(length=0, pad=1)
    for axis, shown, rotation in ((axes.xaxis, bottom, 90), (axes.yaxis, left, 0)):
        axis.set_ticks(places if shown else [], labels if shown else [], rotation=rotation, parse_math=False)
        axis.set_tick_params(length=0, labelsize=min(_LARGEST_NAME, max(size, SMALLEST_TEXT)), pad=2)


def _within_their_groups(titles: dict[float, str], cell: float) -> list[str]:
    """Names of the groups, cut where they would be wider than the cells of their group."""
    written, begin = [], -0.5
    for middle, name in titles.items():
        room = 2 * (middle - begin) * cell
        begin = 2 * middle - begin
        limits = range(len(name), 1, -1)
        fits = (one for one in limits if label_width(short_name(name, one), _LARGEST_NAME) < room)
        written.append(short_name(name, next(fits, 1)))
    return written


def _contrast(stiffness: ClassStiffness, indices: np.ndarray, *, blocks: BlockStiffness | None) -> str:
    """What cells of two different classes hold, of one group and of two, in words; with errors where they are known."""
    if blocks is None:
        grouped = np.outer(indices >= 0, indices >= 0) & ~np.eye(len(indices), dtype=bool)
        same = indices[:, None] == indices
        cells = [stiffness.matrix[grouped & kind & ~np.isnan(stiffness.matrix)] for kind in (same, ~same)]
        means = [float(part.mean()) if part.size else math.nan for part in cells]
    else:
        means = [blocks.same_group, blocks.different_group]
    words = zip(("same group", "different"), means, strict=True)
    text = "\n".join(f"{name} {number(mean)}" for name, mean in words if math.isfinite(mean))
    if blocks is not None and math.isfinite(blocks.contrast_se):
        half = float(quantile(blocks.contrast_df)) * blocks.contrast_se
        text += f"\nΔ {number(blocks.contrast)} ± {number(half)}"
        text += f"\np = {number(blocks.p_value)}" if math.isfinite(blocks.p_value) else ""
    return text


def _same_groups(first: Grouping, second: Grouping) -> bool:
    """Whether two groupings are the same, whatever their groups are called."""
    return {frozenset(names) for names in first.values()} == {frozenset(names) for names in second.values()}


register_figure(
    class_groups,
    class_groups_numbers,
    "Class stiffness matrices ordered by groups of classes.",
    "v1 7",
    of_stages=True,
)
