"""Tidy tables as files: a row an observation, as data frames and plotting libraries want them."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.export.blocks import Column, Table
from tfstiff.export.extras import require
from tfstiff.export.reading import read_tables
from tfstiff.export.schema import empty_tables
from tfstiff.records import RunFolder
from tfstiff.records.atomic import write_atomically

TIDY_FORMATS = ("csv", "parquet")
TIDY_TABLES = tuple(name for name, table in empty_tables().items() if table.is_tidy)
DEFAULT_TABLES = tuple(name for name in TIDY_TABLES if name != "influence")  # long, and only errors are made of it
_WHEN = (
    Column("run", "name of the run's folder", ""),
    Column("step", "batches trained on; -1 where unknown", "count"),
    Column("epoch", "the same in epochs"),
)


def write_tidy(
    runs: Sequence[RunFolder], folder: str | Path, form: str = "csv", tables: Sequence[str] = DEFAULT_TABLES
) -> list[Path]:
    """Writes what runs measured as tidy tables, a file a table; a column `run` tells the runs apart.

    CSV has every digit, and an empty cell where a number is NaN or does not exist. Beside the tables `columns.csv` says
    what each column is, and in what unit; Parquet has this in the fields' metadata. Tables without a row have no file.

    Args:
        runs: Their folders' names differ.
        folder: Created where it does not exist; files of the same name are replaced.
        form: One of `TIDY_FORMATS`.
        tables: Some of `TIDY_TABLES`.

    Returns:
        The files written.

    Raises:
        InvalidInput: A table or format is unknown, two runs have one name, or the Parquet library is not installed.
        OSError: The folder cannot be written.
    """
    for kind, wanted, known in (("format", [form], TIDY_FORMATS), ("table", tables, TIDY_TABLES)):
        for name in wanted:
            if name not in known:
                raise InvalidInput(f"There is no {kind} of this name.", expected=", ".join(known), received=name)
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise InvalidInput("Runs in one table need names of their own.", received=names)
    pyarrow = require("pyarrow", "export", "to write Parquet") if form == "parquet" else None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    read = [
        {table.name: _flat_parts(table, name, run) for table in read_tables(run.measurements, run.probe).values()}
        for run, name in zip(runs, names, strict=True)
    ]
    write = _write_csv if pyarrow is None else _write_parquet
    paths: list[Path] = []
    written: list[Table] = []
    for name, table in empty_tables().items():
        found = [parts[name] for parts in read if name in parts and name in tables]
        if found:
            written.append(table)
            paths.append(folder / f"{name}.{form}")
            write_atomically(paths[-1], partial(write, table=table, parts=itertools.chain.from_iterable(found)))
    if pyarrow is None:
        paths.append(_write_dictionary(folder / "columns.csv", written))
    return paths


def _columns(table: Table) -> tuple[Column, ...]:
    """All columns of a tidy table: when, the other keys, the quantities."""
    keys = tuple(Column(key, "number of the bin" if key == "bin" else "", "") for key in _other_keys(table))
    return (*(_WHEN if "measurement" in table.keys else _WHEN[:1]), *keys, *table.columns)


def _other_keys(table: Table) -> tuple[str, ...]:
    return tuple(key for key in table.keys if key != "measurement")


def _flat_parts(table: Table, name: str, run: RunFolder) -> Iterator[dict[str, np.ndarray]]:
    """The columns of each block of a table, all of one length."""
    steps = np.array([m.step for m in run.measurements], np.int64)
    epochs = np.array([m.epoch for m in run.measurements], np.float64)
    for block in table.blocks:
        part = dict(table.flat(block))
        length = math.prod(block.shape(table.keys))
        when: dict[str, np.ndarray] = {"run": np.full(length, name)}
        if "measurement" in part:
            index = part.pop("measurement")
            when |= {"step": steps[index], "epoch": epochs[index]}
        yield when | part


def _write_csv(file: BinaryIO, table: Table, parts: Iterable[dict[str, np.ndarray]]) -> None:
    names = [column.name for column in _columns(table)]
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    for part in parts:
        rows.writerows(zip(*(_cells(part[name]) for name in names), strict=True))
    text.detach()  # flushes, and leaves the file open


def _cells(values: np.ndarray) -> list[Any]:
    if values.dtype.kind != "f":
        return values.tolist()
    return ["" if math.isnan(value) else value for value in values.tolist()]


def _write_parquet(file: BinaryIO, table: Table, parts: Iterable[dict[str, np.ndarray]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(table)
    chunks: dict[str, list[Any]] = {column.name: [] for column in columns}
    for part in parts:
        for name, values in part.items():
            array = pa.array(values)
            chunks[name].append(array.dictionary_encode() if values.dtype.kind == "U" else array)
    fields = []
    for column in columns:
        kinds = {array.type for array in chunks[column.name]}
        kind = kinds.pop() if len(kinds) == 1 else pa.float64()  # whole numbers, where some are missing
        chunks[column.name] = [array.cast(kind) for array in chunks[column.name]]
        metadata = {key: text for key, text in (("units", column.units), ("long_name", column.long_name)) if text}
        fields.append(pa.field(column.name, kind, metadata=metadata))
    schema = pa.schema(fields, {"description": table.description})
    arrays = [pa.chunked_array(chunks[column.name]) for column in columns]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema).unify_dictionaries(), file)


def _write_dictionary(path: Path, tables: Sequence[Table]) -> Path:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["table", "column", "units", "meaning"])
    for table in tables:
        for column in _columns(table):
            rows.writerow([table.name, column.name, column.units, column.long_name])
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
    return path
