"""Rules for a turn on curves that grow: what each measurement adds to what is known costs the same however many."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

from tfstiff.analysis.curve import NOTHING, Point
from tfstiff.analysis.growing_curve import GrowingCurve, Level
from tfstiff.errors import InvalidInput

# Whether there is a turn. `confirmed`: yes. `unconfirmed`: the curve has a turning point, but what follows is not
# (yet) clearly away from it. `none`: nothing of the kind. `unavailable`: the records lack what the rule needs.
TURN_STATUSES = ("confirmed", "unconfirmed", "none", "unavailable")


@dataclass(frozen=True)
class Turn:
    """When something began.

    Attributes:
        rule: Name of the rule.
        status: One of `TURN_STATUSES`.
        index: Which measurement it is, from 0; -1 where there is none.
        time: Its time, as given; NaN where there is none.
        confirmed_index: The measurement with which it was sure; -1 where it is not.
        confirmed_time: Its time; NaN where it is not.
    """

    rule: str
    status: str = "none"
    index: int = -1
    time: float = math.nan
    confirmed_index: int = -1
    confirmed_time: float = math.nan


class Rule(ABC):
    """A rule on a curve that grows.

    Attributes:
        turn: As the measurements so far show it.
    """

    turn: Turn

    @abstractmethod
    def add(self, point: Point) -> None:
        """Takes one more measurement.

        Raises:
            InvalidInput: Time does not increase.
        """


class Drop(Rule):
    """Base of the rules by which a curve lies below a level several times in a row.

    Args:
        known: What is known of the errors of all measurements.
        name: Of the rule.
        patience: Measurements in a row.
        z: Standard errors.
        min_change: In units of the value.
    """

    def __init__(self, known: str, *, name: str, patience: int, z: float, min_change: float) -> None:
        _check(patience, z, min_change)
        self.turn = Turn(name)
        self._curve = GrowingCurve(known)
        self._patience, self._limits = patience, (z, min_change)


class TurningPoint(Drop):
    """The rule of `turning_point`; takes what `Drop` does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._level: Level | None = None
        self._in_a_row = 0
        self._next = 0  # the first measurement that was not compared with the level

    def add(self, point: Point) -> None:
        """See `Rule`."""
        curve = self._curve
        curve.add(point)
        peak = curve.peak()
        if peak is None:
            return
        level = curve.level(peak)
        if level is not self._level:
            self._level, self._in_a_row, self._next = level, 0, peak + 1
            self.turn = Turn(self.turn.rule, "unconfirmed", peak, curve.time(peak))
        while self.turn.status != "confirmed" and self._next < len(curve):
            index = self._next
            self._next += 1
            if not curve.is_measured(index):
                continue
            self._in_a_row = self._in_a_row + 1 if curve.is_below(index, level, *self._limits) else 0
            if self._in_a_row == self._patience:
                time = curve.time(index)
                self.turn = replace(self.turn, status="confirmed", confirmed_index=index, confirmed_time=time)


class Departure(Drop):
    """The rule of `departure`; takes what `Drop` does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._run: list[int] = []

    def add(self, point: Point) -> None:
        """See `Rule`."""
        curve, index = self._curve, len(self._curve)
        peak = curve.peak()
        level = None if peak is None else curve.level(peak)  # before this measurement is a part of it
        curve.add(point)
        if level is None or self.turn.status == "confirmed" or not curve.is_measured(index):
            return
        self._run = [*self._run, index] if curve.is_below(index, level, *self._limits) else []
        if len(self._run) == self._patience:
            first = self._run[0]
            self.turn = Turn(self.turn.rule, "confirmed", first, curve.time(first), index, point.time)


class GeneralizationLoss(Rule):
    """The rule of `generalization_loss`.

    Args:
        known: What is known of the errors, which play no part.
        name: Of the rule.
        alpha: Per cent.

    Raises:
        InvalidInput: `alpha` is not above 0.
    """

    def __init__(self, known: str = NOTHING, *, name: str, alpha: float) -> None:
        if not alpha > 0:
            raise InvalidInput("The generalization loss must be above 0 %.", expected="5.0", received=alpha)
        self.turn = Turn(name)
        self._alpha = alpha
        self._lowest = math.inf
        self._count = 0

    def add(self, point: Point) -> None:
        """See `Rule`."""
        index = self._count
        self._count += 1
        if not (math.isfinite(point.value) and point.value > 0):
            return
        self._lowest = min(self._lowest, point.value)
        if self.turn.status != "confirmed" and 100 * (point.value / self._lowest - 1) > self._alpha:
            self.turn = Turn(self.turn.rule, "confirmed", index, point.time, index, point.time)


def _check(patience: int, z: float, min_change: float) -> None:
    if patience < 1 or int(patience) != patience:
        raise InvalidInput("Patience must be a whole number of measurements.", expected="1 or more", received=patience)
    for name, value in (("z", z), ("min_change", min_change)):
        if not 0 <= value < math.inf:
            raise InvalidInput(f"{name} must be a number from 0 on.", expected="3.0", received=value)
