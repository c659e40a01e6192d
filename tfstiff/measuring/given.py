"""What a probe is made of, as users hand it over: pairs of inputs and labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.measuring.arrays import Arrays, padded_alike


def pair_of(name: str, pair: Any) -> tuple[Any, Any]:
    """The inputs and the labels of a split.

    Raises:
        InvalidInput: It is no pair of them; tells what it is, and what to do.
    """
    if isinstance(pair, tuple | list) and len(pair) == 2 and not any(one is None or is_data_set(one) for one in pair):
        return pair[0], pair[1]
    remedy = f"Give inputs and labels together: {name}=(x, y). Data sets go to Probe.from_dataset(train, validation)."
    if is_data_set(pair) or (isinstance(pair, tuple | list) and any(map(is_data_set, pair))):
        remedy = "For a tf.data.Dataset or a keras.utils.PyDataset use Probe.from_dataset(train, validation)."
    elif hasattr(pair, "columns"):
        remedy = f'Take the labels out of the frame: {name}=(frame.drop(columns="label"), frame["label"]).'
    received = type(pair).__name__
    if isinstance(pair, tuple | list):
        received += f" of {', '.join(type(one).__name__ for one in pair[:5])}{', …' * (len(pair) > 5)}"
    raise InvalidInput(
        f"The {name} split is not a pair of inputs and labels.",
        expected=f"{name}=(x, y)",
        received=received,
        remedy=remedy,
    )


def is_data_set(value: Any) -> bool:
    """Whether it is a `tf.data.Dataset` or a `keras.utils.PyDataset`."""
    return isinstance(value, keras.utils.PyDataset) or hasattr(value, "element_spec")


def without_validation(given: Any) -> Any:
    """Classes or ids of a training split alone, with none for the other."""
    if given is None or isinstance(given, str):
        return given
    first, *rest = given
    if any(one is not None and len(one) for one in rest):
        raise InvalidInput(
            "There are classes or ids of a validation split, and no validation split.",
            expected="(training, None)",
            received=[len(one) for one in given if one is not None],
        )
    return first, np.asarray(first)[:0]


def as_wide(first: Arrays, second: Arrays) -> tuple[Arrays, Arrays]:
    """The inputs of both splits, their rows padded to the same widths."""
    try:
        keras.tree.assert_same_structure(first, second)
        pairs = zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True)
        padded = list(zip(*map(padded_alike, pairs), strict=True))
    except (TypeError, ValueError) as error:
        raise InvalidInput("The inputs of the two splits differ.", expected="examples alike", received=error) from error
    return tuple(keras.tree.pack_sequence_as(first, leaves) for leaves in padded)
