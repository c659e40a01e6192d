"""A value measured again and again on the same examples.

Measurements on one probe share its examples, so that the error of a difference between two of them is far smaller than
their own errors suggest. Where each example's influence on each value is given, a difference has the influence of the
difference, and its standard error is the root of the sum of squares: nothing needs to be assumed. Standard errors alone
are combined as if independent, which is too cautious where the same examples were measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tfstiff.errors import InvalidInput

# What is known of the errors of a curve.
INFLUENCE, ERRORS, NOTHING = "influence", "errors", "nothing"


class Point(NamedTuple):
    """One measurement.

    Attributes:
        time: An epoch or step.
        value: NaN where there is none.
        se: Its standard error; NaN where it is not known.
        influence: (E,) the part of each of the probe's E examples in its error; None where it is not known.
    """

    time: float
    value: float
    se: float = math.nan
    influence: np.ndarray | None = None


class Curve:
    """A value measured again and again, with what is known of its errors.

    Args:
        times: (T,) increasing, at least 0: epochs or steps.
        values: (T,) NaN where there is none.
        se: (T,) standard errors, or None.
        influence: (T, E) the part of each of the probe's E examples in the error of each value, so that the squares of
            a row add up to the variance; or None. It goes before `se`.

    Raises:
        InvalidInput: Lengths differ, or times are negative or do not increase.
    """

    def __init__(self, times: Any, values: Any, se: Any = None, influence: Any = None) -> None:
        self.times, self.values = np.asarray(times, np.float64), np.asarray(values, np.float64)
        self.se = None if se is None else np.asarray(se, np.float64)
        self.influence = None if influence is None else np.asarray(influence, np.float64)
        given = [array for array in (self.times, self.values, self.se, self.influence) if array is not None]
        if self.times.ndim != 1 or len({len(array) for array in given}) > 1:
            raise InvalidInput(
                "Times, values and errors must be of the same measurements.",
                expected="one of each a measurement",
                received=[array.shape for array in given],
            )
        if not (np.diff(self.times) > 0).all() or (self.times < 0).any():
            raise not_increasing(self.times.tolist())

    def __neg__(self) -> Curve:
        return Curve(self.times, -self.values, self.se, self.influence)

    def __iter__(self) -> Iterator[Point]:
        nothing = [None] * len(self.times)
        errors = np.full(len(self.times), math.nan) if self.se is None else self.se
        rows = nothing if self.influence is None else self.influence
        for time, value, error, row in zip(
            self.times.tolist(), self.values.tolist(), errors.tolist(), rows, strict=True
        ):
            yield Point(time, value, error, row)

    @property
    def known(self) -> str:
        """What is known of its errors."""
        if self.influence is not None:
            return INFLUENCE
        return NOTHING if self.se is None else ERRORS


def not_increasing(received: Any) -> InvalidInput:
    """The error of times that do not increase."""
    return InvalidInput("Times must increase from 0 or later.", received=received)
