"""Confidence intervals: of a value with a standard error, and of a ratio."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfstiff.records.pair_set import INTERVALS

LEVEL = 0.95


def quantile(degrees: Any) -> Any:
    """The two-sided quantile of Student's t for 95 %; that of the normal distribution for infinite degrees.

    Args:
        degrees: Degrees of freedom, of any shape; NaN where there are none.
    """
    from scipy.special import stdtrit  # not above: commands that only read records start without it

    return stdtrit(np.minimum(degrees, 1e12), (1 + LEVEL) / 2)


def interval(value: Any, se: Any, degrees: Any = np.inf) -> tuple[Any, Any]:
    """Lower and upper end of the 95 % interval, arrays or floats.

    Args:
        value: Estimates, of any shape.
        se: Their standard errors.
        degrees: Degrees of freedom of the standard errors, as records have them.
    """
    width = quantile(degrees) * se
    return value - width, value + width


def zero_of_a_line(
    intercept: np.ndarray, slope: np.ndarray, covariance: tuple[np.ndarray, np.ndarray, np.ndarray], degrees: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The 95 % interval of where lines reach 0, by the theorem of Fieller (1954).

    It holds all x at which the line's value is not significantly different from 0:

        (α + β x)² ≤ t² (V_αα + 2 x V_αβ + x² V_ββ),

    a quadratic inequality: between two limits where the slope is significant, else all but what lies between two
    limits, or everything.

    Args:
        intercept: (L,) α.
        slope: (L,) β.
        covariance: V_αα, V_αβ and V_ββ, (L,) each.
        degrees: (L,) degrees of freedom of V.

    Returns:
        `low` (L,), `high` (L,) and what they limit, as in `CriticalLength`.
    """
    t2 = quantile(degrees) ** 2
    a = slope * slope - t2 * covariance[2]
    b = intercept * slope - t2 * covariance[1]
    c = intercept * intercept - t2 * covariance[0]
    discriminant = b * b - a * c
    # For a < 0 the two have changed places: what is left out lies between `high` and `low`.
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.maximum(discriminant, 0))
        low, high = (-b - root) / a, (-b + root) / a
    unbounded = ~((a > 0) | ((a < 0) & (discriminant > 0)))
    unknown = np.isnan(discriminant)
    low[unbounded], high[unbounded] = -np.inf, np.inf
    low[unknown] = high[unknown] = np.nan
    kinds = np.select([unknown, unbounded, a > 0], [3, 2, 0], 1)
    return low, high, [INTERVALS[kind] for kind in kinds.tolist()]
