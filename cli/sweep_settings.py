"""The settings of a sweep: every option of `tfstiff run`, each with as many values as one likes; or a TOML file."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import augment_usage_errors

from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.runs.presets import PRESETS
from tfstiff.runs.spec import RunSpec
from tfstiff.sweeps import distinct, grid

from .setting_options import SETTINGS, flag_of, setting_options, type_of

_Command = TypeVar("_Command", bound=Callable[..., Any])
_RANGE = re.compile(r"(\d+):(\d+)(?::(\d+))?")
_GRID = "grid"
_PRESET = "preset"


def run_options(command: _Command) -> _Command:
    """Gives a command the settings of `tfstiff run` as options, each of which gives a tuple of texts."""
    command = setting_options(several=True)(command)
    return click.option(
        f"--{_PRESET}",
        multiple=True,
        metavar=f"{'|'.join(PRESETS)}…",
        help="The version of the paper whose settings are the defaults.  [default: iclr]",
    )(command)


def specs_of(ctx: click.Context, given: Mapping[str, tuple[str, ...]], file: Path | None) -> list[RunSpec]:
    """The specifications that options and file ask for. Options take precedence over the file.

    Args:
        ctx: Of the command.
        given: Texts of each option, none where it was not given.
        file: TOML.

    Raises:
        click.BadParameter: A text cannot be read.
        InvalidInput: The file cannot be used, or a combination is not a valid specification.
    """
    options = {name: _parsed(ctx, name, texts) for name, texts in given.items() if texts}
    grids = (
        [{}]
        if file is None
        else [{name: _parsed(ctx, name, texts) for name, texts in table.items()} for table in _tables(file)]
    )
    return distinct(_absolute(spec) for table in grids for spec in grid({**table, **options}))


def _parsed(ctx: click.Context, name: str, texts: tuple[str, ...]) -> list[Any]:
    if name == _PRESET:
        return [part.strip() for text in texts for part in text.split(",")]
    field, option = SETTINGS[name], next(one for one in ctx.command.params if one.name == name)
    kind = type_of(field)
    with augment_usage_errors(ctx, param=option):
        return [kind.convert(part, option, ctx) for text in texts for part in _split(field, text)]


def _split(field: dataclasses.Field[Any], text: str) -> list[str]:
    """The values in a text: `1e-4,2e-4` has two, as has `0:2` of whole numbers."""
    has_commas = field.metadata.get("has_commas") or field.metadata.get("several")
    if has_commas or (field.name == "dataset" and ":" in text):
        return [text]
    parts = []
    for part in map(str.strip, text.split(",")):
        bounds = _RANGE.fullmatch(part) if type_of(field) is click.INT else None
        if bounds is None:
            parts.append(part)
            continue
        step = int(bounds[3] or 1)
        numbers = range(int(bounds[1]), int(bounds[2]), step) if step else ()
        if not numbers:
            raise click.BadParameter(f"{part!r} is an empty range; 0:3 is 0, 1 and 2.")
        parts += map(str, numbers)
    return parts


def _tables(file: Path) -> list[dict[str, tuple[str, ...]]]:
    """The grids of a file: its settings, or these with each of its `[[grid]]` tables."""
    try:
        whole = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is not TOML: {error}") from error
    tables = whole.pop(_GRID, [{}])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidInput(f"{_GRID} in {file} must be tables.", expected=f"[[{_GRID}]]", received=tables)
    return [_texts(file, {**whole, **table}) for table in tables]


def _texts(file: Path, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    names = {_PRESET: _PRESET} | {flag_of(field): name for name, field in SETTINGS.items()}
    known = {key.replace("-", "_"): name for key, name in names.items()} | {name: name for name in SETTINGS}
    texts = {}
    for key, value in table.items():
        name = known.get(key.replace("-", "_"))
        if name is None:
            every = dict.fromkeys([*names, *(name.replace("_", "-") for name in SETTINGS)])
            raise unknown_name(f"{file} has a setting that `tfstiff run` has not.", key, every)
        texts[name] = tuple(_text(one) for one in (value if isinstance(value, list) else [value]))
    return texts


def _text(value: Any) -> str:
    """A value of a file as it would stand on the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if not isinstance(value, str | int | float):
        raise InvalidInput("A setting must be a number, a text, true, false, or a list of these.", received=value)
    return str(value)


def _absolute(spec: RunSpec) -> RunSpec:
    """The same run, wherever it is begun from."""
    changes: dict[str, Any] = {}
    if spec.dataset.startswith("npz:"):
        changes["dataset"] = f"npz:{Path(spec.dataset.removeprefix('npz:')).absolute()}"
    if spec.data_dir is not None:
        changes["data_dir"] = str(Path(spec.data_dir).absolute())
    return dataclasses.replace(spec, **changes)
