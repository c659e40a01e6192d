"""What the label members of an npz file mean: class labels, in any of the usual spellings, or regression targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfstiff.datasets.classes import read_classes
from tfstiff.errors import InvalidInput


def class_labels_or_targets(
    members: dict[str, np.ndarray], label_members: Sequence[str], as_numbers: bool = False
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Reads the label members together, by the rule of `read_classes`: one kind for all of them.

    Args:
        members: The arrays of the file by name; `class_names`, if there, names the classes.
        label_members: Names of the label members.
        as_numbers: Whether they are regression targets, whatever they look like.

    Returns:
        For class labels: arrays (n,) int64 and the names of the classes.
        For regression: arrays (n,) float32 and no names.

    Raises:
        InvalidInput: Labels that are out of range, not finite, or of a shape or dtype with no meaning.
    """
    for name in label_members:
        _check(name, members[name])
    named = _class_names(members)
    classes = None if as_numbers else read_classes([members[name] for name in label_members], named)
    if classes is not None:
        return list(classes.of), classes.names
    labels = [members[name].reshape(len(members[name]), -1) for name in label_members]
    if named or any(array.shape[1] > 1 for array in labels) or any(array.dtype.kind not in "fiu" for array in labels):
        raise InvalidInput(
            f"Of {' and '.join(label_members)}, some are no class labels.",
            expected="class labels in all (one single 1 a row where they are one-hot), or in all one regression target "
            "an example, and no class_names",
        )
    return [array[:, 0].astype(np.float32) for array in labels], ()


def _check(name: str, y: np.ndarray) -> None:
    if y.dtype.kind not in "fiubU":
        raise InvalidInput(
            f"The member {name} of the npz file has dtype {y.dtype}.", expected="numbers, booleans or text"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise InvalidInput(f"The member {name} of the npz file holds NaN or infinite values.")
    if y.ndim not in (1, 2) or not y.size:
        raise InvalidInput(
            f"The member {name} of the npz file has a shape or values with no meaning as labels.",
            expected="(n,) or (n, 1) labels or targets, or (n, classes) one-hot labels",
            received=y.shape,
        )


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
