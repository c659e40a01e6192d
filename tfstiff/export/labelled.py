"""A run as one xarray data set, and as a netCDF file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.export.blocks import Column, Label, Table
from tfstiff.export.extras import require
from tfstiff.export.reading import read_tables
from tfstiff.records import Measurement, RunFolder
from tfstiff.records.atomic import write_atomically

if TYPE_CHECKING:
    import xarray as xr

_SMALL = 1000  # numbers, below which compression brings nothing
_KEY_NAMES = {
    "measurement": "number of the measurement, from 0",
    "layer": "layer whose gradients alone are taken; (all) for those of all weights",
    "pair_set": "halves of the probe that the two examples of a pair are from",
    "metric": "what is averaged over pairs: sign or cosine of their gradients",
    "quantity": "what mean stiffness is taken over",
    "class_a": "class of the first example",
    "class_b": "class of the second example",
    "space": "space in which distances are taken",
    "bin": "number of the bin of the distance, from 0",
    "fit": "all: one line for all pairs; fixed_effects: an intercept for each class",
    "half": "half of the probe",
    "example": "number of the example in its half of the probe, from 0",
    "gradient_a": "number of the first example, the training half first",
    "gradient_b": "number of the second example, the training half first",
}


def as_dataset(run: RunFolder) -> xr.Dataset:
    """All that a run measured, as a data set with named dimensions and coordinates.

    Every variable has `long_name` and `units` among its attributes. Where something does not exist (a pair set that was
    not measured, a bin of another space) numbers are NaN, which makes whole numbers float64, and texts are empty. The
    attribute `config` holds the run's settings as JSON.

    Example:
    ```python
    ds = tfstiff.load_run("runs/mine").to_xarray()
    matrix = ds.class_matrix.sel(layer="(all)", pair_set="train_val", metric="cosine").isel(measurement=-1)
    within = ds.stiffness.sel(layer="(all)", pair_set="train_val", metric="cosine", quantity="within")
    ```

    Raises:
        InvalidInput: xarray is not installed.
    """
    xr = require("xarray", "export", "for to_xarray()")
    measurements = run.measurements
    tables = read_tables(measurements, run.probe)
    labels = _labels(tables)
    variables = {
        column.variable or (table.name if column.name == "value" else f"{table.name}_{column.name}"): (
            table.keys_of(column),
            table.array(column, labels),
            _attributes(column),
        )
        for table in tables.values()
        for column in table.columns
        if any(column.name in block.values for block in table.blocks)
    }
    coordinates: dict[str, Any] = {
        key: (key, np.asarray(names, object if isinstance(names[0], str) else np.int64), {"long_name": _KEY_NAMES[key]})
        for key, names in labels.items()
    }
    return xr.Dataset(
        variables, coordinates | _moments(measurements), {"title": run.folder.resolve().name, "config": _config(run)}
    )


def write_netcdf(run: RunFolder, path: str | Path) -> Path:
    """Writes `as_dataset(run)` as a netCDF-4 file, compressed, whole or not at all.

    Raises:
        InvalidInput: xarray or h5netcdf is not installed.
        OSError: The folder cannot be written.
    """
    require("h5netcdf", "export", "to write netCDF")
    dataset = as_dataset(run)
    encoding = {
        name: {"zlib": True, "complevel": 4}
        for name, variable in dataset.data_vars.items()
        if variable.dtype.kind in "fi" and variable.size >= _SMALL
    }
    content = io.BytesIO()
    dataset.to_netcdf(content, engine="h5netcdf", encoding=encoding)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(content.getbuffer()))
    return path


def _labels(tables: Mapping[str, Table]) -> dict[str, list[Label]]:
    """The labels of every key, over all tables; those of both classes are the same."""
    labels: dict[str, dict[Label, None]] = {}
    for table in tables.values():
        for key in table.keys:
            labels.setdefault(key, {}).update(dict.fromkeys(table.labels(key)))
    return {key: list(found) for key, found in labels.items()}


def _attributes(column: Column) -> dict[str, str]:
    return {"long_name": column.long_name} | ({"units": column.units} if column.units else {})


def _moments(measurements: Sequence[Measurement]) -> dict[str, Any]:
    steps = np.array([m.step for m in measurements], np.int64)
    epochs = np.array([m.epoch for m in measurements], np.float64)
    return {
        "step": ("measurement", steps, {"long_name": "batches trained on; -1 where unknown", "units": "count"}),
        "epoch": ("measurement", epochs, {"long_name": "epochs trained", "units": "1"}),
    }


def _config(run: RunFolder) -> str:
    return json.dumps(run.spec, ensure_ascii=False)
