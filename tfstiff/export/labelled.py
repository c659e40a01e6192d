"""A run as one xarray data set, and as a netCDF file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.analysis.reservations import reservations_of
from tfstiff.export.extras import require
from tfstiff.export.frames import read_frames
from tfstiff.export.schema import TABLES, Column
from tfstiff.records import Measurement, RunFolder
from tfstiff.records.atomic import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_SMALL = 1000  # numbers, below which compression brings nothing
_KEY_NAMES = {
    "measurement": "number of the measurement, from 0",
    "layer": "layer whose gradients alone are taken; (all) for all weights, (plain) without the preconditioner",
    "pair_set": "halves of the probe that the two examples of a pair are from",
    "metric": "what is averaged over pairs: sign or cosine of their gradients, or whether D turns the sign",
    "quantity": "what mean stiffness is taken over",
    "class_a": "class of the first example",
    "class_b": "class of the second example",
    "direction": "direction in weight space",
    "step_on": "class that a step of class_means is on; (one) of directions that are one step",
    "space": "space in which distances are taken",
    "bin": "number of the bin of the distance, from 0",
    "fit": "all: one line for all pairs; fixed_effects: an intercept for each class",
    "half": "half of the probe",
    "other_half": "half of the probe that the other examples are from",
    "example": "number of the example in its half of the probe, from 0",
    "gradient_a": "number of the first example, the training half first",
    "gradient_b": "number of the second example, the training half first",
}


def as_dataset(run: RunFolder) -> xr.Dataset:
    """All that a run measured, as a data set with named dimensions and coordinates.

    Every variable has `long_name` and `units` among its attributes. Where something does not exist (a pair set that was
    not measured, a bin of another space) numbers are NaN, which makes whole numbers float64, and texts are empty. The
    attribute `config` holds the run's settings as JSON, and `reservations`, where there are any, what is to be borne in
    mind of the run.

    Example:
    ```python
    ds = tfstiff.load_run("runs/mine").to_xarray()
    matrix = ds.class_matrix.sel(layer="(all)", pair_set="train_val", metric="cosine").isel(measurement=-1)
    within = ds.stiffness.sel(layer="(all)", pair_set="train_val", metric="cosine", quantity="within")
    ```
    """
    import xarray as xr

    measurements = run.measurements
    frames = read_frames(measurements, run.probe)
    labels: dict[str, dict[Any, int]] = {}  # of every key, over all tables, with their places
    for name, frame in frames.items():
        for key in TABLES[name].keys:
            known = labels.setdefault(key, {})
            for label in frame[key].unique():
                known.setdefault(label, len(known))
    variables: dict[str, Any] = {
        TABLES[name].variable_of(column): _variable(frame, column, TABLES[name].keys_of(column), labels)
        for name, frame in frames.items()
        for column in TABLES[name].columns
        if column.name in frame
    }
    grams = [m.gram for m in measurements if m.gram is not None]
    if grams:
        places = {place: place for place in range(len(grams[0]))}
        labels |= {"gradient_a": places, "gradient_b": places}
        attributes = {"long_name": "product of two examples' gradients", "units": "squared gradient"}
        absent = np.full(grams[0].shape, np.nan, np.float32)
        stacked = np.stack([absent if m.gram is None else m.gram for m in measurements])
        variables["gram"] = (("measurement", "gradient_a", "gradient_b"), stacked, attributes)
    coordinates: dict[str, Any] = {
        key: (
            key,
            np.asarray(list(known), object if isinstance(next(iter(known)), str) else np.int64),
            {"long_name": _KEY_NAMES[key]},
        )
        for key, known in labels.items()
    }
    named = {"title": run.folder.resolve().name, "config": json.dumps(run.spec, ensure_ascii=False)}
    if found := reservations_of(measurements):
        named["reservations"] = " ".join(found)
    return xr.Dataset(variables, coordinates | _moments(measurements), named)


def write_netcdf(run: RunFolder, path: str | Path) -> Path:
    """Writes `as_dataset(run)` as a netCDF-4 file, compressed, whole or not at all.

    Raises:
        InvalidInput: h5netcdf is not installed.
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


def _variable(
    frame: pd.DataFrame, column: Column, keys: Sequence[str], labels: Mapping[str, Mapping[Any, int]]
) -> tuple[Sequence[str], np.ndarray, dict[str, str]]:
    """A column over all labels of its keys, as xarray takes variables."""
    values = frame[column.name].to_numpy()
    shape = tuple(len(labels[key]) for key in keys)
    at = tuple(frame[key].map(labels[key]).to_numpy() for key in keys)
    is_there = np.zeros(shape, bool)
    is_there[at] = True
    if values.dtype.kind == "O":
        found = np.full(shape, "", object)
    elif is_there.all() or values.dtype.kind == "f":
        found = np.full(shape, np.nan if values.dtype.kind == "f" else 0, values.dtype)
    else:
        found = np.full(shape, np.nan)
    found[at] = values
    units = {"units": column.units} if column.units else {}
    return keys, found, {"long_name": column.long_name, **units}


def _moments(measurements: Sequence[Measurement]) -> dict[str, Any]:
    steps = np.array([m.step for m in measurements], np.int64)
    epochs = np.array([m.epoch for m in measurements], np.float64)
    return {
        "step": ("measurement", steps, {"long_name": "batches trained on; -1 where unknown", "units": "count"}),
        "epoch": ("measurement", epochs, {"long_name": "epochs trained", "units": "1"}),
    }
