"""Numbers whose axes have names and labels: what the tidy tables and the xarray data set are both made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Label = int | str
ONE = "1"  # the unit of what has none


@dataclass(frozen=True)
class Column:
    """One quantity of a table.

    Attributes:
        name: In the table.
        long_name: What it is, in words.
        units: As in the UDUNITS convention; `1` where it has none; empty for texts.
        lacks: Keys of the table that it does not depend on.
        variable: Its name where tables do not tell quantities apart; by default the table's and its own.
    """

    name: str
    long_name: str
    units: str = ONE
    lacks: frozenset[str] = frozenset()
    variable: str | None = None


@dataclass(frozen=True)
class Block:
    """A rectangular part of a table.

    Attributes:
        labels: For each key of the table, in order, the labels along it.
        values: For each column an array, an axis a key that it depends on. Columns that do not exist are left out.
    """

    labels: dict[str, Sequence[Label]]
    values: dict[str, np.ndarray]

    def shape(self, keys: Sequence[str]) -> tuple[int, ...]:
        """Lengths along these keys."""
        return tuple(len(self.labels[key]) for key in keys)


@dataclass(frozen=True)
class Table:
    """Quantities that depend on the same keys.

    Attributes:
        name: Of the table, and of its files.
        description: One line.
        keys: Names of the axes, the measurement first.
        columns: The quantities.
        blocks: Where the numbers are.
        is_tidy: Whether it is written as a tidy table, a row a combination of keys.
    """

    name: str
    description: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    blocks: list[Block] = field(default_factory=list)
    is_tidy: bool = True

    def keys_of(self, column: Column) -> tuple[str, ...]:
        """The keys that a column depends on."""
        return tuple(key for key in self.keys if key not in column.lacks)

    def add(self, labels: Sequence[Sequence[Label]], values: dict[str, Any]) -> None:
        """Adds a block; None among the values stands for a column that does not exist there."""
        by_key = dict(zip(self.keys, labels, strict=True))
        arrays = {name: np.asarray(value) for name, value in values.items() if value is not None}
        block = Block(by_key, {})
        for column in self.columns:
            if column.name in arrays:
                block.values[column.name] = arrays[column.name].reshape(block.shape(self.keys_of(column)))
        self.blocks.append(block)

    def flat(self, block: Block) -> Iterator[tuple[str, np.ndarray]]:
        """Keys and columns of a block, each as long as the block has combinations of keys."""
        shape = block.shape(self.keys)
        for axis, key in enumerate(self.keys):
            labels = np.asarray(block.labels[key])
            yield key, np.broadcast_to(labels.reshape(_along(axis, len(shape))), shape).ravel()
        for column in self.columns:
            values = block.values.get(column.name)
            if values is None:
                yield column.name, np.full(math.prod(shape), _absent(column))
            else:
                kept = tuple(
                    slice(None) if key not in column.lacks else None for key in self.keys
                )  # an axis of length 1 for each key that it lacks
                yield column.name, np.broadcast_to(values[kept], shape).ravel()

    def labels(self, key: str) -> list[Label]:
        """All labels along a key, in order of their first appearance."""
        return list(dict.fromkeys(label for block in self.blocks for label in block.labels[key]))

    def array(self, column: Column, labels: Mapping[str, Sequence[Label]]) -> np.ndarray:
        """A column as one array over these labels of its keys; NaN, or an empty text, where no block has a value.

        Whole numbers stay whole where none is missing, and become float64 otherwise.
        """
        keys = self.keys_of(column)
        parts = [(block, block.values[column.name]) for block in self.blocks if column.name in block.values]
        shape = tuple(len(labels[key]) for key in keys)
        place = {key: {label: index for index, label in enumerate(labels[key])} for key in keys}
        dtype = np.result_type(*(values.dtype for _, values in parts)) if parts else np.dtype(np.float64)
        is_text = dtype.kind == "U"
        is_there = np.zeros(shape, bool)
        found = np.full(shape, "", object) if is_text else np.zeros(shape, dtype)
        for block, values in parts:
            at = np.ix_(*([place[key][label] for label in block.labels[key]] for key in keys))
            found[at] = values
            is_there[at] = True
        if is_text or is_there.all():
            return found
        found = found if found.dtype.kind == "f" else found.astype(np.float64)
        found[~is_there] = np.nan
        return found


def _along(axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(-1 if index == axis else 1 for index in range(ndim))


def _absent(column: Column) -> Any:
    return math.nan if column.units else ""
