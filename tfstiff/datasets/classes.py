"""Whether labels are classes or numbers, and which classes: one rule, for arrays in Python and for files alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput

# Whole numbers are read as classes unless most of them name one example only: then they are prices, ages or ids.
_MANY_VALUES = 100
_FEWEST_EXAMPLES = 2  # of a class on average, where there are so many
_LARGEST_GAP = 10  # classes are numbered by their labels while at most so many labels, or half of them, are missing
_REMEDY = "Say what they are: classes=None for numbers, or classes=(train, validation), an integer for each example."


@dataclass(frozen=True)
class Classes:
    """The classes of the examples of all splits.

    Attributes:
        of: By split, the class of each example, (n,) int64.
        names: Of the C classes.
        outputs: (C,) int64, the output of a classifier that stands for each class.
        how: What they were read from, in words.
        may_be_numbers: Whether the same labels could be regression targets: a loss of numbers says so.
    """

    of: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    outputs: np.ndarray
    how: str
    may_be_numbers: bool = False


def read_classes(labels: Sequence[Any], names: Sequence[str] = ()) -> Classes | None:
    """Reads the classes from the labels of all splits together.

    Text, booleans and one-hot rows are classes. Whole numbers, (n,) or (n, 1) of any dtype, are classes unless there
    are hundreds of one example each; −1 and 1 are two classes. Everything else is numbers: fractions, negative numbers,
    rows with several ones.

    Args:
        labels: Of each split, an array whose first axis is the examples.
        names: Of the classes, in the order of the labels; where there are none, the labels themselves.

    Returns:
        The classes, or None for regression targets.

    Raises:
        InvalidInput: A label has no name, or labels are not finite.
    """
    check_class_names(names)
    arrays = [_column(np.asarray(array)) for array in labels]
    kinds = {array.dtype.kind for array in arrays}
    if kinds <= set("USO"):
        return _of_text(arrays, names)
    if not kinds <= set("iubf"):
        raise InvalidInput(
            "Labels of this kind cannot be read.",
            expected="whole numbers, text, booleans, one-hot rows, or numbers to regress on",
            received=", ".join(sorted(str(array.dtype) for array in arrays)),
        )
    if any(array.ndim == 2 and array.shape[1] > 1 for array in arrays):
        return _of_one_hot(arrays, names)
    if any(array.ndim != 1 for array in arrays) or not sum(map(len, arrays)):
        return None
    together = np.concatenate(arrays)
    if kinds == {"b"}:
        return _numbered(arrays, names or ("False", "True"), "booleans")
    if not np.isfinite(together).all():
        raise InvalidInput(
            "Labels are NaN or infinite.",
            expected="a class or a number for each example",
            received=f"{int((~np.isfinite(together)).sum())} of {len(together)} labels that are not finite",
            remedy="Leave these examples out; or, for a loss that knows what to do with them: classes=None.",
        )
    if not (together == np.round(together)).all():
        return None
    return _of_whole_numbers(arrays, together.astype(np.int64), names)


def check_class_names(names: Sequence[str]) -> None:
    """Checks that no two classes have one name.

    Raises:
        InvalidInput: Two have.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        received = ", ".join(twice[:10])
        raise InvalidInput("Several classes have one name.", expected="a name of its own for each", received=received)


def given_classes(classes: Sequence[Any], names: Sequence[str] = ()) -> Classes:
    """The classes that the caller names, one for each example of each split.

    Raises:
        InvalidInput: They are no classes.
    """
    found = read_classes(classes, names)
    if found is None or any(np.ndim(array) > 2 for array in classes):
        raise InvalidInput(
            "The classes given are not classes.",
            expected="one whole number or text for each example, of each split",
            received=[f"{array.dtype}{array.shape}" for array in map(np.asarray, classes)],
        )
    return Classes(found.of, found.names, found.outputs, "given")


