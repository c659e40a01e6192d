"""A data set read into memory: of TensorFlow or Keras, or batches in any iterable."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.measuring.arrays import Arrays, dense, padded_alike

_TRIED = 16  # elements looked at to tell batches from single examples


def collect(dataset: Any, max_examples: int | None = None) -> tuple[Arrays, Arrays]:
    """Reads (inputs, labels) of all examples.

    Args:
        dataset: A `tf.data.Dataset` of batches or of examples, a `keras.utils.PyDataset`, or an iterable of batches.
        max_examples: Examples to read, from the start; None means all.

    Raises:
        InvalidInput: It has no end and `max_examples` is None, is empty, or its elements are no pairs.
    """
    batches, is_batched = _elements(dataset, max_examples)
    collected: list[list[np.ndarray]] = []
    structure: Any = None
    has_weights = False
    read = 0
    for element in batches:
        pair = _pair(element)
        has_weights |= len(element) > 2 and element[2] is not None
        leaves = [dense(leaf) for leaf in keras.tree.flatten(pair)]
        structure = pair if structure is None else structure
        collected.append(leaves if is_batched else [leaf[None] for leaf in leaves])
        read += len(collected[-1][0])
        if max_examples is not None and read >= max_examples:
            break
    if not collected:
        raise InvalidInput("The data set is empty.", expected="at least one example of (inputs, labels)")
    if has_weights:
        warnings.warn("The data set has sample weights, which are not measured: examples count alike.", stacklevel=4)
    try:
        joined = [np.concatenate(padded_alike(parts))[:max_examples] for parts in zip(*collected, strict=True)]
    except ValueError as error:
        raise InvalidInput("The elements of the data set do not go together.", received=error) from error
    x, y = keras.tree.pack_sequence_as(structure, joined)
    return x, y


def _elements(dataset: Any, max_examples: int | None) -> tuple[Iterable[Any], bool]:
    """The elements, and whether they are batches."""
    if isinstance(dataset, keras.utils.PyDataset):
        count = dataset.num_batches
        if count is None and max_examples is None:
            raise _endless()
        return (dataset[index] for index in range(count or 2**62)), True
    import tensorflow as tf

    if isinstance(dataset, tf.data.Dataset):
        if max_examples is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise _endless()
        return dataset, _is_batched(dataset)
    if isinstance(dataset, tuple | list | dict | str) or hasattr(dataset, "shape") or not isinstance(dataset, Iterable):
        raise InvalidInput(
            "A data set is expected here.",
            expected="a tf.data.Dataset, a keras.utils.PyDataset, or an iterable of batches (x, y)",
            received=type(dataset),
            remedy="For arrays use Probe.from_arrays(train=(x, y), validation=(x, y)).",
        )
    if max_examples is None and not isinstance(dataset, Iterator) and not hasattr(dataset, "__len__"):
        raise _endless()
    return dataset, True


def _pair(element: Any) -> tuple[Any, Any]:
    if not isinstance(element, tuple | list) or len(element) < 2:
        raise InvalidInput("The elements of the data set are not (inputs, labels).", received=type(element))
    return element[0], element[1]


def _is_batched(dataset: Any) -> bool:
    """Whether the elements of a `tf.data.Dataset` are batches: then inputs and labels have as many rows.

    So may a single example, where it has as many rows as there are classes: then its label is one-hot.
    """
    first = list(islice(dataset, _TRIED))
    if not first or any(not isinstance(element, tuple) or len(element) < 2 for element in first):
        return True  # told to the user where the elements are read
    shapes = [tuple(leaf.shape) for leaf in keras.tree.flatten(first[0][:2])]
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        return False
    labels = [element[1] for element in first]
    if not all(hasattr(y, "numpy") for y in labels):  # several outputs, or ragged
        return True
    has_fixed_size = dataset.element_spec[1].shape[:1].is_fully_defined()
    rows = [np.asarray(y) for y in labels]
    is_one_hot = all(y.ndim == 1 and len(y) > 1 and np.isin(y, (0, 1)).all() and y.sum() == 1 for y in rows)
    return not (has_fixed_size and is_one_hot)


def _endless() -> InvalidInput:
    return InvalidInput("The data set has no end.", remedy="Pass max_examples=, or take() a part of it.")
