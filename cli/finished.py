"""What a command prints of a run that it has made: the tables, then the files."""

from __future__ import annotations

from pathlib import Path

import click

from tfstiff.records import METRICS, RunFolder

from .direction_tables import print_directions
from .disagreement_table import print_disagreements
from .tables import event_notes, print_blocks, print_measurements
from .turn_table import print_turns


def print_finished(run: RunFolder) -> None:
    """Prints a run's measurements, what happened beside them, and the paths of its files."""
    metrics = run.spec.get("metrics", METRICS)
    print_measurements(run.measurements, metrics=metrics)
    for line in event_notes(run.events):
        click.echo(line)
    print_blocks(run.measurements, metrics=metrics)
    print_disagreements(run.measurements)
    for last in run.measurements[-1:]:
        print_directions(last)
    print_turns(run)
    click.echo()
    for path in _written(run.folder):
        click.echo(path)


def _written(folder: Path) -> list[Path]:
    files = [folder / name for name in ("config.json", "history.csv", "events.jsonl", "records", "models")]
    return [path for path in files if path.exists()] + sorted(folder.glob("figures/*.png"))
