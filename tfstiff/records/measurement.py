"""What one measurement found: plain, immutable values. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

PAIR_SETS = ("train_train", "train_val", "val_val")
METRICS = ("sign", "cosine")
# Why a critical length is what it is. `ok`: inside the observed distances. `extrapolated`: beyond the largest observed
# distance but at most 2, the largest possible. `beyond`: past 2. `all_nonpositive`: below the smallest observed
# distance. `no_decay`: the line does not fall, so it has no zero to speak of. `too_few_pairs`: no line can be fitted.
CRITICAL_LENGTH_STATUSES = ("ok", "extrapolated", "beyond", "all_nonpositive", "no_decay", "too_few_pairs")


@dataclass(frozen=True)
class ClassStiffness:
    """Stiffness by class for one metric and one pair set.

    Attributes:
        matrix: (C, C) float64; `matrix[a, b]` is the mean over pairs of an example of class `a` (from the first half
            of the pair set) with one of class `b`. NaN where a cell has no pair.
        within: Mean of the diagonal cells (macro mean; equation 7 of the paper for the diagonal).
        between: Mean of the off-diagonal cells (equation 7).
        within_pairs: Mean over all same-class pairs, each pair counted alike.
        between_pairs: Mean over all pairs of different classes, each pair counted alike.
    """

    matrix: np.ndarray
    within: float
    between: float
    within_pairs: float
    between_pairs: float


@dataclass(frozen=True)
class DistanceProfile:
    """Same-class cosine stiffness against input distance, in bins.

    Attributes:
        edges: (B + 1,) float64, bin edges of the distance, increasing. Bins are half-open, the last one closed.
        mean: (B,) float64, mean cosine of the pairs in each bin; NaN where a bin is empty.
        count: (B,) int64, unordered pairs in each bin (ordered pairs where the two halves differ).
    """

    edges: np.ndarray
    mean: np.ndarray
    count: np.ndarray


@dataclass(frozen=True)
class CriticalLength:
    """Dynamical critical length ξ: where a straight line through same-class pairs (distance, cosine) reaches 0.

    Attributes:
        value: `-intercept / slope` wherever the slope is negative, else NaN. Never clipped: read it with `status`.
        status: One of `CRITICAL_LENGTH_STATUSES`.
        intercept: The line's cosine at distance 0.
        slope: The line's change of cosine per unit of distance.
        distance_min: Smallest distance of the pairs fitted.
        distance_max: Largest distance of the pairs fitted.
        num_pairs: Pairs fitted.
    """

    value: float
    status: str
    intercept: float
    slope: float
    distance_min: float
    distance_max: float
    num_pairs: int


@dataclass(frozen=True)
class PairSetStiffness:
    """Everything measured on one pair set (`train_train`, `train_val` or `val_val`).

    Attributes:
        sign: Stiffness by class of `sign(g1·g2)`; None for regression targets.
        cosine: Stiffness by class of `cos(g1, g2)`; None for regression targets.
        pair_counts: (C, C) int64, pairs in each cell (ordered, self pairs left out); None for regression targets.
        mean_sign: Mean sign over all pairs.
        mean_cosine: Mean cosine over all pairs.
        distance_profile: Same-class cosine against distance; of all pairs for regression targets.
        critical_length: ξ from the same pairs.
        num_zero: Pairs whose product is exactly zero; their sign is 0.
        num_uncertain_signs: Pairs whose cosine is not zero but below 1e-6, what single precision resolves, so that its
            sign may be rounding.
    """

    sign: ClassStiffness | None
    cosine: ClassStiffness | None
    pair_counts: np.ndarray | None
    mean_sign: float
    mean_cosine: float
    distance_profile: DistanceProfile
    critical_length: CriticalLength
    num_zero: int = 0
    num_uncertain_signs: int = 0


@dataclass(frozen=True)
class HalfSummary:
    """One half of the probe at the time of the measurement.

    Attributes:
        num_examples: Examples in this half.
        loss: Mean per-example loss (no regularisation, no weights).
        accuracy: Share classified rightly; NaN where there are no classes.
        num_zero_gradients: Examples whose gradient is exactly zero. Their sign and cosine with everything count as 0.
        num_nonfinite: Examples whose gradient has a NaN or infinite entry. Their pairs are left out.
    """

    num_examples: int
    loss: float
    accuracy: float
    num_zero_gradients: int
    num_nonfinite: int


@dataclass(frozen=True)
class Measurement:
    """One measurement of a model on a probe.

    Attributes:
        train: Summary of the probe's training half.
        validation: Summary of the probe's validation half.
        pair_sets: Results by pair set; indexing the measurement reads it: `m["train_val"].sign.matrix`.
        class_names: Names of the C classes; empty for regression targets.
        step: Batches trained on when the model was measured; -1 where unknown.
        epoch: The same in epochs (fractional); NaN where unknown.
        updates: Optimizer updates applied; -1 where unknown.
        learning_rate: At that step; NaN where the optimizer has no single one.
        method: How the gradients were computed.
        layers: The same results from each layer's gradients alone, by the layer's path; empty unless asked for.
        gram: (n, n) float32 products of all gradients, the training half first; kept on request, else None.
    """

    train: HalfSummary
    validation: HalfSummary
    pair_sets: Mapping[str, PairSetStiffness]
    class_names: tuple[str, ...] = ()
    step: int = -1
    epoch: float = float("nan")
    updates: int = -1
    learning_rate: float = float("nan")
    method: str = ""
    layers: Mapping[str, Mapping[str, PairSetStiffness]] = field(default_factory=dict)
    gram: np.ndarray | None = field(default=None, repr=False)

    def __getitem__(self, pair_set: str) -> PairSetStiffness:
        return self.pair_sets[pair_set]

    def scalars(self) -> dict[str, float]:
        """All scalar results under the names that Keras logs carry, as Python floats.

        `stiffness_{sign|cosine}_{within|between}_{pair set}` (for regression targets `…_mean_…`), and
        `stiffness_critical_length_{pair set}`.
        """
        values: list[float] = []
        has_classes = bool(self.class_names)
        for stiffness in self.pair_sets.values():
            for by_class, mean in ((stiffness.sign, stiffness.mean_sign), (stiffness.cosine, stiffness.mean_cosine)):
                values += [mean] if by_class is None else [by_class.within, by_class.between]
            values.append(stiffness.critical_length.value)
        return dict(zip(scalar_names(has_classes, tuple(self.pair_sets)), map(float, values), strict=True))


def scalar_names(has_classes: bool, pair_sets: tuple[str, ...] = PAIR_SETS) -> tuple[str, ...]:
    """The names of a measurement's scalars, in order."""
    parts = ("within", "between") if has_classes else ("mean",)
    return tuple(
        f"stiffness_{name}_{pair_set}"
        for pair_set in pair_sets
        for name in (*(f"{metric}_{part}" for metric in METRICS for part in parts), "critical_length")
    )
