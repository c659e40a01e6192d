"""The tables that a run is exported as, from `tables.toml` beside this file: their keys, columns, units, long names."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from tfstiff.stiffness.statistics import STATISTICS

ALL_LAYERS = "(all)"
ONE_STEP = "(one)"  # of a direction that has no step for each class
PLAIN = "(plain)"  # gradients of all weights, without the preconditioner


class Column(NamedTuple):
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
    units: str = "1"
    lacks: Sequence[str] = ()
    variable: str | None = None


class Table(NamedTuple):
    """Quantities that depend on the same keys.

    Attributes:
        name: Of the table, and of its files.
        description: One line.
        keys: Names of the axes, the measurement first.
        columns: The quantities.
    """

    name: str
    description: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]

    def keys_of(self, column: Column) -> tuple[str, ...]:
        """The keys that a column depends on."""
        return tuple(key for key in self.keys if key not in column.lacks)

    def variable_of(self, column: Column) -> str:
        """The name of a column where tables do not tell quantities apart."""
        return column.variable or (self.name if column.name == "value" else f"{self.name}_{column.name}")


def _tables() -> dict[str, Table]:
    described = tomllib.loads(files(__package__).joinpath("tables.toml").read_text(encoding="utf-8"))
    described["statistics"]["columns"] = {
        name: {"long_name": words, "units": statistic.unit, "variable": name}
        for statistic in STATISTICS
        for name, words in statistic.columns()
    }
    return {
        name: Table(
            name, of["description"], tuple(of["keys"]), tuple(Column(c, **how) for c, how in of["columns"].items())
        )
        for name, of in described.items()
    }


TABLES = _tables()


def class_labels(names: Sequence[str], count: int) -> list[str]:
    """The classes' names; their numbers where there are no names, or two are the same."""
    return list(names) if len(set(names)) == count == len(names) else [str(index) for index in range(count)]
