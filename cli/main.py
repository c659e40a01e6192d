"""The command group: lazy subcommands, one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any

import click

from tfstiff.errors import TfstiffError, meant
from tfstiff.runs.interruption import end_on_signals

from .encoding import write_in_any_encoding

_MAY_NOT = "Choose a folder that you may write in: --out, or a copy of this one."
_IS_FULL = "Make room; nothing recorded is lost, and a run goes on with --resume."
_REMEDIES: dict[int | None, str] = {
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _MAY_NOT),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _IS_FULL),
}
# Command name -> module of this package that defines `command`, and its one-line help. The help stands here too so that
# `tfstiff --help` imports none of them.
_COMMANDS = {
    "run": ("run", "Train a model on a data set and record its stiffness."),
    "sweep": ("sweep", "Run every combination of settings, here or on a cluster."),
    "compare": ("compare", "Compare runs at equal epoch and at equal training loss, over seeds."),
    "measure": ("measure", "Measure saved models, without training."),
    "show": ("show", "Print the measurements of a run."),
    "examples": ("examples", "Tell which examples of a run to look at."),
    "plot": ("plot", "Draw the figures of a run."),
    "report": ("report", "Write a report of one run, or of several, as one HTML file."),
    "watch": ("watch", "Follow a run from another terminal."),
    "export": ("export", "Write what runs measured for other programs."),
    "bench": ("bench", "Measure the speed of the gradients on this machine."),
    "audit": ("audit", "Audit a saved model: can what is measured of it be believed?"),
    "doctor": ("doctor", "Look for what is wrong with the installation, a run or a sweep."),
    "data": ("data", "List the data sets, or check one."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f".{_COMMANDS[cmd_name][0]}", __package__)
        return module.command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = meant(args[0], _COMMANDS)
            if close is None:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def main(self, *args: Any, **options: Any) -> Any:
        write_in_any_encoding()
        os.environ.pop("MPLBACKEND", None)  # of a notebook, say: commands draw files alone
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> object:
        end_on_signals()
        try:
            return super().invoke(ctx)
        except TfstiffError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:  # who reads has read enough; click ends quietly
            raise
        except OSError as error:  # a full disk, a folder that cannot be written
            remedy = _REMEDIES.get(error.errno)
            click.echo(f"Error: {error}" + (f"\n  Remedy: {remedy}" if remedy else ""), err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tfstiff")
def main() -> None:
    """Measure stiffness: how far a gradient step on one example helps another.

    \b
    Exit codes: 0 done, 1 failed, 2 usage, 3 data missing or damaged, 4 training
    diverged (only where asked for), 5 some trials of a sweep failed, 130 and
    143 ended by a signal.
    """  # noqa: D301  # click wants the character \b itself
