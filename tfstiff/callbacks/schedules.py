"""When to measure: predicates on how far training has come, combined with `|`.

schedules.log() | schedules.every_steps(1000)
schedules.at_epochs([0, 0.5, 1, 5])
"""

from __future__ import annotations

import math
import numbers
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

from tfstiff.errors import InvalidInput

_EPSILON = 1e-9  # epochs are fractions of steps; a point that is reached up to rounding is reached


class Moment(NamedTuple):
    """How far training has come.

    Attributes:
        step: Batches trained on.
        epoch: The same in epochs; NaN inside an epoch whose number of steps is not known yet.
    """

    step: int
    epoch: float


class Schedule:
    """Base: measure where `due` says so.

    Hooks may come rarer than the schedule asks, so what counts is what was crossed.
    """

    def due(self, previous: Moment | None, current: Moment) -> bool:
        """Whether a measurement fell due after `previous` (None: before training) and up to `current`."""
        raise NotImplementedError

    def needs_batches(self) -> bool:
        """Whether a measurement may fall due inside an epoch."""
        return True

    def __or__(self, other: Any) -> Schedule:
        return _Union(self, as_schedule(other))

    def __ror__(self, other: Any) -> Schedule:
        return _Union(as_schedule(other), self)


class _Union(Schedule):
    def __init__(self, *schedules: Schedule) -> None:
        self.schedules = schedules

    def due(self, previous: Moment | None, current: Moment) -> bool:
        return any(schedule.due(previous, current) for schedule in self.schedules)

    def needs_batches(self) -> bool:
        return any(schedule.needs_batches() for schedule in self.schedules)


class _Points(Schedule):
    """Given points, on the axis of steps or of epochs, and, for epochs, every epoch from `every_from` on."""

    def __init__(self, points: Iterable[float], axis: str, every_from: float = math.inf) -> None:
        self.points = sorted(points)
        self.axis = axis
        self.every_from = every_from

    def due(self, previous: Moment | None, current: Moment) -> bool:
        before = -math.inf if previous is None else getattr(previous, self.axis)
        now = getattr(current, self.axis)
        if math.isnan(now):
            return False
        if math.isnan(before):  # somewhere inside the epoch that ends now
            before = math.ceil(now - _EPSILON) - 1
        crossed = bisect_right(self.points, now + _EPSILON) > bisect_right(self.points, before + _EPSILON)
        whole = math.floor(now + _EPSILON)
        return crossed or (whole >= self.every_from and whole > before + _EPSILON)

    def needs_batches(self) -> bool:
        return self.axis == "step" or any(point != round(point) for point in self.points)


class _EverySteps(Schedule):
    def __init__(self, interval: int) -> None:
        self.interval = interval

    def due(self, previous: Moment | None, current: Moment) -> bool:
        return previous is None or current.step // self.interval > previous.step // self.interval


def every_epoch() -> Schedule:
    """At initialisation and after every epoch."""
    return _Points([], "epoch", every_from=0)


def every_steps(interval: int) -> Schedule:
    """At initialisation and every `interval` batches.

    Raises:
        InvalidInput: `interval` is not a positive whole number.
    """
    if not isinstance(interval, numbers.Integral) or isinstance(interval, bool) or interval < 1:
        raise InvalidInput(
            "The interval of a schedule must be a whole number of steps.", expected="1 or more", received=interval
        )
    return _EverySteps(int(interval))


def at_steps(steps: Iterable[int]) -> Schedule:
    """After the given numbers of batches; 0 is initialisation."""
    return _Points(_nonnegative(steps), "step")


def at_epochs(epochs: Iterable[float]) -> Schedule:
    """After the given numbers of epochs, which may be fractions; 0 is initialisation."""
    return _Points(_nonnegative(epochs), "epoch")


def log(start: float = 0.01, per_decade: int = 4) -> Schedule:
    """At initialisation, then at log-spaced fractions of the first epoch from `start` on, then after every epoch.

    Args:
        start: The first fraction of an epoch, above 0 and at most 1.
        per_decade: Points in each factor of ten.

    Raises:
        InvalidInput: An argument is out of range.
    """
    return _Points([0.0, *log_fractions(start, per_decade)], "epoch", every_from=1)


def log_fractions(start: float = 0.01, per_decade: int = 4) -> list[float]:
    """The log-spaced fractions of an epoch from `start` up to, and without, 1.

    Raises:
        InvalidInput: An argument is out of range.
    """
    if not 0 < start <= 1 or per_decade < 1:
        raise InvalidInput(
            "A log schedule starts at a fraction of an epoch and has at least one point in each factor of ten.",
            expected="0 < start <= 1 and per_decade >= 1",
            received=(start, per_decade),
        )
    count = math.ceil(-math.log10(start) * per_decade - _EPSILON)
    return [start * 10 ** (index / per_decade) for index in range(count)]


def as_schedule(value: Any) -> Schedule:
    """A schedule from a name (`"epoch"`, `"log"`), a number of steps, a list of epochs, or a schedule.

    Raises:
        InvalidInput: It is none of these.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, str) and value == "epoch":
        return every_epoch()
    if isinstance(value, str) and value == "log":
        return log()
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return every_steps(int(value))
    if isinstance(value, list | tuple):
        return at_epochs(value)
    raise InvalidInput(
        "Unknown schedule.",
        expected='"epoch", "log", a number of steps, a list of epochs, or schedules combined with |',
        received=value,
    )


def _nonnegative(points: Iterable[float]) -> list[float]:
    found = list(points)
    for point in found:
        if not isinstance(point, numbers.Real) or isinstance(point, bool) or not 0 <= point < math.inf:
            raise InvalidInput("The points of a schedule must be numbers.", expected="0 or more", received=point)
    return [float(point) for point in found]
