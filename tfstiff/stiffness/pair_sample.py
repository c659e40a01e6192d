"""A sample of the pairs of a probe that is as good as any of its size, by a design in which all examples are alike.

Examples are dealt, class by class and at random, into G ≥ 3 subsets like a probe each, which stand in a ring. Within
one half of the probe the examples of neighbouring subsets are paired, between halves those of a subset with those of
the same and of the next: 2 in G of all pairs. So each example meets equally many others of each class, in the shares in
which all pairs hold them. The variance of a mean over pairs depends on how many those are and not on which (Lee 1982,
of incomplete U-statistics with designs of minimal variance); `tfstiff.stiffness.cells` derives it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfstiff.errors import InvalidInput

_FEWEST = 3  # subsets, in which a ring has neighbours that differ
_SEED = 20_240_229  # of the deal: the same for equal classes, so that equal measurements are of equal pairs


def dealt(classes: np.ndarray, num_subsets: int) -> np.ndarray:
    """(n,) int64: the subset of each example, 0 … G − 1, at random; of each class all have as many, or one more.

    Args:
        classes: (n,) class of each example.
        num_subsets: G.
    """
    order = np.lexsort([np.random.default_rng(_SEED).random(len(classes)), classes])
    subsets = np.empty(len(classes), np.int64)
    subsets[order] = np.arange(len(classes)) % num_subsets  # going on from class to class, which evens their sizes
    return subsets


def steps_of(num_subsets: int, *, is_symmetric: bool) -> tuple[int, ...]:
    """How far along the ring the subsets are that a subset of rows meets; columns meet rows that far before them.

    Args:
        num_subsets: G; of 1 all pairs are taken.
        is_symmetric: Whether rows and columns are the same examples.
    """
    if num_subsets == 1:
        return (0,)
    return (1, num_subsets - 1) if is_symmetric else (0, 1)


def num_pairs(sizes: Sequence[int], halves: Sequence[tuple[int, int]], num_subsets: int = 1) -> int:
    """The pairs of the sample, over some pair sets together; those of two examples of one half count once.

    Args:
        sizes: By half: examples.
        halves: Of each pair set, that of its rows and that of its columns.
        num_subsets: G; 1 means all pairs.
    """
    counts = [size // num_subsets + (np.arange(num_subsets) < size % num_subsets) for size in sizes]
    total = 0
    for rows, columns in halves:
        steps = steps_of(num_subsets, is_symmetric=rows == columns)
        ordered = sum(int(counts[rows] @ np.roll(counts[columns], -step)) for step in steps)
        own = sizes[rows] if num_subsets == 1 else 0
        total += (ordered - own) // 2 if rows == columns else ordered
    return total


def possible_subsets(classes: Sequence[np.ndarray]) -> range:
    """The numbers of subsets that a sample may have, each with an example of every class; none where classes are small.

    Args:
        classes: By half: (n,) class of each example; all 0 for regression targets.
    """
    counts = np.concatenate([np.bincount(half) for half in classes])
    most = int(counts[counts > 1].min(initial=counts.sum()))  # a class of one example has no pairs of its own anyway
    return range(_FEWEST, most + 1)


def num_subsets_for(pairs: int | None, classes: Sequence[np.ndarray], halves: Sequence[tuple[int, int]]) -> int:
    """The fewest subsets of which the sample has at most so many pairs; 1 where that is all.

    Args:
        pairs: At most; None means all.
        classes: By half: (n,) class of each example; all 0 for regression targets.
        halves: Of each pair set, that of its rows and that of its columns.

    Raises:
        InvalidInput: There would be subsets without an example of some class.
    """
    sizes = [len(half) for half in classes]
    if pairs is None or pairs >= num_pairs(sizes, halves):
        return 1
    possible = possible_subsets(classes)
    least = num_pairs(sizes, halves, possible[-1] if possible else 1)
    if least > pairs:
        raise InvalidInput(
            "So few pairs cannot be spread evenly over the examples of this probe.",
            expected=f"at least {least}, of which each class has some with each other example",
            received=pairs,
            remedy="Allow more pairs, or draw a smaller probe.",
        )
    return next(count for count in possible if num_pairs(sizes, halves, count) <= pairs)
