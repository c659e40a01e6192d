"""Do blocks in the class stiffness matrix follow a grouping of the classes? A test against all other groupings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tfstiff.stiffness.blocks import checked_groups

_BATCH = 2**21  # cells of permuted matrices held at a time
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
    matrix: np.ndarray, groups: Any, *, max_exact: int = 20_000, samples: int = 9_999, seed: int = 0
) -> PermutationTest:
    """Tests a grouping of classes against groupings of the same sizes: permutes which class is of which group.

    The test treats the classes as exchangeable, and asks whether blocks follow the grouping at all; `block_contrast`
    asks whether the contrast of these very classes would be there with other examples. All groupings are enumerated
    where there are at most `max_exact`, which makes the p-value exact. Otherwise m of them are drawn, and it is
    (b + 1) / (m + 1) where b reach the contrast of the one given (Phipson and Smyth 2010).

    Args:
        matrix: (C, C) class stiffness matrix; NaN cells are left out.
        groups: (C,) group of each class; -1 leaves a class out.
        max_exact: Groupings up to which all are enumerated.
        samples: m.
        seed: Of the draw.

    Raises:
        InvalidInput: There is not one group for each class.
    """
    groups = checked_groups(groups, len(matrix))
    kept = groups >= 0
    matrix, groups = np.asarray(matrix, np.float64)[np.ix_(kept, kept)], groups[kept]
    present = ~np.isnan(matrix) & ~np.eye(len(matrix), dtype=bool)
    values = np.where(present, matrix, 0)
    observed = float(_contrasts(values, present, groups[None])[0]) if len(groups) else math.nan
    if math.isnan(observed):
        return PermutationTest(math.nan, math.nan, 0, False)
    is_exact = _count_groupings(groups) <= max_exact
    if is_exact:
        candidates = np.array(list(_groupings(groups)))
    else:
        random = np.random.default_rng(seed)
        candidates = random.permuted(np.broadcast_to(groups, (samples, len(groups))), axis=1)
    size = max(1, _BATCH // values.size)
    contrasts = np.concatenate(
        [_contrasts(values, present, candidates[start : start + size]) for start in range(0, len(candidates), size)]
    )
    tolerance = _TIE * max(1.0, float(np.abs(values).max()))
    reached = int(np.count_nonzero(contrasts >= observed - tolerance))
    if is_exact:
        return PermutationTest(observed, reached / len(candidates), len(candidates), True)
    return PermutationTest(observed, (reached + 1) / (samples + 1), samples + 1, False)


def _contrasts(values: np.ndarray, present: np.ndarray, groupings: np.ndarray) -> np.ndarray:
    """(N,) the contrast of each of N groupings (N, C); NaN where one of the two kinds of cell does not occur."""
    same = (groupings[:, :, None] == groupings[:, None, :]).reshape(len(groupings), -1) & present.ravel()
    total, count = float(values.sum()), np.count_nonzero(present)
    same_total, same_count = same @ values.ravel(), same.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return same_total / same_count - (total - same_total) / (count - same_count)


def _count_groupings(groups: np.ndarray) -> int:
    """The number of ways to give out the groups, C! / Π (size of a group)!."""
    sizes = np.unique(groups, return_counts=True)[1].tolist()
    return math.factorial(len(groups)) // math.prod(map(math.factorial, sizes))


def _groupings(groups: np.ndarray) -> Iterator[np.ndarray]:
    """All ways to give out the groups, each once."""
    labels, sizes = np.unique(groups, return_counts=True)

    def fill(free: tuple[int, ...], place: int) -> Iterator[dict[int, int]]:
        if place == len(labels):
            yield {}
            return
        for chosen in combinations(free, int(sizes[place])):
            left = tuple(index for index in free if index not in chosen)
            for rest in fill(left, place + 1):
                yield rest | dict.fromkeys(chosen, int(labels[place]))

    for assignment in fill(tuple(range(len(groups))), 0):
        yield np.array([assignment[index] for index in range(len(groups))])
