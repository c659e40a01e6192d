"""How far a measurement in parts has come, in words."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 10.0  # between two lines


class PartsDone:
    """Says now and then how many parts are done, and how long the others will take: a `progress` of `measure_in_parts`.

    Args:
        say: Is told each line.
        clock: Seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._first: tuple[int, float] | None = None
        self._told = 0.0

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` parts are done."""
        now = self._clock()
        if self._first is None:
            self._first, self._told = (done, now), now
            before = f"; {done} were before" if done else ""
            self._say(f"Summing {total - done} parts of the pairs{before}.")
            return
        if done < total and now < self._told + _SECONDS:
            return
        self._told = now
        first, began = self._first
        left = (now - began) / (done - first) * (total - done)
        self._say(f"{done} of {total} parts are done" + (f"; about {left:.0f} s are left." if done < total else "."))
