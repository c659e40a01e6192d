"""ξ from straight lines through pairs."""

from __future__ import annotations

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.records.pair_set import ClassCriticalLengths, CriticalLength
from tfstiff.stiffness.critical_length.curve import Curve
from tfstiff.stiffness.critical_length.zeros import Zeros, of_line, zeros


def linear(curve: Curve) -> CriticalLength:
    """ξ where the straight line through all pairs reaches 0.

    The paper (Fort et al., section 4.2) fits a linear function to same-class pairs and calls the distance at which it
    is 0 the dynamical critical length. Nothing is clipped: `status` says where ξ lies among the distances observed, and
    the interval is Fieller's.
    """
    return of_line(curve, curve.lines, _zeros(curve), 0, "linear")


def fixed_effects(curve: Curve) -> CriticalLength:
    """ξ where a line with an intercept for each class reaches 0.

    Pooling classes mixes how stiffness falls within a class with how classes differ, since in compact classes pairs are
    both nearer and stiffer. The line with fixed effects keeps to the first: one slope for all, an intercept for each
    class, and ξ at the mean intercept, in which classes count alike.

    Raises:
        InvalidInput: Pairs are not compared class by class.
    """
    if not curve.is_by_class:
        raise InvalidInput("Fixed effects of classes need pairs compared class by class, of several classes.")
    return of_line(curve, curve.lines, _zeros(curve), 1, "fixed_effects", by_group=True)


def lengths_of_classes(curve: Curve) -> ClassCriticalLengths:
    """ξ of each class, from the straight line through its own pairs."""
    lines, found = curve.lines, _zeros(curve)
    return ClassCriticalLengths(
        value=found.value[2:],
        status=tuple(found.status[2:]),
        low=found.low[2:],
        high=found.high[2:],
        interval=tuple(found.interval[2:]),
        intercept=lines.intercept[2:],
        slope=lines.slope[2:],
        covariance=lines.covariance[2:],
        num_pairs=curve.sums.group_moments[:, 0].astype(np.int64),
    )


def _zeros(curve: Curve) -> Zeros:
    (smallest, furthest), sums = curve.ends, curve.sums
    nearest = np.array([smallest, smallest, *sums.smallest])
    return zeros(curve.lines, nearest, np.array([furthest, furthest, *sums.largest]), curve.scale)
