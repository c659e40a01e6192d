"""Figures of a single panel: one class matrix, one quantity over time."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from tfstiff.analysis.readings import times_of
from tfstiff.errors import InvalidInput
from tfstiff.figures.cells import draw_cells, uncertain_cells
from tfstiff.figures.class_stiffness import class_stages, label_classes
from tfstiff.figures.over_time import draw_line, draw_zero
from tfstiff.figures.panels import chosen_metric, chosen_pair_set, figure_of, panel_of
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import PAIR_SET_LINES, Drawn, Figure, drawing_style, measurements_of, pair_sets_of
from tfstiff.records import Measurement, scalar_row
from tfstiff.records.words import PAIR_SET_NAMES, moment, quantity_in_words

_SIDE = 3.2  # inches of a class matrix
_DEFAULT = {True: "cosine_within", False: "cosine_mean"}  # by whether there are classes


@drawing_style()
def class_matrix_of(
    measurement: Measurement, pair_set: str | None = None, metric: str = "cosine", ax: Axes | None = None
) -> Figure:
    """Draws one class stiffness matrix, from −1 (blue) over 0 (white) to 1 (red).

    A ring marks a cell whose 95 % interval holds 0. Where no values are printed, a bar marks a cell below 0.

    Args:
        measurement: The measurement.
        pair_set: None for train_val, where it was measured.
        metric: `sign` or `cosine`.
        ax: A panel to draw into; None makes a figure.

    Raises:
        InvalidInput: The pair set or metric was not measured.
        NothingToDraw: The targets have no classes.
    """
    class_stages([measurement], 1)
    pair_set, metric = chosen_pair_set(measurement, pair_set), chosen_metric(metric)
    axes = panel_of(ax, _SIDE + 1.4, _SIDE + 0.9)
    stiffness = getattr(measurement[pair_set], metric)
    figure = figure_of(axes)
    side = _SIDE if ax is None else min(axes.get_window_extent().size) / figure.dpi
    cell = 72 * side / len(stiffness.matrix)
    image = draw_cells(axes, stiffness.matrix, cell, uncertain_cells(stiffness))
    label_classes(axes, (measurement, pair_set, metric), cell)
    known = measurement.step >= 0
    axes.set_title(f"{metric}, {PAIR_SET_NAMES[pair_set]}" + f", {moment(measurement)}" * known)
    figure.colorbar(image, ax=axes, shrink=0.8, ticks=[-1, -0.5, 0, 0.5, 1], label="stiffness")
    return figure


@drawing_style()
def curves_of(
    source: Drawn, quantity: str | None = None, pair_sets: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Draws one quantity against time, the pair sets overlaid. Bands are 95 % intervals over the probe's examples.

    Args:
        source: A run, or measurements in order of time.
        quantity: `cosine_within`, `sign_between`, `critical_length`, …, or `train_loss`; None for the within-class
            cosine, or the mean over all pairs where there are no classes.
        pair_sets: Which of those measured; None for all.
        ax: A panel to draw into; None makes a figure.

    Raises:
        InvalidInput: There is no measurement, no such quantity, or no such pair set.
    """
    measurements = measurements_of(source)
    measured = pair_sets_of(measurements)
    wanted = [chosen_pair_set(measurements[0], one) for one in (measured if pair_sets is None else pair_sets)]
    has_classes = all(found.sign is not None for m in measurements for found in m.pair_sets.values())
    kind = (quantity or _DEFAULT[has_classes]).removeprefix("stiffness_")
    known = dict.fromkeys(name for one in measurements for name in scalar_row(one))
    names = {f"stiffness_{kind}_{one}": one for one in wanted} if kind not in known else {kind: ""}
    if not set(names) <= set(known):
        raise InvalidInput("There is no such quantity.", expected=", ".join(known), received=quantity)
    axes = panel_of(ax, 4.6, 3.2)
    draw_zero(axes)
    for name, pair_set in names.items():
        line = PAIR_SET_LINES.get(pair_set, PAIR_SET_LINES["train_train"])
        draw_line(axes, measurements, name, line, PAIR_SET_NAMES.get(pair_set, quantity_in_words(name)))
    set_time_axis(axes, *times_of(measurements))
    axes.set_ylabel(quantity_in_words(next(iter(names)), with_pairs=False))
    axes.legend(loc="best")
    return figure_of(axes)
