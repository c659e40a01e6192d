"""Intervals by drawing examples again: for estimates that have no standard error of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tfstiff.stiffness.intervals import LEVEL

_NUMBERS_AT_ONCE = 4_000_000


def bootstrap(
    sides: Sequence[np.ndarray],
    estimate: Callable[..., np.ndarray],
    replicates: int,
    *,
    numbers_each: int = 1,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95 % interval of an estimate by drawing examples, not pairs, class by class with replacement.

    An example drawn w times gives its pairs the weight w; a pair the product of the weights of its examples. Copies of
    one example make no pair. Replicates that lie beyond what was observed are infinite, and so may be the ends.

    Args:
        sides: Classes of the rows' examples, (n,), and of the columns' where they are others; -1 for those left out.
        estimate: From the weights of the examples of each side, (R, n) each, to estimates (R,).
        replicates: How many.
        numbers_each: How many numbers `estimate` holds for each replicate, beside the weights.
        seed: Of the draws.

    Returns:
        The lower and the upper end.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS_AT_ONCE // max(numbers_each, *map(len, sides), 1))
    found = []
    for start in range(0, replicates, at_once):
        number = min(at_once, replicates - start)
        found.append(estimate(*(_drawn(rng, classes, number) for classes in sides)))
    tail = (1 - LEVEL) / 2
    values = np.concatenate(found)
    return tuple(np.quantile(values, [tail, 1 - tail], method="inverted_cdf").tolist())


def _drawn(rng: np.random.Generator, classes: np.ndarray, number: int) -> np.ndarray:
    """(R, n) how often each example is drawn, as many of each class as there are."""
    weights = np.zeros((number, len(classes)))
    for label in np.unique(classes[classes >= 0]):
        places = np.flatnonzero(classes == label)
        size = len(places)
        drawn = rng.integers(size, size=(number, size)) + size * np.arange(number)[:, None]
        weights[:, places] = np.bincount(drawn.ravel(), minlength=number * size).reshape(number, size)
    return weights
