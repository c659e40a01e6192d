"""The settings of a run as options of commands, made from the fields of `RunSpec`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from tfstiff._options import option_fields
from tfstiff.runs.presets import PRESETS
from tfstiff.runs.spec import RunSpec

from .completion import complete_data_sets, complete_layers

_Command = TypeVar("_Command", bound=Callable[..., Any])
_TYPES: dict[str, click.ParamType] = {"int": click.INT, "int | None": click.INT, "float": click.FLOAT}

_NONE_OF_THEM = "none"
_COMPLETED = {"dataset": complete_data_sets, "space": complete_layers}

SETTINGS = {field.name: field for field in option_fields(RunSpec)}

preset_option = click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="iclr",
    show_default=True,
    help="The version of the paper whose settings are the defaults: its submission to ICLR 2020, which has those shown "
    "here, or the first.",
)


class _OneOf(click.Choice):
    """A choice that is shown and completed; whether a value is one of them `RunSpec` says, as in Python."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


class _Text(click.ParamType):
    """A value that a field's own function makes of a text."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


def setting_options(names: Iterable[str] = SETTINGS, *, several: bool = False) -> Callable[[_Command], _Command]:
    """Gives a command options for settings of a run, in their order; those not given are None.

    Args:
        names: The settings.
        several: Whether each option may be repeated, and gives a tuple of texts.
    """

    def added(command: _Command) -> _Command:
        for name in reversed(list(names)):
            command = _option(SETTINGS[name], several)(command)
        return command

    return added


def flag_of(field: dataclasses.Field[Any]) -> str:
    """The name of a setting's option, without the dashes before it."""
    return str(field.metadata.get("flag", field.name.replace("_", "-")))


def type_of(field: dataclasses.Field[Any]) -> click.ParamType:
    """What makes a value of a text."""
    choices, parse = field.metadata.get("choices"), field.metadata.get("parse")
    if field.metadata.get("several"):
        return _Text(lambda text: tuple(part for part in map(str.strip, text.split(",")) if part != _NONE_OF_THEM))
    if choices:
        return _OneOf(choices)
    if field.type == "bool":
        return click.BOOL
    return _Text(parse) if parse else _TYPES.get(str(field.type), click.STRING)


def _option(field: dataclasses.Field[Any], several: bool) -> Callable[[_Command], _Command]:
    more: dict[str, Any] = {"multiple": True} if several else {"type": type_of(field)}
    metavar, text = field.metadata.get("metavar"), field.metadata["help"]
    if field.metadata.get("several"):
        metavar, text = "NAMES", f"{text} Some of {', '.join(field.metadata['choices'])}."
    if several:
        metavar = _several_of(field, metavar)
    flag_value = field.metadata.get("flag_value")
    if field.type == "bool":
        more |= {"is_flag": False, "flag_value": "true"} if several else {"is_flag": True, "default": None}
    elif flag_value is not None:
        more |= {"is_flag": False, "flag_value": flag_value}
    if field.name in _COMPLETED:
        more["shell_complete"] = _COMPLETED[field.name]
    help_text = f"{text}{_default_of(field)}"
    return click.option(f"--{flag_of(field)}", field.name, metavar=metavar, help=help_text, **more)


def _several_of(field: dataclasses.Field[Any], metavar: str | None) -> str:
    if field.type == "bool":
        return "[BOOLEANS]"
    choices = () if field.metadata.get("several") else field.metadata.get("choices", ())
    return f"{'|'.join(choices) or metavar or type_of(field).name.upper()}…"


def _default_of(field: dataclasses.Field[Any]) -> str:
    """The default in words, as help shows it; nothing of what is off unless it is asked for."""
    if field.type == "bool":
        return ""
    unset = field.metadata.get("unset")
    text = unset if field.default is None else in_text(field.default)
    return f"  [default: {text}]" if text else ""


def in_text(value: Any) -> str:
    """A value as it would be given on the command line."""
    if isinstance(value, tuple):
        parts = [str(part) for part in value]
        return parts[0] if len(set(parts)) == 1 else ",".join(parts)
    return f"{value:g}" if isinstance(value, float) else str(value)
