"""The probe's examples of one split: what they are, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.measuring.arrays import Arrays
from tfstiff.measuring.stratified import stratified
from tfstiff.records.shown import Brief

DEFAULT_SIZE = 500


@dataclass(frozen=True, eq=False, repr=False)
class ProbeHalf(Brief):
    """The probe's examples of one split.

    Attributes:
        x: Inputs as the model takes them; first axis the n examples.
        y: Targets as the loss takes them, (n, ...); several of them for a model of several outputs.
        classes: (n,) int64 class of each example; None for regression targets.
        ids: (n,) text, the identity of each example.
    """

    x: Arrays
    y: Arrays
    classes: np.ndarray | None
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def drawn(half: ProbeHalf, name: str, wanted: int | str | None, random: np.random.Generator) -> ProbeHalf:
    """Some of the examples, class by class; all where there are no more, or of a split without any.

    Raises:
        InvalidInput: So many cannot be taken.
    """
    available = len(half)
    if not available:
        return half
    if wanted == "auto":
        wanted = DEFAULT_SIZE if available > DEFAULT_SIZE else None
    if wanted is None:
        return half
    if not isinstance(wanted, int | np.integer):
        raise InvalidInput(
            "The size of a probe is a number of examples.", expected='500, None for all, or "auto"', received=wanted
        )
    if not 1 <= wanted <= available:
        raise InvalidInput(
            f"The probe cannot take {wanted} examples of the {name} split.",
            expected=f"1 to {available}, or None for all",
            received=wanted,
            remedy="Choose a smaller probe." if wanted > available else None,
        )
    if half.classes is None:
        chosen = random.choice(available, wanted, replace=False)
    else:
        chosen = stratified(half.classes, name, wanted, random)
    chosen = np.sort(chosen)
    x, y = keras.tree.map_structure(lambda array: array[chosen], (half.x, half.y))
    return ProbeHalf(x, y, None if half.classes is None else half.classes[chosen], half.ids[chosen])


def check_lengths(
    name: str, x: Arrays, y: Arrays, classes: np.ndarray | None, ids: np.ndarray, *, may_be_empty: bool
) -> None:
    """Checks that there is one row for each example everywhere.

    Raises:
        InvalidInput: There is not.
    """
    arrays = [*keras.tree.flatten((x, y)), ids] + ([] if classes is None else [classes])
    lengths = [len(array) if array.ndim else None for array in arrays]
    if len(set(lengths)) != 1 or lengths[0] is None or (lengths[0] == 0 and not may_be_empty):
        raise InvalidInput(
            f"The inputs, labels, classes and ids of the {name} split must have one row for each example.",
            expected="the same number everywhere, at least 1",
            received=lengths,
        )


def shapes(arrays: Arrays) -> str:
    """Of one example, with its dtype: `28×28×1 float32`."""
    found = [f"{'×'.join(map(str, array.shape[1:])) or 'one'} {array.dtype}" for array in keras.tree.flatten(arrays)]
    return ", ".join(found)


def class_sizes(classes: np.ndarray | None) -> str:
    """How many examples a class has: `50`, or `48 to 51`."""
    if classes is None or not len(classes):
        return "–"
    sizes = np.unique(classes, return_counts=True)[1]
    return str(sizes.min()) if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
