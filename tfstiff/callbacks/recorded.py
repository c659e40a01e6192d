"""What a callback measured, as its user reads and sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.analysis.showings import of_measurements
from tfstiff.callbacks.earlier_weights import EarlierWeights
from tfstiff.callbacks.history import History, in_a_line
from tfstiff.callbacks.recorder import Recorder
from tfstiff.records.shown import Showing, Shown

if TYPE_CHECKING:
    from tfstiff.figures.plotting import Plots


class Recorded(Shown):
    """The measurements of a callback. Printed, and at the end of a notebook's cell, it is a table of them."""

    log_dir: Path | None
    _recorder: Recorder
    _earlier: EarlierWeights

    @property
    def history(self) -> History:
        """The measurements so far, in order: a list, with `to_dataframe()`, that prints as a table.

        A second `fit` of the same model continues it, that of another model begins anew.
        """
        return self._recorder.history

    @property
    def plot(self) -> Plots:
        """The figures of the measurements so far: `stiffness.plot()`, `stiffness.plot.class_matrix()`."""
        return self.history.plot

    @property
    def seconds(self) -> list[float]:
        """The time that each measurement took."""
        return self._recorder.seconds

    @property
    def events(self) -> list[dict[str, Any]]:
        """What `measure_now` and `note` were told of, each with its step and epoch, in order.

        Kept as long as `history`.
        """
        return self._recorder.events

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights that directions lead from, for one who goes on with the training."""
        return self._earlier.arrays()

    def put_back(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `arrays` returned in another process."""
        self._earlier.restore(arrays)

    def _line(self) -> str:
        where = "" if self.log_dir is None else f", in {str(self.log_dir)!r}"
        return in_a_line(self.history) + where

    def _showing(self) -> Showing:
        return of_measurements(self._line(), self.history)
