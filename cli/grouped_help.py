"""Help in two lengths: `--help` has the options that most people need, `--help-all` every one, in groups.

Each setting says of which group it is where it is defined; what else a command has is of `Running`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from tfstiff._options import DATA, GROUPS, MODEL, RUNNING

from .setting_options import SETTINGS, flag_of

_WHOLE = "tfstiff.whole_help"  # in the context's meta
_GROUPS = {"inputs": DATA, "loss": MODEL, "preset": MODEL}  # of options that are no settings of runs


class GroupedCommand(click.Command):
    """A command with many options.

    Args:
        first: Names of the parameters that `--help` shows, in this order.
    """

    def __init__(self, *args: Any, first: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.first = tuple(first)
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_whole_help,
                help="Show every option, in groups, and exit.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the options; of one that is called as the setting is in Python, it says how it is called here."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            field = SETTINGS.get(error.option_name.lstrip("-").replace("-", "_"))
            if field is None:
                raise
            message = f"No such option '{error.option_name}'. Did you mean '--{flag_of(field)}'?"
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options that are asked for."""
        options = {option.name: option for option in self.get_params(ctx) if isinstance(option, click.Option)}
        last = [option for option in options.values() if {"--help-all", "--help"} & set(option.opts)]
        options = {name: option for name, option in options.items() if option not in last}
        if not ctx.meta.get(_WHOLE):
            _write(ctx, formatter, "Options", [*(options[name] for name in self.first), *last])
            formatter.write_paragraph()
            formatter.write_text(f"{len(options) - len(self.first)} more options: {ctx.command_path} --help-all")
            return
        for group in GROUPS:
            _write(ctx, formatter, group, [option for name, option in options.items() if group_of(str(name)) == group])
        _write(ctx, formatter, "Help", last)


def whole_help(ctx: click.Context) -> str:
    """The help of a command with all of its options."""
    ctx.meta[_WHOLE] = True
    return ctx.command.get_help(ctx)


def group_of(name: str) -> str:
    """The group of a parameter."""
    field = SETTINGS.get(name)
    return _GROUPS.get(name, RUNNING) if field is None else str(field.metadata["group"])


def _show_whole_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(whole_help(ctx), color=ctx.color)
        ctx.exit()


def _write(ctx: click.Context, formatter: click.HelpFormatter, title: str, options: Iterable[click.Option]) -> None:
    rows = [row for option in options if (row := option.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
