"""The sums over the pairs of one half of the probe, put together once for all that is computed from them."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.sums import PairSetSums, ValueSums


class HalfSums:
    """The sums of a symmetric pair set, without the examples whose gradient is not finite.

    Args:
        sums: Of a symmetric pair set.

    Attributes:
        sums: What it was made from.
        classes: (n,) int64, class of each example, 0 … C - 1.
        counts: (C,) float64, examples of each class.
        norms: (n,) float64, lengths of the gradients, in `sums.unit`.
        squared_norms: (n,) float64.
        batch_counts: (S,) float64, examples of each mini-batch.
        batch_products: (S, S) float64, sums of the products of their gradients, self pairs included, in `unit²`.

    Raises:
        InvalidInput: The pair set is of two halves, which has no self products.
    """

    def __init__(self, sums: PairSetSums) -> None:
        if not sums.is_symmetric:
            raise InvalidInput(
                "Coherence and its like are of one half of the probe.", expected="the sums of train_train or val_val"
            )
        self.sums = sums
        present = sums.classes_rows >= 0
        self._present = slice(None) if present.all() else present  # a mask costs a copy
        self.classes = sums.classes_rows[self._present]
        self.norms = sums.norms_rows[self._present] / sums.unit
        self.squared_norms = self.norms**2
        self.counts = self.by_class(None)
        batches, size = sums.batches_rows, len(sums.batch_products)
        self.batch_counts = np.bincount(batches[batches >= 0], minlength=size).astype(np.float64)
        own = np.bincount(batches[batches >= 0], (sums.norms_rows[batches >= 0] / sums.unit) ** 2, size)
        self.batch_products = sums.batch_products + np.diag(own)

    def by_class(self, values: np.ndarray | None) -> np.ndarray:
        """(C,) float64 sums of `values` (n,) by class; None counts."""
        return np.bincount(self.classes, values, self.sums.num_classes).astype(np.float64)

    @cached_property
    def products(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of each example's products with all others and with those of its class, (n,) each, in `unit²`."""
        return self._row_sums(self.sums.products)

    @cached_property
    def cosines(self) -> tuple[np.ndarray, np.ndarray]:
        """The same of the cosines."""
        return self._row_sums(self.sums.values["cosine"])

    def product_cells(self) -> np.ndarray:
        """(C, C) sums of the products over the ordered pairs of each cell, in `unit²`."""
        order = np.argsort(self.classes, kind="stable")
        cells = np.zeros(self.sums.products.squares.shape)
        if len(order):
            present = np.flatnonzero(self.counts)
            starts = np.append(0, np.cumsum(self.counts[present])[:-1]).astype(np.intp)
            cells[present] = np.add.reduceat(self.sums.products.rows[self._present][order], starts)
        return cells

    def _row_sums(self, values: ValueSums) -> tuple[np.ndarray, np.ndarray]:
        rows = values.rows[self._present]
        return rows.sum(1), rows[np.arange(len(rows)), self.classes]
