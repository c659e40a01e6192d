"""Tidy tables as files: a row an observation, as data frames and plotting libraries want them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.export.extras import require
from tfstiff.export.frames import read_frames
from tfstiff.export.schema import TABLES, Column, Table
from tfstiff.records import RunFolder
from tfstiff.records.atomic import write_atomically
from tfstiff.records.cells import harmless

if TYPE_CHECKING:
    import pandas as pd

TIDY_FORMATS = ("csv", "parquet")
TIDY_TABLES = tuple(TABLES)
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

    CSV has every digit, and an empty cell where a number is NaN or does not exist; a text that a spreadsheet would take
    for a formula has an apostrophe before it. Beside the tables `columns.csv` says what each column is, and in what
    unit; Parquet has this in the fields' metadata. Tables without a row have no file.

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
    import pandas as pd

    for kind, wanted, known in (("format", [form], TIDY_FORMATS), ("table", tables, TIDY_TABLES)):
        for name in wanted:
            if name not in known:
                raise InvalidInput(f"There is no {kind} of this name.", expected=", ".join(known), received=name)
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise InvalidInput("Runs in one table need names of their own.", received=names)
    if form == "parquet":
        require("pyarrow", "export", "to write Parquet")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    read = [_frames(run, name, tables) for run, name in zip(runs, names, strict=True)]
    write = _write_csv if form == "csv" else _write_parquet
    paths: list[Path] = []
    described = []
    for table in TABLES.values():
        found = [frames[table.name] for frames in read if table.name in frames]
        if found:
            columns = _columns(table)
            frame = pd.concat(found, ignore_index=True).reindex(columns=[column.name for column in columns])
            described += [(table.name, column.name, column.units, column.long_name) for column in columns]
            paths.append(folder / f"{table.name}.{form}")
            write_atomically(paths[-1], partial(write, frame=frame, columns=columns, description=table.description))
    if form == "csv":
        paths.append(folder / "columns.csv")
        frame = pd.DataFrame(described, columns=["table", "column", "units", "meaning"])
        write_atomically(paths[-1], partial(_write_csv, frame=frame))
    return paths


def _columns(table: Table) -> tuple[Column, ...]:
    """All columns of a tidy table: when, the other keys, the quantities."""
    keys = [Column(key, "number of the bin" if key == "bin" else "", "") for key in table.keys if key != "measurement"]
    return (*(_WHEN if "measurement" in table.keys else _WHEN[:1]), *keys, *table.columns)


def _frames(run: RunFolder, name: str, tables: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The tables of a run, with its name and times in place of the measurements' numbers."""
    steps = np.array([m.step for m in run.measurements], np.int64)
    epochs = np.array([m.epoch for m in run.measurements], np.float64)
    frames = {}
    for table, frame in read_frames(run.measurements, run.probe).items():
        if table in tables:
            if "measurement" in frame:
                index = frame.pop("measurement").to_numpy()
                frame.insert(0, "step", steps[index])
                frame.insert(1, "epoch", epochs[index])
            frame.insert(0, "run", name)
            frames[table] = frame
    return frames


def _write_csv(file: BinaryIO, frame: pd.DataFrame, **_: Any) -> None:
    cells = {name: _harmless(values) if _is_text(values) else values for name, values in frame.items()}
    single = {name: np.float64 for name, values in frame.items() if values.dtype == np.float32}  # with all digits
    frame.assign(**cells).astype(single).to_csv(file, index=False, lineterminator="\n", encoding="utf-8")


def _is_text(values: pd.Series) -> bool:
    return values.dtype.kind not in "iufb"


def _harmless(values: pd.Series) -> pd.Series:
    return values.map(harmless)


def _write_parquet(file: BinaryIO, frame: pd.DataFrame, columns: Sequence[Column], description: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays, fields = [], []
    for column in columns:
        values = frame[column.name]
        array = pa.array(values.to_list()).dictionary_encode() if _is_text(values) else pa.array(values.to_numpy())
        metadata = {key: text for key, text in (("units", column.units), ("long_name", column.long_name)) if text}
        arrays.append(array)
        fields.append(pa.field(column.name, array.type, metadata=metadata))
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields, {"description": description})), file)
