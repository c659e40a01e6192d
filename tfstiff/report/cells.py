"""Cells of a class matrix, of two different classes, with their 95 % intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfstiff.analysis.source import Source
from tfstiff.records import ClassStiffness, Measurement
from tfstiff.records.words import with_interval
from tfstiff.stiffness.intervals import interval

_FEWEST = 2
_NOTHING_VARIES = 1e-9  # the standard error up to which nothing does


class Cell(NamedTuple):
    """Of the classes `row` and `column`, by their names in quotation marks."""

    row: str
    column: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return with_interval(self.value, self.low, self.high)


def cells_of(source: Source, measurement: Measurement, metric: str) -> list[Cell]:
    """The cells of which an error is known, in the order of the matrix; none where they are fewer than two.

    Args:
        source: Whose main pair set is looked at.
        measurement: One of its.
        metric: `sign` or `cosine`.
    """
    found: ClassStiffness = getattr(measurement[source.main_pair_set], metric)
    known = np.isfinite(found.matrix) & np.isfinite(found.matrix_se) & (found.matrix_se > _NOTHING_VARIES)
    known &= ~np.eye(len(found.matrix), dtype=bool)
    if known.sum() < _FEWEST:
        return []
    values = found.matrix[known]
    ends = interval(values, found.matrix_se[known], found.matrix_df[known])
    low, high = (np.clip(end, -1, 1).tolist() for end in ends)
    return [
        Cell(_name(measurement, row), _name(measurement, column), *numbers)
        for (row, column), *numbers in zip(np.argwhere(known).tolist(), values.tolist(), low, high, strict=True)
    ]


def lowest_and_highest(cells: list[Cell]) -> tuple[Cell, Cell]:
    """Of one cell or more."""
    return min(cells, key=lambda cell: cell.value), max(cells, key=lambda cell: cell.value)


def _name(measurement: Measurement, index: int) -> str:
    names = measurement.class_names
    return f"“{names[index]}”" if index < len(names) else f"class {index}"