def _column(labels: np.ndarray) -> np.ndarray:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _of_text(arrays: Sequence[np.ndarray], names: Sequence[str]) -> Classes | None:
    if any(array.ndim != 1 for array in arrays):
        return None
    others = {type(one).__name__ for array in arrays for one in array.tolist() if not isinstance(one, str | bytes)}
    if others:
        raise InvalidInput(
            "Labels of this kind cannot be read.",
            expected="texts, or numbers, for all examples",
            received=f"Python objects, {', '.join(sorted(others))} among them",
        )
    texts = [
        np.array([one.decode() if isinstance(one, bytes) else str(one) for one in array.tolist()]) for array in arrays
    ]
    found = np.unique(np.concatenate(texts))
    if names:
        unnamed = sorted(set(found.tolist()) - set(names))
        if unnamed:
            raise InvalidInput("Labels have no name.", expected=", ".join(names), received=", ".join(unnamed[:10]))
        order = {name: index for index, name in enumerate(names)}
        of = tuple(np.array([order[one] for one in text.tolist()], np.int64) for text in texts)
        return Classes(of, tuple(names), np.arange(len(names)), "text")
    of = tuple(np.searchsorted(found, text).astype(np.int64) for text in texts)
    return Classes(of, tuple(found.tolist()), np.arange(len(found)), "text, in its alphabetical order")


def _of_one_hot(arrays: Sequence[np.ndarray], names: Sequence[str]) -> Classes | None:
    """Rows with a single one in every split; one row with several makes it a problem of several labels.

    One split may hold the numbers of the classes instead.
    """
    rows = [array for array in arrays if array.ndim == 2]
    width = {array.shape[1] for array in rows}
    if len(width) > 1 or not all((np.isin(array, (0, 1)).all() and (array.sum(1) == 1).all()) for array in rows):
        return None
    if any(array.ndim not in (1, 2) or not (array == np.round(array)).all() for array in arrays):
        return None
    count = width.pop()
    if names and len(names) != count:
        raise InvalidInput("One-hot labels and class names differ in number.", expected=count, received=len(names))
    of = [array.argmax(1) if array.ndim == 2 else array for array in arrays]
    return _numbered(of, names or tuple(map(str, range(count))), "one-hot rows")


def _of_whole_numbers(arrays: Sequence[np.ndarray], together: np.ndarray, names: Sequence[str]) -> Classes | None:
    values, counts = np.unique(together, return_counts=True)
    if values.tolist() == [-1, 1]:
        of = tuple((array > 0).astype(np.int64) for array in arrays)
        return Classes(of, tuple(names) or ("-1", "1"), np.arange(2), "the values −1 and 1", may_be_numbers=True)
    if names:
        return _numbered(arrays, names, "whole numbers")
    if values[0] < 0 or (len(values) > _MANY_VALUES and counts.mean() < _FEWEST_EXAMPLES):
        return None
    count = int(values[-1]) + 1
    if count - len(values) <= max(_LARGEST_GAP, len(values)):
        return _numbered(arrays, tuple(map(str, range(count))), "whole numbers", may_be_numbers=True)
    of = tuple(np.searchsorted(values, array).astype(np.int64) for array in arrays)
    how = f"whole numbers with gaps, {len(values)} values up to {values[-1]}"
    return Classes(of, tuple(map(str, values.tolist())), values, how, may_be_numbers=True)


def _numbered(arrays: Sequence[np.ndarray], names: Sequence[str], how: str, *, may_be_numbers: bool = False) -> Classes:
    of = tuple(array.astype(np.int64) for array in arrays)
    outside = [label for array in of for label in (array.min(initial=0), array.max(initial=0))]
    if min(outside) < 0 or max(outside) >= len(names):
        raise InvalidInput(
            "Labels are out of range of the class names.",
            expected=f"0 to {len(names) - 1}, for {len(names)} names",
            received=sorted({int(min(outside)), int(max(outside))}),
        )
    return Classes(of, tuple(names), np.arange(len(names)), how, may_be_numbers)


def check_readable(labels: Sequence[Any], classes: Classes | None) -> None:
    """Checks that labels which a loss takes for classes were read as classes.

    Args:
        labels: Of each split.
        classes: What was read from them.

    Raises:
        InvalidInput: They were not.
    """
    arrays = [_column(np.asarray(array)) for array in labels]
    if classes is not None or any(array.ndim != 1 or array.dtype.kind not in "iuf" for array in arrays):
        return
    together = np.concatenate(arrays)
    if not (together == np.round(together)).all():
        return
    values = np.unique(together)
    raise InvalidInput(
        f"The labels hold {len(values):,} different whole numbers in {len(together):,} examples, which are hardly "
        "classes, but the loss is one of classes.",
        expected="classes 0, 1, 2, … of several examples each",
        received=f"{values[0]:g} to {values[-1]:g}",
        remedy=_REMEDY,
    )
