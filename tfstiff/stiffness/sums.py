"""The sums over pairs that every estimator starts from. They grow as n, not as n², so no matrix of pairs need exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfstiff.stiffness.pair_sample import steps_of

HALVES = {"train_train": (0, 0), "train_val": (0, 1), "val_val": (1, 1)}  # of the rows and of the columns
DISAGREEMENT = "sign_disagreement"  # a value beside the metrics: 1 where a preconditioner turns the sign, else 0


@dataclass(frozen=True)
class ValueSums:
    """Sums of one value for each pair, `s[i, j]`: the sign, or the cosine, of the product of two gradients.

    Attributes:
        rows: (n, C) float64, `Σ_j s[i, j]` over the columns j of each class.
        columns: (m, C) float64, `Σ_i s[i, j]` over the rows i of each class; `rows` itself in a symmetric pair set.
        row_squares: (n, C) float64, `Σ_j s[i, j]²`.
        column_squares: (m, C) float64, `Σ_i s[i, j]²`.
        squares: (C, C) float64, `Σ s[i, j]²` over the ordered pairs of each cell.
    """

    rows: np.ndarray
    columns: np.ndarray
    row_squares: np.ndarray
    column_squares: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True)
class DistanceSums:
    """Sums over the pairs that are compared by their distance d, each pair once.

    "By example" sums run over the pairs that hold an example, as row or as column: E = n in a symmetric pair set, else
    E = n + m, the columns' examples behind the rows'. "By group" sums run over the pairs of a group: K = C groups where
    pairs of the same class are compared (the group is the class), else K = 1.

    Attributes:
        edges: (B + 1,) float64, edges of the distance bins, increasing.
        groups: (E,) int64, group of each example's pairs; -1 for examples that are left out.
        bin_counts: (E, B) float64, pairs by example and bin.
        bin_distances: (E, B) float64, Σ d.
        bin_sums: By metric: (E, B) float64, Σ s.
        bin_squares: By metric: (B,) float64, Σ s².
        moments: (E, 3) float64, Σ d^k for k = 0, 1, 2, by example.
        line_sums: By metric: (E, 2) float64, Σ s d^k for k = 0, 1, by example.
        group_moments: (K, 5) float64, Σ d^k for k = 0 … 4, by group.
        group_sums: By metric: (K, 4) float64, Σ s d^k for k = 0 … 3, by group.
        group_squares: By metric: (K, 3) float64, Σ s² d^k for k = 0, 1, 2, by group.
        smallest: (K,) float64, smallest distance in the group; NaN where it has no pair.
        largest: (K,) float64, largest distance in the group.
        num_duplicates: Pairs nearer than the tolerance for duplicates. They are in no sum.
    """

    edges: np.ndarray
    groups: np.ndarray
    bin_counts: np.ndarray
    bin_distances: np.ndarray
    bin_sums: Mapping[str, np.ndarray]
    bin_squares: Mapping[str, np.ndarray]
    moments: np.ndarray
    line_sums: Mapping[str, np.ndarray]
    group_moments: np.ndarray
    group_sums: Mapping[str, np.ndarray]
    group_squares: Mapping[str, np.ndarray]
    smallest: np.ndarray
    largest: np.ndarray
    num_duplicates: int = 0


@dataclass(frozen=True)
class PairSetSums:
    """Everything that is summed over one pair set.

    Self pairs of a symmetric pair set, and pairs with an example whose gradient is not finite, are in no sum. A zero
    gradient has sign and cosine 0 with everything.

    Attributes:
        is_symmetric: Whether rows and columns are the same examples.
        classes_rows: (n,) int64, class of each row's example, 0 … C - 1 (all 0 and C = 1 for regression targets); -1
            for those whose gradient is not finite.
        classes_columns: (m,) int64, of the columns' examples.
        norms_rows: (n,) float64, length of each row's gradient; 0 where it is not finite.
        norms_columns: (m,) float64, of the columns' gradients.
        values: By metric ("sign", "cosine"): their sums. `squares` of the sign count the pairs that are not zero. With
            a preconditioner also of `DISAGREEMENT`.
        products: Sums of `g_i · g_j / unit²`, and of its square.
        batches_rows: (n,) int64, mini-batch of each row's example; -1 for those in none, or left out.
        batch_products: (S, S) float64, `Σ g_i · g_j / unit²` over the ordered pairs of rows' and columns' batches.
        unit: The largest of all gradients' lengths in the pair set (1 where all are zero).
        smallest_cosine: Smallest cosine of any pair; NaN without pairs.
        num_zero: Unordered pairs (ordered ones where the halves differ) whose product is exactly zero.
        num_uncertain_signs: Pairs, counted alike, whose cosine is not zero but below 1e-6 in size.
        distance: Sums against distance, by name of the space: "input", or a layer's.
        subsets_rows: (n,) int64, the subset that each row's example is of, where only a sample of the pairs is in the
            sums (see `tfstiff.stiffness.pair_sample`). None means that all pairs are.
        subsets_columns: (m,) int64, of the columns' examples.
    """

    is_symmetric: bool
    classes_rows: np.ndarray
    classes_columns: np.ndarray
    norms_rows: np.ndarray
    norms_columns: np.ndarray
    values: Mapping[str, ValueSums]
    products: ValueSums
    batches_rows: np.ndarray
    batch_products: np.ndarray
    unit: float
    smallest_cosine: float
    num_zero: int
    num_uncertain_signs: int
    distance: Mapping[str, DistanceSums]
    subsets_rows: np.ndarray | None = None
    subsets_columns: np.ndarray | None = None

    @property
    def num_classes(self) -> int:
        """C; 1 for regression targets."""
        return self.products.rows.shape[1]

    @property
    def is_sample(self) -> bool:
        """Whether some pairs are in no sum, so that what needs the mean of all cannot be had."""
        return self.subsets_rows is not None

    def pairs_of_examples(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, C) and (m, C) int64: the pairs of each row, and of each column, with each class."""
        rows = (self.classes_rows, self._subsets(self.subsets_rows, self.classes_rows))
        columns = (self.classes_columns, self._subsets(self.subsets_columns, self.classes_columns))
        num_subsets = int(max(subsets.max(initial=0) for _, subsets in (rows, columns))) + 1
        steps = np.array(steps_of(num_subsets, is_symmetric=self.is_symmetric))
        found = self._pairs_with(*rows, *columns, steps, num_subsets)
        return found, found if self.is_symmetric else self._pairs_with(*columns, *rows, -steps, num_subsets)

    def pair_counts(self) -> np.ndarray:
        """(C, C) int64: ordered pairs in each cell."""
        rows, _ = self.pairs_of_examples()
        kept = self.classes_rows >= 0
        counts = np.zeros((self.num_classes, self.num_classes), np.int64)
        np.add.at(counts, self.classes_rows[kept], rows[kept])
        return counts

    def _subsets(self, subsets: np.ndarray | None, classes: np.ndarray) -> np.ndarray:
        return np.zeros_like(classes) if subsets is None else subsets

    def _pairs_with(
        self,
        classes: np.ndarray,
        subsets: np.ndarray,
        others: np.ndarray,
        subsets_of_others: np.ndarray,
        steps: np.ndarray,
        num_subsets: int,
    ) -> np.ndarray:
        cells = (subsets_of_others * self.num_classes + others)[others >= 0]
        by_subset = np.bincount(cells, minlength=num_subsets * self.num_classes).reshape(num_subsets, -1)
        counts = by_subset[(subsets[:, None] + steps) % num_subsets].sum(1)
        kept = np.flatnonzero(classes >= 0)
        if self.is_symmetric and not self.is_sample:  # with oneself
            counts[kept, classes[kept]] -= 1
        counts[classes < 0] = 0
        return counts
