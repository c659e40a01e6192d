"""Nested arrays (the inputs of a model with several) as a flat list and a description that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfstiff.errors import InvalidInput


def description_of(nested: Any) -> Any:
    """The structure, with the place of each leaf in `keras.tree.flatten(nested)` in its stead."""
    places = iter(range(len(keras.tree.flatten(nested))))
    return _described(keras.tree.map_structure(lambda _: next(places), nested))


def rebuilt(description: Any, leaves: Sequence[Any]) -> Any:
    """The structure described, with these leaves."""
    if isinstance(description, int):
        return leaves[description]
    (kind, content), *_ = description.items()
    if kind == "dict":
        return {name: rebuilt(part, leaves) for name, part in content.items()}
    return (tuple if kind == "tuple" else list)(rebuilt(part, leaves) for part in content)


def _described(nested: Any) -> Any:
    if isinstance(nested, int):
        return nested
    if isinstance(nested, dict):
        return {"dict": {name: _described(part) for name, part in nested.items()}}
    if type(nested) in (list, tuple):
        return {type(nested).__name__: [_described(part) for part in nested]}
    raise InvalidInput(
        "The inputs of this model cannot be handed to other processes.",
        expected="arrays in dicts, lists and tuples",
        received=type(nested),
    )
