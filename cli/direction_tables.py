"""Whether steps along directions help each class, as `show` prints it and `run` ends with it."""

from __future__ import annotations

from typing import IO

from tfstiff.analysis.measured_rows import (
    EFFECTS_IN_WORDS,
    directions_without_effects,
    effect_columns,
    effect_rows,
)
from tfstiff.records import Measurement
from tfstiff.records.words import moment

from .tables import plain_table, print_whole

_SHORT = {"train": "train", "validation": "val"}


def print_directions(measurement: Measurement, file: IO[str] | None = None) -> None:
    """Prints a table of shares helped and one of cosines, a row a class; nothing where no direction was asked for.

    Args:
        measurement: The last one, say.
        file: Standard output where None.
    """
    if not measurement.directions:
        return
    *others, last = EFFECTS_IN_WORDS.items()
    for quantity, words in (*others, last):
        columns = effect_columns(measurement, quantity)
        table = plain_table("class", *(f"{name.replace('_', chr(10))}\n{_SHORT[half]}" for name, half in columns))
        for row in zip(effect_rows(measurement), *columns.values(), strict=True) if columns else ():
            table.add_row(*row)
        notes = directions_without_effects(measurement) if quantity == last[0] else []
        print_whole(table, notes, file, title=f"{words}, {moment(measurement)}")
