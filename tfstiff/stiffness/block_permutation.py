"""Do blocks in the class stiffness matrix follow a grouping of the classes? A test against all other groupings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput

_MAX_EXACT = 20_000
_BATCH = 2**20  # cells of permuted matrices looked up at a time
_TIE = 1e-9  # sums of the same cells in another order differ by less, relative to their size


@dataclass(frozen=True)
class PermutationTest:
    """Whether a grouping of classes explains the matrix better than groupings of the same sizes drawn at random.

    Attributes:
        contrast: That of the grouping given.
        p_value: One-sided: the share of groupings whose contrast is at least as large. NaN where there is no contrast.
        num_groupings: How many were compared, the one given among them.
        is_exact: Whether these were all there are.
    """

    contrast: float
    p_value: float
    num_groupings: int
    is_exact: bool


def block_permutation_test(
    matrix: np.ndarray, groups: Any, *, max_exact: int = _MAX_EXACT, samples: int = 9_999, seed: int = 0
) -> PermutationTest:
    """Tests a grouping of classes against groupings of the same sizes: permutes which class is of which group.

    The test treats the classes as exchangeable, and asks whether blocks follow the grouping at all; the standard error
    of the contrast (`block_stiffness`) asks whether that of these very classes would be there with other examples. All
    groupings are enumerated where there are at most `max_exact`, which makes the p-value exact. Otherwise m of them are
    drawn, and it is (b + 1) / (m + 1) where b reach the contrast of the one given (Phipson and Smyth 2010).

    Args:
        matrix: (C, C) class stiffness matrix; NaN cells are left out.
        groups: (C,) group of each class; -1 leaves a class out.
        max_exact: Groupings up to which all are enumerated.
        samples: m.
        seed: Of the draw.

    Raises:
        InvalidInput: There is not one group for each class.
    """
    return permutation_test(np.asarray(matrix)[None], groups, max_exact=max_exact, samples=samples, seed=seed)[0]


def permutation_test(
    matrices: np.ndarray, groups: Any, *, max_exact: int = _MAX_EXACT, samples: int = 9_999, seed: int = 0
) -> list[PermutationTest]:
    """The same for several matrices (M, C, C) that lack the same cells, with the same groupings."""
    groups = checked_groups(groups, matrices.shape[1])
    kept = groups >= 0
    if not kept.any():
        return [PermutationTest(math.nan, math.nan, 0, False)] * len(matrices)
    matrices, groups = matrices[:, kept][:, :, kept].astype(np.float64), groups[kept]
    present = ~np.isnan(matrices[:1]) & ~np.eye(len(groups), dtype=bool)
    values = np.where(present, matrices, 0)
    both = np.concatenate([values, present]).astype(np.float64)
    both = (both + both.swapaxes(1, 2)).reshape(len(both), -1)  # the two cells of two classes are always of one kind
    order, is_exact = _arrangements(tuple(groups.tolist()), max_exact, samples, seed)
    contrasts = _contrasts(both, order, np.unique(groups, return_counts=True)[1])  # (M, 1 + N)
    found = []
    for matrix, (observed, *others) in zip(values, contrasts, strict=True):
        if math.isnan(observed):
            found.append(PermutationTest(math.nan, math.nan, 0, False))
            continue
        tolerance = _TIE * max(1.0, float(np.abs(matrix).max()))
        reached = int(np.count_nonzero(np.asarray(others) >= observed - tolerance)) + (not is_exact)
        number = len(others) + (not is_exact)
        found.append(PermutationTest(float(observed), reached / number, number, is_exact))
    return found


def checked_groups(groups: Any, num_classes: int | None = None) -> np.ndarray:
    """`groups` as (C,) int64.

    Raises:
        InvalidInput: They are not whole numbers, one for each class.
    """
    groups = np.asarray(groups)
    if groups.ndim != 1 or groups.dtype.kind not in "iu" or (num_classes is not None and len(groups) != num_classes):
        raise InvalidInput(
            "There must be one group for each class.",
            expected="whole numbers" if num_classes is None else f"{num_classes} whole numbers",
            received=groups,
        )
    return groups.astype(np.int64)


def _contrasts(values: np.ndarray, order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(M, N) the contrast of each of N groupings; NaN where one of the two kinds of cell does not occur.

    Args:
        values: (M + 1, C²) the sums of both cells of two classes, of M matrices; last, how many there are.
        order: (N, C) the classes, group by group.
        sizes: Of the groups.
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    first, second = np.nonzero(np.triu(group[:, None] == group, 1))
    same = np.empty((len(values), len(order)))
    size = max(1, _BATCH // max(len(first), 1))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        places = part[:, first] * order.shape[1] + part[:, second]
        for matrix, total in zip(values, same, strict=True):
            total[start : start + size] = matrix[places].sum(1)
    different = values.sum(1)[:, None] / 2 - same
    counts = np.where((same[-1] > 0) & (different[-1] > 0), [same[-1], different[-1]], np.nan)
    return same[:-1] / counts[0] - different[:-1] / counts[1]


@lru_cache(maxsize=8)
def _arrangements(groups: tuple[int, ...], max_exact: int, samples: int, seed: int) -> tuple[np.ndarray, bool]:
    """(1 + N, C) classes in the order of their groups: the grouping given, then those it is compared with.

    Also whether these are all there are.
    """
    given = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1].tolist()
    is_exact = math.factorial(len(groups)) // math.prod(map(math.factorial, sizes)) <= max_exact
    if is_exact:
        others = np.array(list(_groupings(tuple(range(len(groups))), sizes)), np.intp).reshape(-1, len(groups))
    else:
        others = np.random.default_rng(seed).permuted(np.tile(given, (samples, 1)), axis=1)
    return np.concatenate([given[None], others]), is_exact


def _groupings(free: tuple[int, ...], sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """All ways to divide what is free into groups of these sizes, one after the other, each once."""
    if not sizes:
        yield ()
        return
    for chosen in combinations(free, sizes[0]):
        left = tuple(index for index in free if index not in chosen)
        for rest in _groupings(left, sizes[1:]):
            yield chosen + rest
