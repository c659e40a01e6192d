"""The settings of a sweep: every option of `tfstiff run`, each with as many values as one likes; or a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import augment_usage_errors

from tfstiff.errors import InvalidInput
from tfstiff.runs.spec import RunSpec
from tfstiff.sweeps import distinct, grid

from .run import command as run_command

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SETTINGS = {field.name for field in dataclasses.fields(RunSpec)} | {"preset"}
_RUN_OPTIONS = {
    str(parameter.name): parameter
    for parameter in run_command.params
    if isinstance(parameter, click.Option) and parameter.name in _SETTINGS
}
# Settings of which one value may have commas.
_LISTS = {"hidden", "schedule", "stop_at_loss", "pair_sets", "metrics"}
_RANGE = re.compile(r"(\d+):(\d+)(?::(\d+))?")
_GRID = "grid"


def run_options(command: _Command) -> _Command:
    """Gives a command the options of `tfstiff run` that are settings of a run; each gives a tuple of texts."""
    for option in reversed(_RUN_OPTIONS.values()):
        command = _repeatable(option)(command)
    return command


def _repeatable(option: click.Option) -> Callable[[_Command], _Command]:
    is_shown = option.show_default and option.default is not None and not option.is_flag
    as_texts: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if option.is_flag else {}
    return click.option(
        *option.opts,
        str(option.name),
        multiple=True,
        metavar=_metavar(option),
        help=f"{option.help or ''}{f'  [default: {option.default}]' if is_shown else ''}",
        **as_texts,
    )


def _metavar(option: click.Option) -> str:
    if option.is_flag:
        return "[BOOLEANS]"
    if isinstance(option.type, click.Choice):
        return f"{'|'.join(option.type.choices)}…"
    return f"{option.metavar or option.type.name.upper()}…"


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
    option = _RUN_OPTIONS[name]
    with augment_usage_errors(ctx, param=option):
        return [option.process_value(ctx, part) for text in texts for part in _split(ctx, option, text)]


def _split(ctx: click.Context, option: click.Option, text: str) -> list[str]:
    """The values in a text: `1e-4,2e-4` has two, as has `0:2` of whole numbers."""
    if option.name in _LISTS or (option.name == "dataset" and ":" in text):
        return [text]
    parts = []
    for part in map(str.strip, text.split(",")):
        bounds = _RANGE.fullmatch(part) if option.type is click.INT else None
        if bounds is None:
            parts.append(part)
            continue
        step = int(bounds[3] or 1)
        numbers = range(int(bounds[1]), int(bounds[2]), step) if step else ()
        if not numbers:
            raise click.BadParameter(f"{part!r} is an empty range; 0:3 is 0, 1 and 2.", ctx, option)
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
    names = {option.opts[0].removeprefix("--"): name for name, option in _RUN_OPTIONS.items()}
    known = {key.replace("-", "_"): name for key, name in names.items()} | {name: name for name in _RUN_OPTIONS}
    texts = {}
    for key, value in table.items():
        name = known.get(key.replace("-", "_"))
        if name is None:
            close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
            raise InvalidInput(
                f"{file} has a setting that `tfstiff run` has not.",
                expected=", ".join(names),
                received=key,
                remedy=f"Did you mean {close[0]}?" if close else None,
            )
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
