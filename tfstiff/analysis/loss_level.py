"""Values at a given training loss: what makes runs with different learning rates comparable."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput

# Why a value is what it is. `ok`: interpolated. `begins_below`: the loss was below the level at the first measurement
# already. `not_reached`: it never came down to it. `undefined`: a value beside the crossing is not finite.
LOSS_LEVEL_STATUSES = ("ok", "begins_below", "not_reached", "undefined")


@dataclass(frozen=True)
class AtLossLevel:
    """A value where the training loss first comes down to a level.

    Attributes:
        value: The interpolated value; NaN unless `status` is `ok`.
        se: Upper bound of its standard error; NaN where none were given.
        status: One of `LOSS_LEVEL_STATUSES`.
    """

    value: float
    se: float
    status: str


def at_loss_level(losses: Any, values: Any, level: float, se: Any = None) -> AtLossLevel:
    """Interpolates a series of values to where the training loss first comes down to `level`.

    The crossing is between the first measurement k of a loss of at most `level`, where the running minimum of the loss
    passes it, and the one before, k − 1. What the loss does later does not count. In between, the value is taken as
    linear in the logarithm of the loss, since losses fall by factors rather than by amounts:

        w = (log L(k−1) − log level) / (log L(k−1) − log L(k)),    value = (1 − w) v(k−1) + w v(k),

    or in the loss itself where L(k) or `level` is not above 0. Both measurements are of the same examples, so their
    errors are not independent; whatever their correlation, the standard error of the sum is at most
    (1 − w) se(k−1) + w se(k), which is returned.

    Args:
        losses: (T,) training losses in order of time. Measurements whose loss is not finite are left
            out.
        values: (T,) the value at each.
        level: The training loss of interest.
        se: (T,) standard error of each value.

    Raises:
        InvalidInput: The level is not a finite number, or the series differ in length.
    """
    (level,) = checked_levels(level)
    errors = np.full(np.shape(losses), np.nan) if se is None else se
    series = [np.asarray(array, np.float64) for array in (losses, values, errors)]
    if len({array.shape for array in series}) > 1 or series[0].ndim != 1:
        raise InvalidInput(
            "Losses, values and standard errors must be series of the same length.",
            received=[array.shape for array in series],
        )
    loss, value, error = (array[np.isfinite(series[0])] for array in series)
    below = np.flatnonzero(loss <= level)
    if not len(below):
        return AtLossLevel(math.nan, math.nan, "not_reached")
    after = int(below[0])
    if after == 0 and loss[0] < level:
        return AtLossLevel(math.nan, math.nan, "begins_below")
    if loss[after] == level:  # the measurement before plays no part, and need not exist
        found, bound = value[after], error[after]
    else:
        weight = _weight(loss[after - 1], loss[after], level)
        found, bound = ((1 - weight) * array[after - 1] + weight * array[after] for array in (value, error))
    if not math.isfinite(found):
        return AtLossLevel(math.nan, math.nan, "undefined")
    return AtLossLevel(float(found), float(bound), "ok")


def checked_levels(levels: Any) -> tuple[float, ...]:
    """One loss or several as floats, from the largest to the smallest.

    Raises:
        InvalidInput: One is not a finite number, or occurs twice.
    """
    found = tuple(levels) if isinstance(levels, Sequence | np.ndarray) and not isinstance(levels, str) else (levels,)
    for value in found:
        if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
            raise InvalidInput("A level of training loss must be a finite number.", expected="0.1", received=value)
    if len(set(found)) < len(found):
        raise InvalidInput("A level of training loss occurs twice.", expected="different numbers", received=found)
    return tuple(sorted(map(float, found), reverse=True))


def _weight(before: float, after: float, level: float) -> float:
    """How far `level` lies on the way from the loss `before` to the loss `after`: from 0 to 1."""
    if after > 0 and level > 0:
        before, after, level = math.log(before), math.log(after), math.log(level)
    return (before - level) / (before - after)
