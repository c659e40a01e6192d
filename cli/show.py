"""`tfstiff show`: the measurements of a run as a table or as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from tfstiff.analysis.reservations import reservations_of
from tfstiff.analysis.source import Source, read_sources
from tfstiff.errors import RecordCorrupt
from tfstiff.records import METRICS, PAIR_SETS, scalar_row
from tfstiff.records.atomic import finite
from tfstiff.records.words import default_pair_set

from .completion import complete_runs
from .direction_tables import print_directions
from .disagreement_table import print_disagreements
from .given_runs import open_runs
from .statistics_table import print_statistics, statistics_row
from .tables import event_notes, has_blocks, print_blocks, print_measurements
from .turn_table import print_turns, turns_document


@click.command("show")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(), shell_complete=complete_runs)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; a list of them for several runs.")
@click.option(
    "--pair-set",
    type=click.Choice(PAIR_SETS),
    help="Pairs of examples that the table is of.  [default: train_val, where it was measured]",
)
@click.option("--strict", is_flag=True, help="Exit with 3 if a record cannot be read.")
@click.pass_context
def command(ctx: click.Context, runs: tuple[str, ...], as_json: bool, pair_set: str | None, strict: bool) -> None:
    """Print the measurements of runs.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote; it may
    be running still. A sweep's folder stands for its trials. Records that cannot be read are named on standard error.

    \b
    Examples:
      tfstiff show runs/mine
      tfstiff show runs/mine --pair-set val_val
      tfstiff show runs/mine --json | jq '.measurements[-1]'
    """  # noqa: D301  # click wants the character \b itself
    damaged = False
    documents = []
    for index, run in enumerate(open_runs(runs)):
        (found,) = read_sources([run])
        damaged = damaged or bool(found.damages)
        for problem in found.damages:
            click.echo(f"Warning: {problem}", err=True)
        if found.damages:
            click.echo(f"{len(found.damages)} file(s) of {run.folder} cannot be read.", err=True)
        if as_json:
            documents.append(_document(found))
            continue
        if index:
            click.echo()
        _print_run(found, pair_set)
    if as_json:
        whole = documents[0] if len(documents) == 1 else documents
        click.echo(json.dumps(finite(whole), indent=2, ensure_ascii=False, allow_nan=False))
    if damaged and strict:
        ctx.exit(RecordCorrupt.exit_code)


def _print_run(run: Source, pair_set: str | None) -> None:
    named = {"data set": "dataset", "arch": "arch", "learning rate": "learning_rate"}
    pair_set = pair_set or default_pair_set(run.measurements[0].pair_sets if run.measurements else ())
    settings = {label: run.spec[key] for label, key in named.items() if run.spec.get(key) is not None}
    for label, value in {"run": run.folder, "status": run.status, **settings, "pairs": pair_set}.items():
        click.echo(f"{label + ':':<15}{value}")
    click.echo()
    if run.measurements:
        print_measurements(run.measurements, pair_set, metrics=run.metrics)
        for line in event_notes(run.events):
            click.echo(line)
        print_blocks(run.measurements, pair_set, metrics=run.metrics)
        print_disagreements(run.measurements, pair_set)
        print_directions(run.measurements[-1])
        print_turns(run)
        print_statistics(run.measurements[-1])
    else:
        click.echo("No measurements yet." if run.status == "running" else "No measurements.")


def _document(run: Source) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for measurement in run.measurements:
        statuses = {
            f"critical_length_status_{name}": stiffness.critical_length.status
            for name, stiffness in measurement.pair_sets.items()
        }
        fits = {
            f"critical_length_lack_of_fit_{name}": stiffness.critical_length.lack_of_fit
            for name, stiffness in measurement.pair_sets.items()
            if math.isfinite(stiffness.critical_length.lack_of_fit)
        }
        errors = {f"{name}_se": error for name, error in measurement.standard_errors().items() if math.isfinite(error)}
        limits = {
            f"critical_length_{end}_{name}": getattr(stiffness.critical_length, end)
            for name, stiffness in measurement.pair_sets.items()
            for end in ("low", "high")
        }
        p_values = {
            f"block_p_value_{metric}_{name}": getattr(stiffness, metric).blocks.p_value
            for name, stiffness in measurement.pair_sets.items()
            for metric in (METRICS if has_blocks(measurement, name) else ())
        }
        rows.append(
            {
                **scalar_row(measurement),
                **statuses,
                **fits,
                **errors,
                **limits,
                **p_values,
                **statistics_row(measurement),
            }
        )
    return {
        "folder": str(run.folder),
        "status": run.status,
        "config": run.spec,
        "measurements": rows,
        "groups": run.measurements[-1].groups if run.measurements else {},
        "turns": turns_document(run),
        "events": run.events,
        "reservations": reservations_of(run.measurements),
        "problems": [str(problem) for problem in run.damages],
    }
