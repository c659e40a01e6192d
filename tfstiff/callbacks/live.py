"""A view of a training that is drawn anew at each measurement: in the cell of a notebook, or a line on a terminal."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from tfstiff.analysis.showings import of_measurement
from tfstiff.callbacks.history import History


class LiveView:
    """Shows the measurements so far. Nothing that goes wrong with it ends a training."""

    def __init__(self) -> None:
        self._handle: Any = None  # of the cell's output
        self._has_failed = False

    def begin(self) -> None:
        """The next measurement gets a view of its own."""
        self._handle = None

    def measured(self, history: History) -> None:
        """Shows the latest measurement and those before.

        Args:
            history: At least one measurement.
        """
        if self._has_failed:
            return
        try:
            if in_notebook():
                self._draw(history)
            else:
                sys.stderr.write(f"{of_measurement(history[-1]).line}\n")
                sys.stderr.flush()
        except Exception as error:  # a view is worth less than the training
            self._has_failed = True
            warnings.warn(f"The live view ends: {type(error).__name__}: {error}", stacklevel=2)

    def _draw(self, history: History) -> None:
        from IPython.display import display

        from tfstiff.figures.live import live_figure

        figure = live_figure(history)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)


def in_notebook() -> bool:
    """Whether what is displayed stands in the cell of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")  # a shell on a terminal has none
