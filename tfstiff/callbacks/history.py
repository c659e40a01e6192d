"""The measurements of a callback, as users hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfstiff.analysis.showings import of_measurements
from tfstiff.records import Measurement
from tfstiff.records.shown import Showing, Shown
from tfstiff.records.words import moment

if TYPE_CHECKING:
    import pandas

    from tfstiff.figures.plotting import Plots


class History(Shown, list[Measurement]):
    """Measurements in order of time. Printed, and at the end of a notebook's cell, it is a table."""

    def to_dataframe(self) -> pandas.DataFrame:
        """A row a measurement and pair set: when, losses, stiffness with standard errors, ξ, the half's statistics."""
        from tfstiff.export.frames import measurement_frame

        return measurement_frame(self)

    @property
    def plot(self) -> Plots:
        """The figures of these measurements: `history.plot()`, `history.plot.curves("sign_within")`.

        See `tfstiff.figures.plotting.Plots`.

        Raises:
            InvalidInput: There is no measurement yet.
        """
        from tfstiff.figures.plotting import Plots  # which imports matplotlib

        return Plots(*self)

    def _line(self) -> str:
        return in_a_line(self)

    def _showing(self) -> Showing:
        return of_measurements(self._line(), self)


def in_a_line(history: History) -> str:
    """How many measurements there are, and when the last was taken."""
    number = f"{len(history)} measurement{'s' * (len(history) != 1)}"
    return f"{number}, the last at {moment(history[-1])}" if history else "no measurement yet"
