"""A value measured again and again on the same examples: smoothed, and the errors of its changes.

Measurements on one probe share its examples, so that the error of a difference between two of them is far smaller than
their own errors suggest. Where each example's influence on each value is given, a difference has the influence of the
difference, and its standard error is the root of the sum of squares: nothing needs to be assumed. Standard errors alone
are combined as if independent, which is too cautious where the same examples were measured.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput

_WIDTH = 0.05  # decades: one standard deviation of the smoothing
_ROUNDING = 1e-6  # of single precision, relative: values that differ by less are equal
_REACH = 4.0  # standard deviations, beyond which a measurement has no weight


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
            raise InvalidInput("Times must increase from 0 or later.", received=self.times.tolist())
        self.finite = np.isfinite(self.values)

    def __neg__(self) -> Curve:
        return Curve(self.times, -self.values, self.se, self.influence)

    @cached_property
    def kernel(self) -> np.ndarray:
        """(T, T) the weight of measurement j in the smoothed value at i, before all weights are made to add up to 1.

        A Gaussian in the logarithm of time, in which curves of training are even. Time 0 has none and stands alone.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.subtract.outer(np.log10(self.times), np.log10(self.times)) / _WIDTH
        np.fill_diagonal(away, 0)  # also where that is -inf less -inf
        return np.where(self.finite & (np.abs(away) < _REACH), np.exp(-0.5 * away**2), 0)

    def weights(self, index: int, until: int | None = None) -> np.ndarray:
        """(T,) the weight of each measurement in the smoothed value at `index`; none have those from `until` on."""
        weights = np.zeros(len(self.times))
        weights[:until] = self.kernel[index, :until]
        return weights / weights.sum()

    def smoothed(self) -> np.ndarray:
        """(T,) the values, smoothed; NaN where there is none."""
        return self.smoothed_as_it_grew()[:, -1] if len(self.times) else self.values

    def smoothed_as_it_grew(self) -> np.ndarray:
        """(T, T) the smoothed value at i, from the measurements up to and with j; NaN where there is none, or i > j."""
        total = np.cumsum(self.kernel * np.where(self.finite, self.values, 0), axis=1)
        weight = np.triu(np.cumsum(self.kernel, axis=1)) * self.finite[:, None]
        return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)

    def change(self, coefficients: np.ndarray) -> tuple[float, float]:
        """A weighted sum of the values and its standard error: 0 where no errors are known at all."""
        involved = coefficients != 0
        coefficients = coefficients[involved]
        value = float(coefficients @ self.values[involved])
        if self.influence is not None:
            return value, float(np.linalg.norm(coefficients @ self.influence[involved]))
        return value, 0.0 if self.se is None else float(np.linalg.norm(coefficients * self.se[involved]))

    def is_below(self, index: int, level: np.ndarray, z: float, min_change: float) -> bool:
        """Whether the value at `index` is below the weighted mean `level` of values, by more than its error.

        Args:
            index: Of a measurement with a value.
            level: (T,) weights that add up to 1.
            z: Standard errors of the difference. Where they are not known, it is not below.
            min_change: In units of the value.
        """
        coefficients = -level
        coefficients[index] += 1
        change, error = self.change(coefficients)
        rounding = _ROUNDING * abs(float(self.values[index]))
        return change < -max(min_change, rounding) and change < -z * error
