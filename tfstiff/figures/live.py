"""How a training stands, in one row of panels: what is drawn anew at each measurement."""

from __future__ import annotations

from collections.abc import Sequence

from tfstiff.analysis.readings import times_of
from tfstiff.figures.one_panel import class_matrix_of, curves_of
from tfstiff.figures.over_time import draw_halves
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import Figure, drawing_style, new_figure
from tfstiff.records import Measurement


@drawing_style()
def live_figure(measurements: Sequence[Measurement]) -> Figure:
    """Draws the losses, the stiffness within classes over time, and the latest class matrix.

    Targets without classes have the mean cosine over all pairs, and no matrix.

    Args:
        measurements: In order of time; at least one.
    """
    measurements = list(measurements)
    has_classes = all(found.sign is not None for m in measurements for found in m.pair_sets.values())
    figure = new_figure(10.0 if has_classes else 6.4, 2.9)
    axes = figure.subplots(1, 2 + has_classes)
    draw_halves(axes[0], measurements, "loss")
    set_time_axis(axes[0], *times_of(measurements))
    axes[0].legend(loc="best")
    curves_of(measurements, ax=axes[1])
    if has_classes:
        class_matrix_of(measurements[-1], ax=axes[2])
    return figure
