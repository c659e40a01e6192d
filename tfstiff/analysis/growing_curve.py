"""A curve as it grows, smoothed, and how far later values lie below the level of an earlier one.

A new measurement enters the smoothed values near it alone, and the level of the maximum is a few sums that it is added
to, so that a training of thousands of measurements pays for each what one of dozens does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfstiff.analysis.curve import ERRORS, INFLUENCE, Point, not_increasing

_WIDTH = 0.05  # decades: one standard deviation of the smoothing
_REACH = 4.0  # standard deviations, beyond which a measurement has no weight
_ROUNDING = 1e-6  # of single precision, relative: values that differ by less are equal
_TOGETHER = 64  # influences that are added up at a time


@dataclass(frozen=True)
class Level:
    """A smoothed value, as sums over the measurements that it is the weighted mean of.

    Attributes:
        index: Of the measurement at which the curve is smoothed.
        num_points: Measurements among which those are.
        weight: Sum of the weights.
        total: Of the weighted values.
        squares: Of the squares of weighted standard errors.
    """

    index: int
    num_points: int
    weight: float
    total: float
    squares: float


class GrowingCurve:
    """A curve, to which measurements are added one by one.

    The smoothed value is a weighted mean, by a Gaussian in the logarithm of time, in which curves of training are even.
    Time 0 has none and stands alone.

    Args:
        known: What is known of the errors of all measurements: one of those in `tfstiff.analysis.curve`.
    """

    def __init__(self, known: str) -> None:
        self._known = known
        self._size = 0
        self._columns = np.empty((6, 64))
        self._influences: list[Any] = []
        self._level: Level | None = None
        self._combined = (-1, 0, np.zeros(()))  # of a level: its index, its number of points, its influence
        self._seen = 0  # measurements of which it is known whether they are part of that level

    def __len__(self) -> int:
        return self._size

    def add(self, point: Point) -> None:
        """Adds a measurement.

        Raises:
            InvalidInput: Its time is not after that of the one before.
        """
        if not point.time >= 0 or (self._size and not point.time > self.time(-1)):
            raise not_increasing(point.time)
        if self._size == self._columns.shape[1]:
            self._columns = np.concatenate([self._columns, np.empty_like(self._columns)], 1)
        new = self._size
        self._size += 1
        log = math.log10(point.time) if point.time > 0 else -math.inf
        self._columns[:, new] = point.time, log, point.value, point.se, 0, 0
        self._influences.append(point.influence if self._known == INFLUENCE else None)
        if not math.isfinite(point.value):
            return
        near = slice(int(np.searchsorted(self._logs, log - 1.01 * _REACH * _WIDTH)), new + 1)
        kernel = self._kernel(new, near)
        values = np.where(kernel > 0, self._values[near], 0)
        earlier, is_measured = slice(near.start, new), kernel[:-1] > 0
        self._totals[earlier] += kernel[:-1] * np.where(is_measured, point.value, 0)
        self._weights[earlier] += kernel[:-1]
        # One after the other, as later ones are added, so that equal values have equal means.
        self._totals[new], self._weights[new] = np.cumsum(kernel * values)[-1], np.cumsum(kernel)[-1]

    def time(self, index: int) -> float:
        """The time of a measurement."""
        return float(self._columns[0, : self._size][index])

    def is_measured(self, index: int) -> bool:
        """Whether a measurement has a value."""
        return math.isfinite(self._values[index])

    def peak(self) -> int | None:
        """The index of the highest smoothed value; None where there is no value."""
        is_finite = np.isfinite(self._values)
        if not is_finite.any():
            return None
        smoothed = np.divide(self._totals, self._weights, out=np.full(self._size, -np.inf), where=is_finite)
        return int(np.argmax(smoothed))

    def level(self, index: int) -> Level:
        """The smoothed value at `index`; the same object as before where nothing was added to it since."""
        if self._level is None or self._level.index != index:
            self._level, self._seen = Level(index, 0, 0.0, 0.0, 0.0), 0
        if self._seen < self._size:
            self._level, self._seen = self._with_points(self._level, self._seen), self._size
        return self._level

    def is_below(self, index: int, level: Level, z: float, min_change: float) -> bool:
        """Whether a value lies below a level, by more than the error of their difference.

        Args:
            index: Of a measurement with a value.
            level: As `level` gives it.
            z: Standard errors of the difference. Where they are not known, it is not below.
            min_change: In units of the value.
        """
        value = float(self._values[index])
        change = value - level.total / level.weight
        if not change < -max(min_change, _ROUNDING * abs(value)):
            return False
        return change < -z * self._error(index, level)

    def _error(self, index: int, level: Level) -> float:
        """The standard error of the difference between a value and a level, of which it may be a part."""
        if self._known == INFLUENCE:
            return float(np.linalg.norm(self._influences[index] - self._influence(level) / level.weight))
        if self._known != ERRORS:
            return 0.0
        own = float(self._columns[3, index])
        is_part = index < level.num_points
        share = float(self._kernel(level.index, slice(index, index + 1))[0]) / level.weight if is_part else 0.0
        squares = level.squares / level.weight**2
        return math.sqrt(squares - (share * own) ** 2 + ((1 - share) * own) ** 2)

    def _with_points(self, level: Level, start: int) -> Level:
        """The level with the measurements from `start` on; itself where none of them is near."""
        kernel = self._kernel(level.index, slice(start, self._size))
        places = np.flatnonzero(kernel)
        if not len(places):
            return level
        kernel, indices = kernel[places], start + places
        return Level(
            level.index,
            self._size,
            level.weight + float(kernel.sum()),
            level.total + float(kernel @ self._values[indices]),
            level.squares + float(((kernel * self._columns[3, indices]) ** 2).sum()),
        )

    def _influence(self, level: Level) -> np.ndarray:
        """(E,) the influences on a level, weighted and added up: of the one before with what came to it since."""
        index, start, total = self._combined
        if index != level.index or start > level.num_points:
            start, total = 0, np.zeros(())
        kernel = self._kernel(level.index, slice(start, level.num_points))
        places = np.flatnonzero(kernel)
        for first in range(0, len(places), _TOGETHER):
            some = places[first : first + _TOGETHER]
            total = total + kernel[some] @ np.array([self._influences[start + place] for place in some], np.float64)
        self._combined = level.index, level.num_points, total
        return total

    def _kernel(self, index: int, others: slice) -> np.ndarray:
        """The weights of other measurements in the smoothed value at `index`, before they are made to add up to 1."""
        logs, values = self._logs[others], self._values[others]
        with np.errstate(invalid="ignore"):
            away = (logs - self._logs[index]) / _WIDTH
        away[np.arange(others.start, others.start + len(away)) == index] = 0  # also where that is -inf less -inf
        return np.where(np.isfinite(values) & (np.abs(away) < _REACH), np.exp(-0.5 * away**2), 0)

    @property
    def _logs(self) -> np.ndarray:
        return self._columns[1, : self._size]

    @property
    def _values(self) -> np.ndarray:
        return self._columns[2, : self._size]

    @property
    def _totals(self) -> np.ndarray:
        return self._columns[4, : self._size]

    @property
    def _weights(self) -> np.ndarray:
        return self._columns[5, : self._size]
