"""`tfstiff data`: which data sets there are, and whether one is whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
import numpy as np
from rich.table import Table

from tfstiff import datasets
from tfstiff.datasets.tfds_source import resolve_data_dir

from .tables import print_whole

_data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="TensorFlow Datasets' directory. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """List the data sets, or check one."""


@command.command("list")
@_data_dir_option
@_json_option
def list_command(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets and whether each is on this machine."""
    rows = datasets.catalog(data_dir)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for header in ("NAME", "HERE", "TRAIN", "VALIDATION", "SHAPE", "CLASSES", "DESCRIPTION"):
        table.add_column(header, no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            {True: "yes", False: "no", None: "-"}[row.available],
            _or_dash(row.train_examples),
            _or_dash(row.validation_examples),
            "x".join(map(str, row.shape)) if row.shape else "-",
            _or_dash(row.classes),
            row.description,
        )
    print_whole(table)
    click.echo(f"Prepared data sets are looked for in {resolve_data_dir(data_dir)}.", err=True)


@command.command("check")
@click.argument("name")
@_data_dir_option
@click.option("--offline", is_flag=True, help="Never use the network: a data set that is not here is an error.")
@_json_option
def check_command(name: str, data_dir: Path | None, offline: bool, as_json: bool) -> None:
    """Read all of the data set NAME and describe what is there.

    Every shard is read, and the counts and the range of the labels are checked. A data set that is not on this
    machine is downloaded first, unless --offline. Ends with 0 if the data set is whole, with 3 if not.
    """
    dataset = datasets.load(name, data_dir=data_dir, offline=offline)
    provenance = dataset.provenance
    splits = {"train": dataset.train, "validation": dataset.validation}
    counts = {split: _class_counts(examples, dataset.class_names) for split, examples in splits.items()}
    if as_json:
        for split, description in provenance["splits"].items():
            description["class_counts"] = counts[split]
        click.echo(json.dumps(provenance, indent=2))
        return
    version = f" {provenance['version']}" if "version" in provenance else ""
    click.echo(f"{dataset.name}: whole ({provenance['source']}{version})")
    for split, description in provenance["splits"].items():
        shape = "x".join(map(str, description["shape"]))
        what = f"{shape} {description['dtype']}".strip() + "s" * (description["dtype"] == "text" and shape != "")
        click.echo(f"{split}: {description['examples']} examples of {what}")
        click.echo(f"  sha256: {description['sha256']}")
        if dataset.class_names:
            click.echo(f"  classes: {', '.join(f'{label} {count}' for label, count in counts[split].items())}")
        else:
            y = splits[split].y
            click.echo(f"  targets: {y.min():g} to {y.max():g}")


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _class_counts(examples: datasets.Examples, class_names: tuple[str, ...]) -> dict[str, int]:
    if not class_names:
        return {}
    counts = np.bincount(examples.y, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))
