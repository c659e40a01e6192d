"""The measurements of a callback, as users hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfstiff.analysis.showings import of_measurements
from tfstiff.records import Measurement
from tfstiff.records.shown import Showing, Shown
from tfstiff.records.words import moment

if TYPE_CHECKING:
    import pandas


class History(Shown, list[Measurement]):
    """Measurements in order of time. Printed, and at the end of a notebook's cell, it is a table."""

    def to_dataframe(self) -> pandas.DataFrame:
        """A row a measurement and pair set: when, losses, stiffness with standard errors, ξ, the half's statistics."""
        from tfstiff.export.frames import measurement_frame

        return measurement_frame(self)

    def _line(self) -> str:
        number = f"{len(self)} measurement{'s' * (len(self) != 1)}"
        return f"{number}, the last at {moment(self[-1])}" if self else "no measurement yet"

    def _showing(self) -> Showing:
        return of_measurements(self._line(), self)
