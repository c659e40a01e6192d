"""`tfstiff doctor`: whether the installation, a run's folder or a sweep's is sound, and what can be mended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tfstiff.errors import RecordCorrupt
from tfstiff.records.words import ABSENT
from tfstiff.runs.finding import Finding
from tfstiff.runs.inspection import inspect_run, mend
from tfstiff.sweeps import is_sweep, load_sweep


@click.command("doctor")
@click.argument("folder", metavar="[RUN|SWEEP]", required=False, type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Make again what is derived, and move aside what is damaged.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="TensorFlow Datasets' directory. Default: $TFDS_DATA_DIR, else ~/tensorflow_datasets.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, folder: Path | None, repair: bool, data_dir: Path | None, as_json: bool) -> None:
    """Look for what is wrong with the installation, or with the folder of a run or sweep.

    Without a folder: versions, devices, data sets, extras, whether runs can be written
    here, and what is known to clash. With one: every file is read and verified, and what
    is damaged is named with what is lost by it. Nothing is changed without --repair, and
    nothing is deleted with it: what is damaged is moved aside to NAME.aside-TIME.

    Exits with 1 where something is wrong, and not mended.

    \b
    Examples:
      tfstiff doctor
      tfstiff doctor runs/mine
      tfstiff doctor runs/mysweep --repair
      tfstiff doctor runs/mine --json | jq '.findings[] | select(.is_wrong)'
    """  # noqa: D301  # click wants the character \b itself
    if folder is None:
        if repair:
            raise click.UsageError("--repair is of a folder: tfstiff doctor RUN --repair")
        from tfstiff.runs.installation import inspect_installation

        found = inspect_installation(Path("runs"), data_dir)
    else:
        found = list(_of_folder(folder, repair))
    wrong = sum(finding.is_wrong for finding in found)
    if as_json:
        findings = [finding.as_dict() for finding in found]
        document = {"folder": None if folder is None else str(folder), "wrong": wrong, "findings": findings}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(found)
        click.echo(f"{wrong} thing{'' if wrong == 1 else 's'} wrong." if wrong else "Nothing is wrong.")
    ctx.exit(1 if wrong else 0)


def _of_folder(folder: Path, repair: bool) -> Iterator[Finding]:
    if not is_sweep(folder):
        found = inspect_run(folder)
        yield from mend(folder, found) if repair else found
        return
    try:
        sweep = load_sweep(folder)
    except RecordCorrupt as error:
        lost = "which trials there are; each of their folders is a run, and can be looked through"
        yield Finding("sweep.json", error.what, True, lost)
        return
    yield Finding("sweep.json", f"whole, {len(sweep.trials)} trials")
    for trial in sweep.trials:
        place = sweep.run_folder(trial)
        if not (place / "records").is_dir():
            yield Finding(f"trials/{trial.name}", f"has no measurement: {sweep.state(trial).state}")
            continue
        found = inspect_run(place)
        for finding in mend(place, found) if repair else found:
            yield dataclasses.replace(finding, what=f"trials/{trial.name}/{finding.what}")


def _print(found: Sequence[Finding]) -> None:
    for finding in found:
        click.echo(f"{'WRONG' if finding.is_wrong else 'ok':<6}{finding.what}: {finding.text or ABSENT}")
        for label, text in (("lost", finding.lost if finding.is_wrong else ""), ("remedy", finding.remedy)):
            if text:
                click.echo(f"{'':<6}  {label}: {text}")
