"""Estimators: from sums over pairs of gradients to class matrices, profiles and critical lengths. NumPy only."""

from tfstiff.stiffness.estimate import pair_set_stiffness
from tfstiff.stiffness.sums import DistanceSums, PairSetSums, ValueSums

__all__ = ["DistanceSums", "PairSetSums", "ValueSums", "pair_set_stiffness"]
