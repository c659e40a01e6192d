"""Mean stiffness of single examples with the others of each class, from the sums by example and class.

Let s[i, j] be the sign or the cosine of examples i and j. For a given example i, the s[i, j] with the m examples j of a
class are independent draws of one distribution, so that their mean has the standard error of any mean,
√(Σ (s − mean)² / (m (m − 1))). It tells how far the mean would be another one with other examples of that class; two
examples' means are of the same others, and not independent.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfstiff.records.measurement import HALVES as NAMES
from tfstiff.records.pair_set import METRICS
from tfstiff.records.scores import ExampleStiffness
from tfstiff.stiffness.sums import HALVES, PairSetSums


def stiffness_of_examples(pair_sets: Mapping[str, PairSetSums], half: str) -> dict[str, ExampleStiffness]:
    """Of the examples of one half, with those of each half, by its name.

    Args:
        pair_sets: Sums over the pair sets that were measured.
        half: `train` or `validation`.
    """
    place = NAMES.index(half)
    found = {}
    for name, sums in pair_sets.items():
        rows, columns = HALVES[name]
        if place in (rows, columns):
            found[NAMES[columns if place == rows else rows]] = _of_side(sums, of_columns=place != rows)
    return {name: found[name] for name in NAMES if name in found}


def _of_side(sums: PairSetSums, *, of_columns: bool) -> ExampleStiffness:
    return mean_stiffness(
        sums.pairs_of_examples()[of_columns],
        {
            metric: (values.columns, values.column_squares) if of_columns else (values.rows, values.row_squares)
            for metric, values in ((metric, sums.values[metric]) for metric in METRICS)
        },
    )


def mean_stiffness(counts: np.ndarray, sums: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> ExampleStiffness:
    """Means and their standard errors.

    Args:
        counts: (n, C) examples that each is compared with, by class; 0 for those that are left out.
        sums: By metric: (n, C) float64, `Σ_j s[i, j]`, and `Σ_j s[i, j]²`.
    """
    parts = {}
    for metric, (whole, squares) in sums.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = whole / counts
            spread = np.maximum(squares - whole * mean, 0)
            error = np.sqrt(spread / (counts * (counts - 1)))
        parts[metric] = np.where(counts > 0, mean, np.nan).astype(np.float32)
        parts[f"{metric}_se"] = np.where(counts > 1, error, np.nan).astype(np.float32)
    is_small = counts.max(initial=0) <= np.iinfo(np.int16).max
    return ExampleStiffness(counts.astype(np.int16 if is_small else np.int32), **parts)
