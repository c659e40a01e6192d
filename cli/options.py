"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tfstiff.runs.spec import RunSpec

_Command = TypeVar("_Command", bound=Callable[..., Any])
METHODS = ("auto", "structured", "vectorized", "jacobian", "loop")


def _widths(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        return tuple(int(width) for width in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 500,300,100.") from None


arch_option = click.option(
    "--arch",
    default=RunSpec().arch,
    show_default=True,
    help="fc, cnn, fc-v1, cnn-v1, resnet20, or package.module:function of your own (its code is run).",
)
OWN_RAY = "own"  # what `--ray` without an address stands for


def ray_option(text: str) -> Callable[[_Command], _Command]:
    """`--ray [ADDRESS]`; `given_address` reads what it gives."""
    return click.option("--ray", "address", is_flag=False, flag_value=OWN_RAY, metavar="[ADDRESS]", help=text)


def given_address(address: str) -> str | None:
    """The address of a cluster; None for one of its own."""
    return None if address == OWN_RAY else address


hidden_option = click.option(
    "--hidden", callback=_widths, metavar="WIDTHS", help="Hidden widths of fc and fc-v1: 500,300,100."
)
