"""From products of gradients to stiffness."""

from __future__ import annotations

import numpy as np

from tfstiff.records.measurement import PairSetStiffness
from tfstiff.stiffness.class_matrix import class_stiffness
from tfstiff.stiffness.distance import critical_length, distance_profile
from tfstiff.stiffness.pairs import Pairs

_SINGLE_PRECISION = 1e-6  # a float32 product of gradients does not resolve a smaller cosine


def pair_set_stiffness(
    gram: np.ndarray, row_norms: np.ndarray, column_norms: np.ndarray, pairs: Pairs
) -> PairSetStiffness:
    """Estimates the stiffness of one pair set.

    Pairs with an example whose gradient is not finite are left out. A zero gradient has sign and cosine 0 with all.

    Args:
        gram: (n, m) products `g_i · g_j` of the gradients of the rows' and the columns' examples.
        row_norms: (n,) lengths of the rows' gradients.
        column_norms: (m,) lengths of the columns' gradients.
        pairs: The pair set.
    """
    finite_rows, finite_columns = np.isfinite(row_norms), np.isfinite(column_norms)
    counted = np.outer(finite_rows, finite_columns)  # the pairs that count
    if pairs.is_symmetric:
        np.fill_diagonal(counted, False)
    products = np.where(counted, gram, 0)
    sign = np.sign(products)
    cosine = products * _inverse(row_norms)[:, None] * _inverse(column_norms)
    rows, columns = pairs.classes_rows, pairs.classes_columns
    pair_counts = by_class = None
    if rows.shape[1]:
        pair_counts = _class_sums(rows, counted.astype(np.float32), columns).astype(np.int64)
        by_class = [class_stiffness(_class_sums(rows, values, columns), pair_counts) for values in (sign, cosine)]
    size = np.abs(cosine)[np.triu(counted) if pairs.is_symmetric else counted]  # each pair once
    kept = counted.ravel()[pairs.near]
    distance, values = pairs.distance[kept], cosine.ravel()[pairs.near[kept]].astype(np.float64)
    return PairSetStiffness(
        sign=by_class[0] if by_class else None,
        cosine=by_class[1] if by_class else None,
        pair_counts=pair_counts,
        mean_sign=_mean(sign, counted),
        mean_cosine=_mean(cosine, counted),
        distance_profile=distance_profile(pairs.edges, pairs.bins[kept], values),
        critical_length=critical_length(distance, values),
        num_zero=int((size == 0).sum()),
        num_uncertain_signs=int(((size > 0) & (size < _SINGLE_PRECISION)).sum()),
    )


def _class_sums(rows: np.ndarray, values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(C, C) sums of `values` (n, m) by class, through row sums (n, C)."""
    return rows.T.astype(np.float64) @ (values @ columns)


def _inverse(norms: np.ndarray) -> np.ndarray:
    return np.divide(1, norms, out=np.zeros_like(norms), where=(norms > 0) & np.isfinite(norms))


def _mean(values: np.ndarray, counted: np.ndarray) -> float:
    count = np.count_nonzero(counted)
    return float(values.sum(dtype=np.float64) / count) if count else float("nan")
