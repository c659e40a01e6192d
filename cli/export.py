"""`tfstiff export`: runs as tidy tables, netCDF or TensorBoard events."""

from __future__ import annotations

from pathlib import Path

import click

from tfstiff.errors import InvalidInput, TfstiffError
from tfstiff.export import DEFAULT_TABLES, TIDY_FORMATS, TIDY_TABLES, write_netcdf, write_tensorboard, write_tidy
from tfstiff.records import RunFolder

from .completion import complete_runs
from .given_runs import open_runs


@click.command("export")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(), shell_complete=complete_runs)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice((*TIDY_FORMATS, "netcdf")),
    help="May be given several times.  [default: csv, without --tensorboard]",
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events: scalars, and class matrices as images.")
@click.option("--no-images", is_flag=True, help="Leave the images out of the TensorBoard events.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Choice(TIDY_TABLES),
    help="Of CSV and Parquet; may be given several times.  [default: all but influence]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for all runs together.  [default: export/ in the folder of each run; TensorBoard: that folder itself]",
)
@click.pass_context
def command(
    ctx: click.Context,
    runs: tuple[str, ...],
    formats: tuple[str, ...],
    tensorboard: bool,
    no_images: bool,
    tables: tuple[str, ...],
    out: Path | None,
) -> None:
    """Write what runs measured for other programs; print the paths of the files.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote; it may
    be running still.

    CSV and Parquet are tidy tables: measurements, stiffness, class_matrix, distance,
    critical_length, statistics, scores, ... With --out, one set of tables holds all
    runs, told apart by the column `run`. netCDF is one file a run, with named
    dimensions, as load_run(RUN).to_xarray() returns it. They have every digit.

    Exits with 3 if a record could not be read; the others are exported all the same.

    \b
    Examples:
      tfstiff export runs/mine
      tfstiff export runs/* --format parquet --table stiffness --out tables/
      tfstiff export runs/mine --format netcdf
      tfstiff export runs/* --tensorboard && tensorboard --logdir runs/
    """  # noqa: D301  # click wants the character \b itself
    if tables and formats and not set(formats) & set(TIDY_FORMATS):
        raise click.UsageError("--table is of CSV and Parquet, and neither is asked for.")
    formats = formats or (() if tensorboard and not tables else ("csv",))
    opened = open_runs(runs)
    if out is not None and len({_name(run) for run in opened}) < len(opened):
        raise click.UsageError("Runs whose folders have the same name cannot share one --out folder.")
    exit_code = 0
    measured: list[RunFolder] = []
    for run in opened:
        for problem in run.problems:
            click.echo(f"Warning: {problem}", err=True)
            exit_code = problem.exit_code
        if run.measurements:
            measured.append(run)
        else:
            click.echo(f"Error: The run {run.folder} holds no measurement.", err=True)
            exit_code = exit_code or InvalidInput.exit_code
    for together in [measured] if out is not None else [[run] for run in measured]:
        try:
            for form in dict.fromkeys(formats):
                _write(together, form, tables or DEFAULT_TABLES, out)
            for run in together if tensorboard else ():
                folder = None if out is None else out / _name(run)
                click.echo(write_tensorboard(run, folder, images=not no_images))
        except TfstiffError as error:  # the other runs are exported all the same
            click.echo(f"Error: {error}", err=True)
            exit_code = exit_code or error.exit_code
    ctx.exit(exit_code)


def _write(runs: list[RunFolder], form: str, tables: tuple[str, ...], out: Path | None) -> None:
    if not runs:
        return
    folder = runs[0].folder / "export" if out is None else out
    if form == "netcdf":
        paths = [write_netcdf(run, folder / f"{_name(run)}.nc") for run in runs]
    else:
        paths = write_tidy(runs, folder, form, tables)
    for path in paths:
        click.echo(path)


def _name(run: RunFolder) -> str:
    return run.folder.resolve().name
