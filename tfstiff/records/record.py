"""One measurement as one `.npz` file, members named by their place: `pair_sets/train_val/sign/matrix`.

No pickle: every member is a numeric or text array. Single numbers and texts, hundreds of them, stand in one member,
`scalars`, as JSON by their place (`NaN` and `Infinity` as Python writes them). A value that does not exist (None) has
no member. Records hold no clock, host or process, so equal runs have equal records.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from tfstiff.errors import RecordCorrupt
from tfstiff.records.atomic import write_atomically
from tfstiff.records.measurement import Measurement

SCHEMA = 2


def write_record(path: Path, measurement: Measurement) -> None:
    """Writes `measurement` to `path`, whole or not at all.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    members: dict[str, Any] = {"schema": np.asarray(SCHEMA)}
    scalars = {}
    for name, value in _members(measurement):
        if isinstance(value, np.ndarray):
            members[name] = value
        else:
            scalars[name] = value
    members["scalars"] = np.asarray(json.dumps(scalars))
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **members))


def read_record(path: Path) -> Measurement:
    """Reads a measurement that `write_record` wrote.

    Raises:
        RecordCorrupt: The file is truncated, damaged, or of a schema that this version does not know.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # all of it: numpy leaves a member whose header is damaged half read
            if damaged is not None:
                raise zipfile.BadZipFile(f"bad CRC-32 for member {damaged}")
        with np.load(path, allow_pickle=False) as file:
            members = {name: file[name] for name in file.files}
    # By the place of the damage this is BadZipFile, OSError, ValueError, EOFError, NotImplementedError, zlib.error, …
    except Exception as error:
        raise RecordCorrupt(
            f"The record {path} cannot be read: {error}", remedy="Delete it; the other records of the run are unharmed."
        ) from error
    schema = members.pop("schema", np.asarray(None)).tolist()
    if schema != SCHEMA:
        raise RecordCorrupt(
            f"The record {path} has a schema that this version of tfstiff does not know.",
            expected=f"schema {SCHEMA}",
            received=schema,
            remedy="Read it with the version that wrote it, or upgrade tfstiff.",
        )
    try:
        scalars = json.loads(members.pop("scalars").item())
        return _build(Measurement, members | {name: np.asarray(value) for name, value in scalars.items()})
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RecordCorrupt(f"The record {path} lacks a member or has one of the wrong shape: {error}") from error


def _members(value: Any, name: str = "") -> Iterator[tuple[str, np.ndarray | str | float]]:
    if value is None:
        return
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _members(getattr(value, field.name), f"{name}/{field.name}" if name else field.name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _members(item, f"{name}/{quote(key, safe='')}")  # layer paths hold slashes
    elif isinstance(value, str | int | float):
        yield name, value
    else:
        yield name, np.asarray(value, dtype=np.str_ if isinstance(value, tuple) else None)


def _build(kind: Any, members: Mapping[str, np.ndarray]) -> Any:
    """Rebuilds a value of type `kind` from members named relative to it; the member "" is the value itself."""
    optional = typing.get_origin(kind) is types.UnionType
    if optional:
        kind = typing.get_args(kind)[0]
    if not members and optional:
        return None
    if typing.get_origin(kind) is not None and issubclass(typing.get_origin(kind), Mapping):
        keys = dict.fromkeys(name.split("/")[0] for name in members)
        return {unquote(key): _build(typing.get_args(kind)[1], _below(members, key)) for key in keys}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: _build(hints[name], _below(members, name)) for name in names})  # type: ignore[operator]
    array = members[""]
    if kind is np.ndarray:
        return array
    if typing.get_origin(kind) is tuple:
        return tuple(str(item) for item in array)
    return kind(array.item())


def _below(members: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    below = {key.removeprefix(f"{name}/"): array for key, array in members.items() if key.startswith(f"{name}/")}
    return below or ({"": members[name]} if name in members else {})
