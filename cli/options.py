"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
OWN_RAY = "own"  # what `--ray` without an address stands for


def ray_option(text: str) -> Callable[[_Command], _Command]:
    """`--ray [ADDRESS]`; `given_address` reads what it gives."""
    return click.option("--ray", "address", is_flag=False, flag_value=OWN_RAY, metavar="[ADDRESS]", help=text)


def given_address(address: str) -> str | None:
    """The address of a cluster; None for one of its own."""
    return None if address == OWN_RAY else address
