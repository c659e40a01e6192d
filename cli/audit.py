"""`tfstiff audit`: whether what is measured of a model is its own, each example's own, and what `fit` minimises."""

from __future__ import annotations

import json
import sys
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfstiff._quiet import import_tensorflow
from tfstiff.runs.spec import MEASURED_ON

from .given_models import given_models, model_options
from .grouped_help import GroupedCommand
from .progress import PlainProgress
from .setting_options import setting_options
from .tables import plain_table, print_whole

if TYPE_CHECKING:
    from tfstiff.measuring.audit.audit import Audit

_DATA = [name for name in MEASURED_ON[1:] if name not in ("probe_size", "metrics")]
_WIDTH = 80
_SHOWN = {"passed": "passed", "failed": "FAILED", "not applicable": "–"}


@click.command(
    "audit", cls=GroupedCommand, first=("dataset", "inputs", "arch", "loss", "examples", "process", "as_json")
)
@model_options
@setting_options(_DATA)
@click.option(
    "--examples", type=click.IntRange(2), default=16, show_default=True, help="On how many of the training examples."
)
@click.option(
    "--process/--no-process", default=True, help="Whether another process is to load and measure the model too."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    inputs: str,
    arch: str | None,
    loss: str | None,
    examples: int,
    process: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Audit a saved model: can what is measured of it be believed?

    Losses and gradients of a few examples are computed in two ways that must agree: do
    they depend on batch size, order, the other examples, padding, precision, method,
    size of tiles, an earlier trace or the process; is the model random in inference; does
    fit minimise what is measured; which weights take which path. MODEL is as for
    `measure`; of several models the last is audited. Nothing is written.

    Exits with 1 where a check failed.

    \b
    Examples:
      tfstiff audit mine.keras --dataset cifar10 --inputs unit
      tfstiff audit runs/mine
      tfstiff audit runs/mine --json | jq '.checks[] | select(.result == "failed")'
    """  # noqa: D301  # click wants the character \b itself
    given = given_models(model, arch, loss, options)
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    progress = PlainProgress()
    import_tensorflow()
    from tfstiff.runs.saved.auditing import audit_saved

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"Warning: {message}")
        found = audit_saved(
            given.saved(), given.spec, inputs=inputs, num_examples=examples, another_process=process, progress=progress
        )
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(found)
    ctx.exit(0 if found.passed else 1)


def _print(found: Audit) -> None:
    table = plain_table("check", "question", "")
    table.columns[1].justify = "left"
    for check in found.checks:
        table.add_row(check.name, check.question, _SHOWN[check.result])
    print_whole(table)
    for check in found.failures:
        click.echo(f"\n{_wrapped(f'{check.name}: {check.text}')}")
        if check.remedy:
            click.echo(_wrapped(f"Remedy: {check.remedy}", "  "))
    if found.paths:
        click.echo("")
        paths = plain_table("weight", "operation", "form")
        for path in found.paths:
            paths.add_row(path.weight, path.operation, path.form)
        print_whole(paths)
    click.echo(f"\n{'No' if found.passed else len(found.failures)} check{'s' * (len(found.failures) > 1)} failed.")


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent="  ", break_on_hyphens=False)
