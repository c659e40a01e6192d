"""Inputs and targets as users hold them, as dense arrays: lists, frames, tensors, ragged and sparse rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfstiff.errors import InvalidInput

_KEPT_BYTES = 64 * 2**20
_HALF_PRECISION = (-65504, 65504)  # the largest numbers there are

Arrays = Any  # an array, or arrays in a list, tuple or dict, as a model takes them


def dense_inputs(x: Any) -> Arrays:
    """Inputs as arrays: one, or, for a model of several, several in their list, tuple or dict.

    Rows of unequal length are padded with zeros to the longest.

    Raises:
        InvalidInput: Rows that are no numbers differ in length.
    """
    if isinstance(x, dict):
        return {name: dense_inputs(part) for name, part in x.items()}
    if isinstance(x, list | tuple) and x and all(isinstance(part, dict) or np.ndim(_shaped(part)) for part in x):
        return type(x)(dense_inputs(part) for part in x)
    return dense(x)


def targets(y: Any) -> Arrays:
    """Targets as arrays: one, or, for a model of several outputs, several in a dict or list."""
    if isinstance(y, dict):
        return {name: targets(part) for name, part in y.items()}
    if isinstance(y, list | tuple) and any(np.ndim(_shaped(part)) for part in y):
        return type(y)(dense(part) for part in y)
    return dense(y)


def dense(rows: Any) -> np.ndarray:
    """One array of the rows, those of unequal length padded with zeros; text as NumPy's `U`.

    Raises:
        InvalidInput: Rows that are no numbers differ in length.
    """
    if hasattr(rows, "to_tensor"):  # ragged
        rows = rows.to_tensor()
    elif type(rows).__name__ == "SparseTensor":
        import tensorflow as tf

        rows = tf.sparse.to_dense(rows)
    if not isinstance(rows, list | tuple):
        rows = np.asarray(rows)
        if rows.dtype.kind == "S":
            return np.char.decode(rows, "utf-8")
        if rows.dtype.kind != "O":
            return rows
        rows = rows.tolist()
    try:
        found = np.asarray(rows)
    except ValueError:  # of unequal length
        return _padded(rows)
    if found.dtype.kind == "O":
        found = np.asarray([one.decode() if isinstance(one, bytes) else one for one in found.ravel()])
        found = found.reshape(np.shape(np.empty(len(rows)) if found.ndim == 1 and len(found) == len(rows) else rows))
    return np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found


def _padded(rows: Sequence[Any]) -> np.ndarray:
    first = next((one for row in rows for one in np.ravel(row)), 0)
    dtype = {"i": "int64", "u": "int64", "f": "float32", "b": "int64"}.get(np.asarray(first).dtype.kind)
    if dtype is None:
        raise InvalidInput("Rows of text differ in length.", expected="as many texts an example", remedy="Join them.")
    return np.asarray(keras.utils.pad_sequences(rows, padding="post", dtype=dtype))


def padded_alike(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays with zeros at the end of their rows, so that the rows of all are as wide.

    Raises:
        ValueError: They differ in more than the width of their rows.
    """
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) <= 1:
        return list(arrays)
    if len({shape[1:] for shape in shapes}) > 1 or not all(shapes) or any(array.dtype.kind in "US" for array in arrays):
        raise ValueError(f"examples of shapes {', '.join(map(str, sorted(shapes)))}")
    width = max(shape[0] for shape in shapes)
    return [np.pad(array, [(0, 0), (0, width - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]) for array in arrays]


def flattened(x: Arrays) -> np.ndarray:
    """(n, d): all inputs of an example that are numbers, side by side; d is 0 where none is."""
    arrays = keras.tree.flatten(x)
    parts = [array.reshape(len(array), -1) for array in arrays if array.dtype.kind in "biuf"]
    if not parts:
        return np.zeros((len(arrays[0]), 0))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def kept_inputs(inputs: dict[str, Arrays]) -> dict[str, np.ndarray]:
    """Inputs as a run keeps them, to look at: one array each, numbers with a point in half precision.

    Args:
        inputs: By name.

    Returns:
        Nothing where a model takes several inputs, or all together are above 64 MiB.
    """
    kept = {}
    for name, x in inputs.items():
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "biufU":
            return {}
        is_wide = x.dtype.kind == "f" and x.itemsize > 2
        kept[name] = np.clip(x, *_HALF_PRECISION).astype(np.float16) if is_wide else x
    return kept if sum(x.nbytes for x in kept.values()) <= _KEPT_BYTES else {}


def _shaped(part: Any) -> Any:
    """What has a shape as it is; a row of plain numbers counts as a part of one array."""
    return part if hasattr(part, "shape") else 0
