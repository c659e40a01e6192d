"""Tables that grow by whole trainings."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

TABLES = Path(__file__).parent / "tables"
PAIR_SETS = {"tt": "train_train", "tv": "train_val", "vv": "val_val"}  # by their names in tables


def stiffnesses(*pairs: str) -> list[str]:
    """Columns of sign and cosine, within and between classes, of some pair sets."""
    return [
        f"{metric}_{part}_{name}" for name in pairs for metric in ("sign", "cosine") for part in ("within", "between")
    ]


def missing(
    name: str,
    keys: Sequence[str],
    designs: Iterable[dict[str, Any]],
    is_over: Callable[[], bool],
    folder: Path = TABLES,
) -> Iterator[dict[str, Any]]:
    """The designs that the table lacks, until the time is over."""
    there = are_there(name, keys, folder)
    for design in designs:
        if tuple(design.values()) not in there:
            if is_over():
                return
            yield design


def read(name: str, folder: Path = TABLES) -> pd.DataFrame:
    """The table, or an empty one."""
    path = folder / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else pd.DataFrame()


def are_there(name: str, keys: Sequence[str], folder: Path = TABLES) -> set[tuple[Any, ...]]:
    """The trainings of the table, by their keys."""
    table = read(name, folder)
    return set() if table.empty else set(table[list(keys)].itertuples(index=False, name=None))


def append(name: str, rows: Iterable[Mapping[str, Any]], folder: Path = TABLES) -> None:
    """Adds the rows of one training, all or none but for a full disk. Numbers have five digits."""
    rows = list(rows)
    path = folder / f"{name}.csv"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        writer.writeheader()
    writer.writerows({key: _short(value) for key, value in row.items()} for row in rows)
    with path.open("a") as file:
        file.write(text.getvalue())


def _short(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value
