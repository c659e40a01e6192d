"""Which of a probe's pairs are multiplied: all, or a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.stiffness.pair_sample import num_pairs, num_subsets_for
from tfstiff.stiffness.sums import HALVES


@dataclass(frozen=True)
class PairSample:
    """The pairs of a measurement.

    Attributes:
        num_subsets: Into how many subsets the examples are dealt, see `tfstiff.stiffness.pair_sample`; 1 for all pairs.
        num_pairs: Pairs multiplied, over all pair sets together.
        num_all: All pairs.
    """

    num_subsets: int
    num_pairs: int
    num_all: int

    @property
    def is_whole(self) -> bool:
        """Whether all pairs are multiplied."""
        return self.num_subsets == 1


def pair_sample(options: MeasureOptions, probe: Probe) -> PairSample:
    """The pairs that options ask for.

    Raises:
        InvalidInput: They are too few for the probe.
    """
    halves = (probe.train, probe.validation)
    classes = [np.zeros(len(half), np.int64) if half.classes is None else half.classes for half in halves]
    sizes, sides = list(map(len, halves)), [HALVES[name] for name in probe.pair_sets_of(options.pair_sets)]
    num_subsets = num_subsets_for(options.pairs, classes, sides)
    return PairSample(num_subsets, num_pairs(sizes, sides, num_subsets), num_pairs(sizes, sides))
