"""Estimators: from products of gradients to class matrices, distance profiles and critical lengths. NumPy only."""

from tfstiff.stiffness.estimate import pair_set_stiffness
from tfstiff.stiffness.pairs import Pairs, make_pairs

__all__ = ["Pairs", "make_pairs", "pair_set_stiffness"]
