"""Whether steps in weight space help each class, from the products of the steps with the examples' gradients."""

from __future__ import annotations

import numpy as np

from tfstiff.records.directions import StepEffects
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.sums import PairSetSums


def step_effects(
    products: np.ndarray, cosines: np.ndarray, classes: np.ndarray, num_classes: int, *, are_own: bool = False
) -> StepEffects:
    """Means by class, with the errors of means of independent draws, `√(Σ (x − mean)² / (m (m − 1)))`.

    Args:
        products: (n, D) products `g_i · v` with D steps; NaN where there is none.
        cosines: (n, D) their cosines.
        classes: (n,) class of each example.
        num_classes: C.
        are_own: Whether the steps are those of the classes, D = C, so that means are over effects on the own class.
    """
    helped = np.where(np.isfinite(products), products < 0, np.nan)
    members = (classes[:, None] == np.arange(num_classes)).astype(np.float64)
    found = {
        name: _by_class(values, classes, members)
        for name, values in (("change", products), ("cosine", cosines), ("helped", helped))
    }
    means = {
        name: _mean_over_classes(*(np.diagonal(of) if are_own else of[0] for of in found[name]))
        for name in ("cosine", "helped")
    }
    return StepEffects(
        num_examples=(np.isfinite(products).T @ members).astype(np.int64),
        change=found["change"][0],
        change_se=found["change"][1],
        cosine=found["cosine"][0],
        cosine_se=found["cosine"][1],
        helped=found["helped"][0],
        helped_se=found["helped"][1],
        mean_cosine=means["cosine"][0],
        mean_cosine_se=means["cosine"][1],
        mean_helped=means["helped"][0],
        mean_helped_se=means["helped"][1],
    )


def _by_class(values: np.ndarray, classes: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D, C) means of the (n, D) values that are finite, and their standard errors."""
    kept = np.isfinite(values)
    counts = kept.T @ members
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(kept, values, 0).T @ members / counts
        away = np.where(kept, values - means.T[classes], 0)
        errors = np.sqrt((away**2).T @ members / (counts * (counts - 1)))
    return np.where(counts > 0, means, np.nan), np.where(counts > 1, errors, np.nan)


def _mean_over_classes(means: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Mean over the classes that have one; examples of different classes are drawn apart, so variances add up."""
    known = np.isfinite(means)
    if not known.any():
        return float("nan"), float("nan")
    return float(means[known].mean()), float(np.sqrt((errors[known] ** 2).sum()) / known.sum())


def class_step_products(train: PairSetSums, tested: PairSetSums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Products and cosines of examples with a step down the mean gradient of each class of the training half.

    The step of class c is `v = −mean g_j` over its training examples j, without the example itself where that is one of
    them: else each training example would help itself, by `|g_i|² / n`, whatever the others are. With S the sum of
    `g_i · g_j` over the j that are left, m their number and Q = |Σ g_j|², of all j, that is

        g_i · v = −S / m,    cos = −S / (|g_i| √Q′),    Q′ = Q, or Q − 2 S − |g_i|² where i is one of them.

    Args:
        train: Sums over pairs of the training half.
        tested: The same, for its examples; or those over pairs of a training and a validation example.

    Returns:
        (n, C) products, in squared gradients, and cosines; NaN for examples without a finite gradient and classes
        without another example. (C,) lengths of the steps, no example left out.
    """
    half = HalfSums(train)
    whole = (np.diagonal(half.product_cells()) + half.by_class(half.squared_norms)) * train.unit**2
    is_own = tested.is_symmetric
    classes = tested.classes_rows if is_own else tested.classes_columns
    norms = tested.norms_rows if is_own else tested.norms_columns
    sums = (tested.products.rows if is_own else tested.products.columns) * tested.unit**2
    own = (classes[:, None] == np.arange(tested.num_classes)) & is_own
    others = half.counts - own
    squares = np.maximum(whole - own * (2 * sums + norms[:, None] ** 2), 0)
    scale = norms[:, None] * np.sqrt(squares)
    cosines = np.divide(-sums, scale, out=np.zeros_like(sums), where=scale > 0)
    kept = (classes >= 0)[:, None] & (others > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        products, lengths = -sums / others, np.sqrt(np.maximum(whole, 0)) / half.counts
    return np.where(kept, products, np.nan), np.where(kept, np.clip(cosines, -1, 1), np.nan), lengths
