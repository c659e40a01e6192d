"""What one measurement found on one pair set: plain, immutable values with their standard errors. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tfstiff.records.shown import Brief

METRICS = ("sign", "cosine")
HALVES_BY_NAME = {"train": "train", "val": "validation"}  # a measurement's halves, by what pair sets call them
SMALLEST_COSINE = 1e-6  # a float32 product of gradients does not resolve a smaller one
# Why a critical length is what it is. `ok`: inside the observed distances. `extrapolated`: beyond the largest observed
# distance, but not past the largest possible (of unbounded distances: not past twice the largest observed). `beyond`:
# past that; of methods without a line, past the largest observed. `all_nonpositive`: below the smallest observed
# distance. `no_decay`: the line does not fall significantly (the 95 % interval of its slope reaches 0), so that there
# is no zero to speak of. `too_few_pairs`: nothing can be fitted. `unavailable`: inputs that are no numbers have no
# distances, or the record holds none.
CRITICAL_LENGTH_STATUSES = (
    "ok",
    "extrapolated",
    "beyond",
    "all_nonpositive",
    "no_decay",
    "too_few_pairs",
    "unavailable",
)
# What the 95 % interval of a critical length is. `bounded`: all between `low` and `high`. `complement`: all up to
# `high` and all from `low` on, where `high` is the smaller one. `unbounded`: everything. `unavailable`: there is none.
INTERVALS = ("bounded", "complement", "unbounded", "unavailable")


@dataclass(frozen=True, repr=False)
class BlockStiffness(Brief):
    """Stiffness between classes of one group against that between classes of different groups.

    Only cells of two different classes count, all alike, so that what a class has in common with itself plays no part.
    Errors are as in `ClassStiffness`.

    Attributes:
        same_group: Mean over cells of different classes of one group; NaN where there is none.
        same_group_se: Its standard error.
        same_group_df: Its degrees of freedom.
        different_group: Mean over cells of classes of different groups; NaN where there is none.
        different_group_se: Its standard error.
        different_group_df: Its degrees of freedom.
        contrast: `same_group - different_group`.
        contrast_se: Its standard error, of two means over the same examples.
        contrast_df: Its degrees of freedom.
        p_value: Share of the groupings of these classes into groups of the same sizes whose contrast is at least as
            large; NaN where there is no contrast.
        num_groupings: How many groupings that is of, the one given among them.
        is_exact: Whether these are all there are; else they were drawn, always the same ones.
        contrast_influence: (E,) float32, what each example adds to the error of `contrast`, as in `ClassStiffness`.
    """

    same_group: float
    same_group_se: float
    same_group_df: float
    different_group: float
    different_group_se: float
    different_group_df: float
    contrast: float
    contrast_se: float
    contrast_df: float
    p_value: float
    num_groupings: int
    is_exact: bool
    contrast_influence: np.ndarray


@dataclass(frozen=True, repr=False)
class ClassStiffness(Brief):
    """Stiffness by class for one metric and one pair set.

    Errors are standard errors over the draw of the probe's examples, class by class; each has its degrees of freedom,
    for the quantile of Student's t. They are NaN where they cannot be estimated: in a cell with fewer than two examples
    of a class (three, where it compares a class with itself), and in the means over such a cell.

    Attributes:
        matrix: (C, C) float64; `matrix[a, b]` is the mean over pairs of an example of class `a` (from the first half
            of the pair set) with one of class `b`. NaN where a cell has no pair.
        matrix_se: (C, C) float64, standard error of each cell.
        matrix_df: (C, C) float64, its degrees of freedom.
        within: Mean of the diagonal cells (macro mean; equation 7 of the paper for the diagonal).
        within_se: Its standard error.
        within_df: Its degrees of freedom.
        between: Mean of the off-diagonal cells (equation 7).
        between_se: Its standard error.
        between_df: Its degrees of freedom.
        contrast: `within - between`.
        contrast_se: Its standard error, of two means over the same examples.
        contrast_df: Its degrees of freedom.
        within_pairs: Mean over all same-class pairs, each pair counted alike.
        within_pairs_se: Its standard error.
        between_pairs: Mean over all pairs of different classes, each pair counted alike.
        between_pairs_se: Its standard error.
        within_influence: (E,) float32, what each example adds to the error of `within`: the sum of the squares is its
            variance, to first order. The rows' examples, then, where the halves differ, the columns'. 0 for examples
            that are left out.
        between_influence: (E,) float32, the same of `between`.
        num_empty_cells: Cells without a pair; they are left out of the means.
        blocks: Classes of one group against classes of different groups; None where no groups of classes are known.
    """

    matrix: np.ndarray
    matrix_se: np.ndarray
    matrix_df: np.ndarray
    within: float
    within_se: float
    within_df: float
    between: float
    between_se: float
    between_df: float
    contrast: float
    contrast_se: float
    contrast_df: float
    within_pairs: float
    within_pairs_se: float
    between_pairs: float
    between_pairs_se: float
    within_influence: np.ndarray
    between_influence: np.ndarray
    num_empty_cells: int = 0
    blocks: BlockStiffness | None = None


@dataclass(frozen=True, repr=False)
class DistanceProfile(Brief):
    """Stiffness against distance, in bins.

    Attributes:
        edges: (B + 1,) float64, bin edges of the distance, increasing. Bins are half-open, the last one closed.
        count: (B,) int64, unordered pairs in each bin (ordered pairs where the two halves differ).
        num_examples: (B,) int64, different examples that these pairs hold.
        mean: (B,) float64, mean cosine of the pairs in each bin; NaN where a bin is empty.
        mean_se: (B,) float64, its standard error; NaN where a bin has too few pairs or examples for one.
        mean_sign: (B,) float64, mean sign of the pairs in each bin.
        mean_sign_se: (B,) float64, its standard error.
        num_duplicates: Pairs left out because their inputs are the same, or nearly.
    """

    edges: np.ndarray
    count: np.ndarray
    num_examples: np.ndarray
    mean: np.ndarray
    mean_se: np.ndarray
    mean_sign: np.ndarray
    mean_sign_se: np.ndarray
    num_duplicates: int = 0


@dataclass(frozen=True, repr=False)
class CriticalLength(Brief):
    """Dynamical critical length ξ: the distance at which stiffness reaches 0.

    Attributes:
        value: ξ. Of a straight line `-intercept / slope` wherever the slope is negative, else NaN; of other methods NaN
            where the crossing was not observed. Never clipped: read it with `status`.
        status: One of `CRITICAL_LENGTH_STATUSES`.
        low: With `high`, the limits of the 95 % interval of ξ, as `interval` says; infinite where it has no limit.
        high: See `low`.
        interval: One of `INTERVALS`.
        intercept: The line's value at distance 0; NaN for methods without a line.
        slope: The line's change per unit of distance.
        covariance: (2, 2) float64, of intercept and slope; NaN where it cannot be estimated.
        distance_min: Smallest distance of the pairs used.
        distance_max: Largest distance of the pairs used.
        num_pairs: Pairs used.
        method: How ξ was found: `linear`, `fixed_effects`, `linear_binned` or `first_crossing`.
        metric: Of what: `sign` or `cosine`.
        lack_of_fit: The p-value of the hypothesis that the pairs lie on a straight line; NaN for methods without one,
            and where it cannot be told.
    """

    value: float
    status: str
    low: float
    high: float
    interval: str
    intercept: float
    slope: float
    covariance: np.ndarray
    distance_min: float
    distance_max: float
    num_pairs: int
    method: str = "linear"
    metric: str = "cosine"
    lack_of_fit: float = float("nan")


@dataclass(frozen=True, repr=False)
class ClassCriticalLengths(Brief):
    """The critical length of each class by itself, from straight lines; members as in `CriticalLength`.

    Attributes:
        value: (C,) float64.
        status: C texts.
        low: (C,) float64.
        high: (C,) float64.
        interval: C texts.
        intercept: (C,) float64.
        slope: (C,) float64.
        covariance: (C, 2, 2) float64.
        num_pairs: (C,) int64.
    """

    value: np.ndarray
    status: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    interval: tuple[str, ...]
    intercept: np.ndarray
    slope: np.ndarray
    covariance: np.ndarray
    num_pairs: np.ndarray


@dataclass(frozen=True, repr=False)
class DistanceStiffness(Brief):
    """Stiffness against the distance of one space.

    Attributes:
        profile: In bins.
        critical_length: ξ of all pairs that are compared.
        fixed_effects: ξ of a line with one slope for all classes and an intercept for each, at the mean intercept; None
            where pairs are not compared class by class.
        by_class: ξ of each class; None where `fixed_effects` is.
    """

    profile: DistanceProfile
    critical_length: CriticalLength
    fixed_effects: CriticalLength | None = None
    by_class: ClassCriticalLengths | None = None


@dataclass(frozen=True, repr=False)
class PairSetStiffness(Brief):
    """Everything measured on one pair set (`train_train`, `train_val` or `val_val`).

    Attributes:
        sign: Stiffness by class of `sign(g1·g2)`; None for regression targets.
        cosine: Stiffness by class of `cos(g1, g2)`; None for regression targets.
        pair_counts: (C, C) int64, pairs in each cell (ordered, self pairs left out); None for regression targets.
        mean_sign: Mean sign over all pairs.
        mean_sign_se: Its standard error.
        mean_cosine: Mean cosine over all pairs.
        mean_cosine_se: Its standard error.
        spaces: Stiffness against distance, by name of the space in which distances are taken: `input`, or a layer's
            path. Of same-class pairs unless others were asked for; of all pairs for regression targets.
        num_zero: Pairs whose product is exactly zero; their sign is 0.
        num_uncertain_signs: Pairs whose cosine is not zero but below 1e-6, what single precision resolves, so that its
            sign may be rounding.
        statistics: What else the sums over pairs tell, such as the noise scale, by the names in
            `tfstiff.stiffness.statistics`; empty where the halves differ.
        class_mean_gram: (C, C) float64, products of the classes' mean gradients, in squared gradients; NaN for classes
            without an example. None where there are no classes, or the halves differ.
        sign_disagreement: Share of pairs by class whose product has another sign with the preconditioner than without;
            None without a preconditioner, and for regression targets.
        mean_sign_disagreement: The same share of all pairs; None without a preconditioner.
        mean_sign_disagreement_se: Its standard error.
    """

    sign: ClassStiffness | None
    cosine: ClassStiffness | None
    pair_counts: np.ndarray | None
    mean_sign: float
    mean_sign_se: float
    mean_cosine: float
    mean_cosine_se: float
    spaces: Mapping[str, DistanceStiffness]
    num_zero: int = 0
    num_uncertain_signs: int = 0
    statistics: Mapping[str, float] = field(default_factory=dict)
    class_mean_gram: np.ndarray | None = None
    sign_disagreement: ClassStiffness | None = None
    mean_sign_disagreement: float | None = None
    mean_sign_disagreement_se: float | None = None

    @property
    def distance_profile(self) -> DistanceProfile:
        """Stiffness against distance in the first space: that of the inputs, unless only another was asked for."""
        return next(iter(self.spaces.values())).profile

    @property
    def critical_length(self) -> CriticalLength:
        """ξ in the first space."""
        return next(iter(self.spaces.values())).critical_length
