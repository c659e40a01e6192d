"""Single panels, into a figure of their own or into one that is there."""

from __future__ import annotations

from matplotlib.axes import Axes

from tfstiff.errors import InvalidInput
from tfstiff.figures.style import Figure, new_figure
from tfstiff.records import METRICS, Measurement
from tfstiff.records.words import default_pair_set


def panel_of(ax: Axes | None, width: float, height: float) -> Axes:
    """The panel that is given, or that of a new figure of this size in inches."""
    return new_figure(width, height).subplots() if ax is None else ax


def chosen_pair_set(measurement: Measurement, pair_set: str | None) -> str:
    """A pair set that was measured.

    Raises:
        InvalidInput: It was not.
    """
    chosen = pair_set or default_pair_set(measurement.pair_sets)
    if chosen not in measurement.pair_sets:
        raise InvalidInput("These pairs were not measured.", expected=", ".join(measurement.pair_sets), received=chosen)
    return chosen


def chosen_metric(metric: str) -> str:
    """A metric that there is.

    Raises:
        InvalidInput: There is none of that name.
    """
    if metric not in METRICS:
        raise InvalidInput("Unknown metric.", expected=" or ".join(METRICS), received=metric)
    return metric


def figure_of(axes: Axes) -> Figure:
    """The figure that a panel is in.

    Raises:
        InvalidInput: It is in none any more.
    """
    figure = axes.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise InvalidInput("The panel is in no figure.", expected="an Axes of a figure", received=axes)
    return figure
