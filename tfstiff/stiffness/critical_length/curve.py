"""Stiffness against distance, as the rules for the critical length see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tfstiff.records.pair_set import DistanceProfile
from tfstiff.stiffness.lines import Lines, fit_lines
from tfstiff.stiffness.strata import Strata
from tfstiff.stiffness.sums import DistanceSums


@dataclass(frozen=True)
class Scale:
    """What a kind of distance says.

    Attributes:
        largest: The largest one possible; None where there is no bound, and ξ is far away past twice the largest
            observed.
        direction: -1 for similarities, of which the largest is that of the nearest pairs.
    """

    largest: float | None
    direction: int = 1


SCALES = {
    "cosine": Scale(2.0),
    "cosine_similarity": Scale(-1.0, direction=-1),
    "l1": Scale(None),
    "l2": Scale(None),
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric of stiffness against distance.

    Attributes:
        sums: Against distance.
        strata: Their groups: classes where pairs are compared class by class, else one.
        profile: The bins.
        sides: Classes of the rows' examples, and of the columns' where they are others; -1 for those left out.
        metric: `sign` or `cosine`.
        scale: What the distance says.
    """

    sums: DistanceSums
    strata: Strata
    profile: DistanceProfile
    sides: Sequence[np.ndarray]
    metric: str
    scale: Scale

    @property
    def is_by_class(self) -> bool:
        """Whether pairs are compared class by class."""
        return len(self.sums.group_moments) > 1

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """(B,) means of the bins, and their standard errors."""
        profile = self.profile
        return (profile.mean, profile.mean_se) if self.metric == "cosine" else (profile.mean_sign, profile.mean_sign_se)

    @cached_property
    def lines(self) -> Lines:
        """Straight lines through the pairs: of all, with one slope for all groups, and of each group."""
        return fit_lines(self.sums, self.strata, self.metric)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest distance of any pair; NaN where there is none."""
        present = self.sums.group_moments[:, 0] > 0
        if not present.any():
            return float("nan"), float("nan")
        return float(self.sums.smallest[present].min()), float(self.sums.largest[present].max())
