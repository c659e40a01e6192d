"""Random projections of gradients: small, and different where the gradients are.

A gradient M, (p, q), is held as `Uᵀ M V / k` with Gaussian U, (p, k), and V, (q, k): k² numbers whose Euclidean length
is that of M on average, also for differences of gradients. For a combination `Σ_i d_i g_i` of per-example gradients
they come from the factors, `Σ_t (rows_it U)ᵀ d_i (columns_it V)`, so that neither it nor any g_i is formed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfstiff.gradients.gradient_factors import Layout
from tfstiff.gradients.rows import MixedRows

_WIDTH = 8  # k


def directions(longest: int) -> np.ndarray:
    """(longest, k) random numbers, of which as many rows are used as a gradient has rows, or columns."""
    return np.random.default_rng(0).normal(size=(longest, _WIDTH))


def width_of(shape: Sequence[int]) -> int:
    """Columns of a weight as a matrix: entries of its last axis."""
    return max(shape[-1], 1) if shape else 1


def of_gradient(gradient: np.ndarray, width: int, chosen: np.ndarray) -> np.ndarray:
    """(k²,) of one gradient of any shape, as a matrix of `width` columns; the gradient itself where that is shorter.

    Args:
        gradient: The gradient.
        width: Columns.
        chosen: What `directions` returns.
    """
    if gradient.size <= _WIDTH**2:
        return gradient.reshape(-1)
    matrix = gradient.reshape(-1, width)
    return _joined(chosen[: len(matrix)], matrix @ chosen[:width])


def of_combination(
    formed: Sequence[np.ndarray],
    outers: Sequence[tuple[Any, np.ndarray]],
    layout: Layout,
    shapes: Sequence[tuple[int, ...]],
    weights: np.ndarray,
    chosen: np.ndarray,
) -> dict[int, np.ndarray]:
    """By weight: of `Σ_i weights[i] g_i`, the gradients as `GradientFactors` holds them.

    Args:
        formed: Formed blocks of n examples.
        outers: Pairs of factors.
        layout: Which weight is where.
        shapes: Of every weight.
        weights: (n,).
        chosen: What `directions` returns.
    """
    found: dict[int, np.ndarray] = {}
    for indices, block in zip(layout.formed, formed, strict=True):
        total, start = weights @ block, 0
        for index in indices:
            part = total[start : start + layout.sizes[index]]
            start += layout.sizes[index]
            found[index] = of_gradient(part, width_of(shapes[index]), chosen)
    for indices, (rows, columns) in zip(layout.outers, outers, strict=True):
        width = columns.shape[-1]
        right = (columns * weights[:, None, None]) @ chosen[:width]  # (n, T, k)
        start = 0
        for index in indices:
            count = layout.sizes[index] // width
            left = _projected_rows(rows, slice(start, start + count), chosen)
            found[index] = _joined(*(side.reshape(-1, _WIDTH) for side in (left, right)))
            start += count
    return found


def of_batch(
    gradients: Mapping[int, np.ndarray],
    widths: Mapping[int, int],
    shapes: Sequence[tuple[int, ...]],
    chosen: np.ndarray,
) -> dict[int, np.ndarray]:
    """By weight: of gradients of a batch, in the form that `of_combination` has for the same weight.

    Args:
        gradients: By weight.
        widths: By weight that is held as factors: entries of a column.
        shapes: Of every weight.
        chosen: What `directions` returns.
    """
    found = {}
    for index, gradient in gradients.items():
        if index in widths:
            matrix = gradient.reshape(-1, widths[index])
            found[index] = _joined(chosen[: len(matrix)], matrix @ chosen[: widths[index]])
        else:
            found[index] = of_gradient(gradient, width_of(shapes[index]), chosen)
    return found


def _projected_rows(rows: Any, some: slice, chosen: np.ndarray) -> np.ndarray:
    """(n, T, k): of rows as in `GradientFactors`, of which `some` entries belong to the weight."""
    if isinstance(rows, MixedRows):
        return np.concatenate([_projected_rows(part, some, chosen) for part in rows], 1)
    if rows.dtype.kind == "i":
        return chosen[rows]
    return rows[..., some] @ chosen[: some.stop - some.start]


def _joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(k²,) from (rows, k) and (rows, k)."""
    joined: np.ndarray = (left.T @ right).reshape(-1) / _WIDTH
    return joined
