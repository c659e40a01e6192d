"""`tfstiff compare`: runs that differ in some settings, at equal epoch and at equal training loss, over their seeds."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tfstiff.analysis.comparison import (
    Comparison,
    Milestone,
    common_epochs,
    common_losses,
    compare,
    default_quantities,
    known_quantities,
)
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.records import PAIR_SETS, RunFolder
from tfstiff.records.atomic import finite
from tfstiff.records.cells import harmless

from .comparison_tables import print_comparison
from .completion import complete_runs
from .given_runs import open_runs


def _numbers(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        found = tuple(float(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 1,5,10.") from None
    if not all(math.isfinite(number) and number >= 0 for number in found):
        raise click.BadParameter(f"{value!r} must be numbers of 0 or more.")
    return found


@click.command("compare")
@click.argument(
    "paths",
    metavar="SWEEP|RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=complete_runs,
)
@click.option(
    "--epoch", "epochs", callback=_numbers, metavar="EPOCHS", help="1,5,10.  [default: three that all runs measured at]"
)
@click.option(
    "--train-loss",
    "losses",
    callback=_numbers,
    metavar="LOSSES",
    help="1.0,0.3,0.1.  [default: those of --stop-at-loss, else three that all runs reached]",
)
@click.option("--quantity", "names", multiple=True, metavar="NAME", help="As in scalars.jsonl. Repeatable.")
@click.option(
    "--pair-set",
    type=click.Choice(PAIR_SETS),
    help="Pairs of examples that is compared.  [default: train_val, where it was measured]",
)
@click.option(
    "--extrapolate-xi", "extrapolate", is_flag=True, help="Take the zero of a straight line as ξ wherever it lies."
)
@click.option("--csv", "folder", type=click.Path(file_okay=False, path_type=Path), help="Save the numbers there too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    paths: tuple[Path, ...],
    epochs: tuple[float, ...] | None,
    losses: tuple[float, ...] | None,
    names: tuple[str, ...],
    pair_set: str | None,
    extrapolate: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Compare runs at equal epoch and at equal training loss.

    Runs that differ in nothing but the seed are put together: the tables have the mean over
    seeds with its 95 % interval, and behind ± half of that over the draw of the probe's
    examples, which is another kind of error. A critical length ξ beyond the distances that
    were observed is known by a bound only and enters as such: the tables have the median
    then. Two groups, or those of the extreme learning rates, are set against one another.
    With three or more learning rates, each quantity is tested for a trend, by a rank test
    with the seeds as blocks.

    \b
    Examples:
      tfstiff compare runs/mysweep
      tfstiff compare runs/mysweep --train-loss 1.0,0.3 --epoch 10 --csv numbers/
      tfstiff compare runs/a runs/b runs/c --quantity validation_loss --json
    """  # noqa: D301  # click wants the character \b itself
    runs = _runs(paths)
    milestones = [
        *([Milestone("epoch", epoch) for epoch in epochs] if epochs is not None else common_epochs(runs)),
        *([Milestone("train_loss", loss) for loss in losses] if losses is not None else common_losses(runs)),
    ]
    found = compare(runs, _quantities(runs, names, pair_set), milestones, extrapolate=extrapolate)
    if folder is not None:
        _save(found, folder)
    if as_json:
        document = {
            "runs": [str(run.folder) for run in runs],
            "summaries": found.summary_rows(),
            "differences": found.difference_rows(),
            "trends": found.trend_rows(),
            "observations": found.run_rows(),
        }
        click.echo(json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False))
        return
    print_comparison(found)


def _runs(paths: Sequence[Path]) -> list[RunFolder]:
    """The runs of all sweeps and run folders that hold a measurement; says which do not."""
    return [run for run in open_runs(paths, is_light=True) if _can_be_compared(run)]


def _can_be_compared(run: RunFolder) -> bool:
    """Whether a run can; says why not, and what is wrong with it."""
    for problem in run.problems:
        click.echo(f"Warning: {problem}", err=True)
    try:
        _, status = run.spec, run.status
    except RecordCorrupt as problem:  # by its settings it is told which others it goes with
        click.echo(f"Warning: {problem}\n{run.folder} is left out.", err=True)
        return False
    if not run.measurements:
        click.echo(f"{run.folder} has no measurement and is left out.", err=True)
    elif status != "completed":
        click.echo(f"{run.folder} is not completed but {status}.", err=True)
    return bool(run.measurements)


def _quantities(runs: Sequence[RunFolder], names: Sequence[str], pair_set: str | None) -> list[str]:
    known = known_quantities(runs)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput("There is no quantity of that name.", expected=", ".join(known), received=unknown[0])
    return list(names) or default_quantities(runs, pair_set)


def _save(found: Comparison, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "summaries": found.summary_rows(),
        "differences": found.difference_rows(),
        "trends": found.trend_rows(),
        "observations": found.run_rows(),
    }
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(
                {key: json.dumps(value) if isinstance(value, list) else harmless(value) for key, value in row.items()}
                for row in rows
            )
        click.echo(path, err=True)


def _plain(value: Any) -> Any:
    """`value` for JSON, with infinite bounds as text, which say more than null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else finite(value)
