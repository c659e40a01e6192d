"""One measurement as one `.npz` file, members named by their place: `pair_sets/train_val/sign/matrix`.

No pickle: every member is a numeric or text array. Single numbers and texts, hundreds of them, stand in one member,
`scalars`, as JSON by their place (`NaN` and `Infinity` as Python writes them). A value that does not exist (None) has
no member, and a member that is not there is read as a value that does not exist. Records hold no clock, host or
process, so equal runs have equal records.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from tfstiff.errors import RecordCorrupt
from tfstiff.records.atomic import write_atomically
from tfstiff.records.measurement import Measurement
from tfstiff.records.npz import read_members, write_members
from tfstiff.records.reading import bytes_of, printable

SCHEMA = 3
_OLDEST = 2  # had `diagnostics`, class_mean_gram among them, in place of `statistics`
_Tree = dict[str, Any]  # of arrays, and of what JSON holds, by the parts of their places


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
    members["scalars"] = np.asarray(json.dumps(scalars).encode())
    write_atomically(path, lambda file: write_members(file, members))


def read_record(path: Path, *, with_arrays: bool = True) -> Measurement:
    """Reads a measurement that `write_record`, of this version or of an older one, wrote.

    What the record does not hold is absent: None, an empty mapping or tuple, NaN for a number, `unavailable` for a
    status.

    Args:
        path: The record.
        with_arrays: Whether to read arrays too; without them the record is read in a fraction of the time, and those of
            numbers are absent.

    Raises:
        RecordCorrupt: The file is truncated or damaged, or of a schema that this version does not know.
        RecordUnreadable: It cannot be opened; it may be whole.
    """
    content = bytes_of(path)
    try:
        members = read_members(content, None if with_arrays else _is_light)
    # By the place of the damage this is BadZipFile, OSError, ValueError, EOFError, NotImplementedError, zlib.error, …
    except Exception as error:
        raise RecordCorrupt(
            f"The record {path} cannot be read: {error}",
            remedy="Move it away, or leave it: the other records of the run are unharmed.",
        ) from error
    schema = members.pop("schema", np.asarray(None)).tolist()
    _check_schema(path, schema)
    try:
        # Those of JSON first: entries of a mapping all have some there, if any has, and so keep their order.
        named = json.loads(members.pop("scalars").item()) | members
        if schema == _OLDEST:
            named = {_present_name(name): value for name, value in named.items()}
        return _builder(Measurement)(_tree(named))
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RecordCorrupt(f"The record {path} has a member that is missing, or of the wrong kind: {error}") from error


def _is_light(name: str) -> bool:
    return name in ("schema", "scalars", "class_names", "reservations") or name.startswith("groups/")


def _present_name(name: str) -> str:
    """The name of a member of schema 2 in this one."""
    return name.replace("/diagnostics/class_mean_gram", "/class_mean_gram").replace("/diagnostics/", "/statistics/")


def _check_schema(path: Path, schema: Any) -> None:
    if isinstance(schema, int) and schema > SCHEMA:
        raise RecordCorrupt(
            f"The record {path} was written by a newer tfstiff than this one.",
            expected=f"schema {SCHEMA} or older",
            received=f"schema {schema}",
            remedy="Install the newest: pip install --upgrade tfstiff",
        )
    if not isinstance(schema, int) or schema < _OLDEST:
        raise RecordCorrupt(
            f"The record {path} has a schema that this version of tfstiff does not know.",
            expected=f"schema {_OLDEST} to {SCHEMA}",
            received=schema,
            remedy="Read it with the version that wrote it.",
        )


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


def _tree(members: Mapping[str, Any]) -> _Tree:
    """The members as branches within branches, by the parts of their names."""
    tree: _Tree = {}
    branches = {"": tree}
    for name, value in members.items():
        above, _, last = name.rpartition("/")
        branch = branches.get(above)
        if branch is None:
            branch = tree
            for part in above.split("/"):
                branch = branch.setdefault(part, {})
            branches[above] = branch
        branch[last] = value
    return tree


@cache
def _builder(kind: Any) -> Callable[[Any], Any]:
    """What rebuilds a value of type `kind` from its part of the tree; None stands for one that is not there."""
    origin = typing.get_origin(kind)
    if origin is types.UnionType:
        build = _builder(typing.get_args(kind)[0])
        return lambda found: None if found is None else build(found)
    if origin is not None and issubclass(origin, Mapping):
        item = _builder(typing.get_args(kind)[1])
        return lambda found: {printable(unquote(key)): item(value) for key, value in (found or {}).items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass_builder(kind)
    if origin is tuple:
        return lambda found: () if found is None else tuple(printable(str(item)) for item in found)
    return {np.ndarray: _array, float: _float, int: _int, bool: _bool, str: _text}[kind]


def _dataclass_builder(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    builders = [(field.name, _builder(hints[field.name]), _default(field)) for field in dataclasses.fields(kind)]

    def build(found: Any) -> Any:
        found = {} if found is None else found
        return kind(
            **{
                name: builder(found[name]) if name in found else default() if default else builder(None)
                for name, builder, default in builders
            }
        )

    return build


def _default(field: dataclasses.Field) -> Callable[[], Any] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    return None if field.default is dataclasses.MISSING else lambda: field.default


def _array(found: Any) -> np.ndarray | None:
    if found is not None and not isinstance(found, np.ndarray):
        raise TypeError(f"{found!r} is not an array")
    return found


def _float(found: Any) -> float:
    return math.nan if found is None else float(_single(found, int | float))


def _int(found: Any) -> int | float:
    return math.nan if found is None else _single(found, int)


def _bool(found: Any) -> bool | None:
    return None if found is None else bool(_single(found, int))


def _text(found: Any) -> str:
    return "unavailable" if found is None else printable(_single(found, str))


def _single(found: Any, kind: Any) -> Any:
    found = found.item() if isinstance(found, np.ndarray) else found
    if not isinstance(found, kind):
        raise TypeError(f"{found!r} is of the wrong kind")
    return found
