"""What the label members of an npz file mean: class labels, in any of the usual spellings, or regression targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfstiff.errors import InvalidInput


def class_labels_or_targets(
    members: dict[str, np.ndarray], label_members: Sequence[str]
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Reads the label members together: one kind for all of them.

    Args:
        members: The arrays of the file by name; `class_names`, if there, names the classes.
        label_members: Names of the label members.

    Returns:
        For class labels: arrays (n,) int64 and the names of the classes ("0", "1", … if the file has none).
        For regression: arrays (n,) float32 and no names. Targets are whatever is not whole numbers throughout.

    Raises:
        InvalidInput: Labels that are negative, out of range, not finite, or of a shape or dtype with no meaning.
    """
    width = 0
    vectors = {}
    for name in label_members:
        vectors[name], one_hot_width = _vector(name, members[name])
        width = max(width, one_hot_width)
    named = _class_names(members)
    if all((vector == np.round(vector)).all() for vector in vectors.values()):
        classes = len(named) or width
        labels = [_labels(name, vector, classes) for name, vector in vectors.items()]
        classes = classes or max(int(vector.max()) for vector in labels) + 1
        examples = sum(len(vector) for vector in labels)
        if not named and not width and classes > examples:
            raise InvalidInput(
                f"The labels {' and '.join(vectors)} reach {classes - 1}, with {examples} examples in all.",
                expected="class labels 0, 1, 2, … without gaps",
                remedy="number the classes from 0, or give class_names.",
            )
        return labels, named or tuple(str(label) for label in range(classes))
    if named or width:
        raise InvalidInput(
            f"Of {' and '.join(vectors)}, some are class labels and some are not whole numbers.",
            expected="class labels in all, or regression targets in all and no class_names",
        )
    return [vector.astype(np.float32) for vector in vectors.values()], ()


def _vector(name: str, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns (n,) numbers, and the number of classes if `y` was one-hot, else 0."""
    if y.dtype.kind not in "fiub":
        raise InvalidInput(
            f"The member {name} of the npz file has dtype {y.dtype}.",
            expected="numbers",
            remedy="number the classes from 0 and put their names into class_names.",
        )
    if not np.isfinite(y).all():
        raise InvalidInput(f"The member {name} of the npz file holds NaN or infinite values.")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1:
        return y, 0
    if y.ndim == 2 and ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all():
        return y.argmax(axis=1), y.shape[1]
    raise InvalidInput(
        f"The member {name} of the npz file has a shape or values with no meaning as labels.",
        expected="(n,) or (n, 1) labels or targets, or (n, classes) one-hot labels",
        received=y.shape,
    )


def _labels(name: str, vector: np.ndarray, classes: int) -> np.ndarray:
    low, high = vector.min(), vector.max()
    if low < 0 or (classes and high >= classes):
        raise InvalidInput(
            f"The member {name} of the npz file has labels out of range.",
            expected=f"0 to {classes - 1}" if classes else "labels from 0",
            received=(low.item(), high.item()),
        )
    return vector.astype(np.int64)


def _class_names(members: dict[str, np.ndarray]) -> tuple[str, ...]:
    names = members.get("class_names")
    if names is None:
        return ()
    if names.ndim != 1 or names.dtype.kind not in "Uiu" or names.size == 0:
        raise InvalidInput(
            "The member class_names of the npz file cannot be used.",
            expected="an array (classes,) of strings",
            received=f"shape {names.shape}, dtype {names.dtype}",
        )
    return tuple(str(name) for name in names)
