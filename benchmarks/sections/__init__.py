"""The sections of the benchmarks. Each module defines what `Section` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

Row = dict[str, Any]

# Those of `workloads`, which imports Keras: the processes of most peers must not.
MODELS = ("fc", "fc-v1", "cnn", "cnn-v1", "resnet20", "encoder", "lstm")
MILLISECONDS, MEGABYTES = 1e3, 1e-6


class Column(NamedTuple):
    """A column of a section's table: the key of its value in a row, its header, and how a number is written."""

    key: str
    header: str
    format: str = ""
    scale: float = 1.0


class Case(NamedTuple):
    """What one process measures.

    Attributes:
        name: Of the case, for people.
        measure: Called in a process of its own with `arguments`; returns rows.
        labels: Columns that stand in the row that tells of a failure.
        environment: Variables of that process.
    """

    name: str
    measure: Callable[..., list[Row]]
    arguments: tuple[Any, ...]
    labels: Row
    environment: dict[str, str] = {}  # noqa: RUF012


class Section(Protocol):
    """A module of this package."""

    TITLE: str
    TEXT: str
    COLUMNS: Sequence[Column]

    def cases(self, quick: bool, folder: str) -> list[Case]:
        """What is measured. `quick` is for trying that all works; `folder` is for files that cases share."""
