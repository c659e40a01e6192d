"""Figures that are drawn anew while a run trains, at a cost that training does not feel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfstiff.records import Measurement, load_run
from tfstiff.runs.progress import Progress

SHARE = 0.02  # of the time since training began, that drawing may take
_EXPECTED_SECONDS = 5.0  # for the first figure, importing matplotlib included; more than it takes
_CAUTION = 2.0  # what comes next may cost this many times what the last did


class TimeBudget:
    """Says when something may be done again, so that all of it takes at most a share of the time that passes.

    It may be done when all that it has cost so far, and `_CAUTION` times what it cost the last time, is within the
    share. So in the long run it takes the whole share, and never more as long as its cost at most doubles at a time.
    At 2 % the next time comes no sooner than after 50 times the cost of the last.

    Args:
        share: From 0 to 1.
        expected: Seconds that the first time may cost.
        clock: Seconds since any moment.
    """

    def __init__(self, share: float, expected: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share = share
        self._next = expected
        self._clock = clock
        self._spent = 0.0
        self._began = clock()
        self._ended = self._began  # the last time

    def is_due(self) -> bool:
        """Whether it may be done now."""
        now = self._clock()
        paid = self._spent + self._next <= self._share * (now - self._began)
        return paid and self._next <= _CAUTION * self._share * (now - self._ended)

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Takes the time of what is done inside."""
        start = self._clock()
        try:
            yield
        finally:
            self._ended = self._clock()
            self._spent += self._ended - start
            self._next = _CAUTION * (self._ended - start)


class FigureRefresh(Progress):
    """Draws a run's figures as PNG after a measurement, one at a time and in turn, and passes everything on.

    Drawing takes at most 2 % of the time since training began, so that nothing is drawn in the first minutes, and
    figures of a long run are of different, recent moments. A figure that cannot be drawn never ends the training.

    Args:
        folder: The run's folder; the figures go where `tfstiff plot` puts them.
        progress: Who else is told.
        clock: Seconds since any moment.
    """

    def __init__(self, folder: Path, progress: Progress, clock: Callable[[], float] = time.perf_counter) -> None:
        self._progress = progress
        self.say, self.stepped = progress.say, progress.stepped  # type: ignore[method-assign]
        self.epoch_ended, self.end = progress.epoch_ended, progress.end  # type: ignore[method-assign]
        self._folder = folder
        self._clock = clock
        self._budget: TimeBudget | None = None
        self._drawn = 0  # figures so far

    def begin(self, epochs: int, steps_per_epoch: int) -> None:
        """Starts the clock, and passes it on."""
        self._budget = TimeBudget(SHARE, _EXPECTED_SECONDS, self._clock)
        self._progress.begin(epochs, steps_per_epoch)

    def measured(self, measurement: Measurement, seconds: float) -> None:
        """Passes it on, and draws the next figure if there is time for it."""
        self._progress.measured(measurement, seconds)
        if self._budget is None or not self._budget.is_due():
            return
        try:
            with self._budget.spend():
                self._draw_next()
        except Exception as error:  # whatever it is, training is worth more than a picture of it
            self._budget = None
            self.say(f"No more figures are drawn during training: {type(error).__name__}: {error}")

    def _draw_next(self) -> None:
        from tfstiff.figures import FIGURES, draw  # a second or two, for matplotlib

        names = list(FIGURES)
        name = names[self._drawn % len(names)]
        self._drawn += 1
        draw(load_run(self._folder), [name], formats=("png",), say=lambda _: None)
