"""`tfstiff show`: the measurements of a run as a table or as JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from tfstiff.errors import RecordCorrupt
from tfstiff.records import PAIR_SETS, Run, load_run, scalar_row
from tfstiff.records.atomic import finite

from .tables import print_measurements


@click.command("show")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; a list of them for several runs.")
@click.option(
    "--pair-set",
    type=click.Choice(PAIR_SETS),
    default="train_val",
    show_default=True,
    help="Pairs of examples that the table is of.",
)
@click.option("--strict", is_flag=True, help="Exit with 3 if a record cannot be read.")
@click.pass_context
def command(ctx: click.Context, runs: tuple[str, ...], as_json: bool, pair_set: str, strict: bool) -> None:
    """Print the measurements of runs.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote; it may
    be running still. Records that cannot be read are named on standard error.

    \b
    Examples:
      tfstiff show runs/mine
      tfstiff show runs/mine --pair-set val_val
      tfstiff show runs/mine --json | jq '.measurements[-1]'
    """  # noqa: D301  # click wants the character \b itself
    damaged = False
    documents = []
    for index, run in enumerate([load_run(folder) for folder in runs]):
        config, status, problems = _read(run)
        damaged = damaged or bool(problems)
        for problem in problems:
            click.echo(f"Warning: {problem}", err=True)
        if problems:
            click.echo(f"{len(problems)} file(s) of {run.folder} cannot be read.", err=True)
        if as_json:
            documents.append(_document(run, config, status, problems))
            continue
        if index:
            click.echo()
        _print_run(run, config, status, pair_set)
    if as_json:
        whole = documents[0] if len(documents) == 1 else documents
        click.echo(json.dumps(finite(whole), indent=2, ensure_ascii=False, allow_nan=False))
    if damaged and strict:
        ctx.exit(RecordCorrupt.exit_code)


def _read(run: Run) -> tuple[dict[str, Any], str, list[RecordCorrupt]]:
    """Settings, status and problems of a run, of which a damaged one must not hide the measurements."""
    config: dict[str, Any] = {}
    status = "unknown"
    problems = list(run.problems)
    try:
        config = run.spec
    except RecordCorrupt as problem:
        problems.append(problem)
    try:
        status = run.status
    except RecordCorrupt as problem:
        problems.append(problem)
    return config, status, problems


def _print_run(run: Run, config: dict[str, Any], status: str, pair_set: str) -> None:
    named = {"data set": "dataset", "arch": "arch", "learning rate": "learning_rate"}
    settings = {label: config[key] for label, key in named.items() if config.get(key) is not None}
    for label, value in {"run": run.folder, "status": status, **settings, "pairs": pair_set}.items():
        click.echo(f"{label + ':':<15}{value}")
    click.echo()
    if run.measurements:
        print_measurements(run.measurements, pair_set)
    else:
        click.echo("No measurements yet." if status == "running" else "No measurements.")


def _document(run: Run, config: dict[str, Any], status: str, problems: list[RecordCorrupt]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for measurement in run.measurements:
        statuses = {
            f"critical_length_status_{name}": stiffness.critical_length.status
            for name, stiffness in measurement.pair_sets.items()
        }
        rows.append({**scalar_row(measurement), **statuses})
    return {
        "folder": str(run.folder),
        "status": status,
        "config": config,
        "measurements": rows,
        "problems": [str(problem) for problem in problems],
    }
