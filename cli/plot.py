"""`tfstiff plot`: the figures of a run as files."""

from __future__ import annotations

from pathlib import Path

import click

from tfstiff.errors import TfstiffError
from tfstiff.figures import FIGURES, FORMATS, draw
from tfstiff.records import load_run


def _list_figures(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    width = max(map(len, FIGURES))
    for name, kind in FIGURES.items():
        click.echo(f"{name:<{width}}  {kind.description}")
    ctx.exit()


@click.command("plot")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path())
@click.option("--figure", "names", multiple=True, type=click.Choice(list(FIGURES)), help="Repeatable.  [default: all]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to save in; with several runs, a folder for each in it.  [default: figures/ in the run's folder]",
)
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(FORMATS), help="Repeatable.  [default: all of them]"
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_figures, help="List the figures and exit."
)
@click.pass_context
def command(
    ctx: click.Context, runs: tuple[str, ...], names: tuple[str, ...], out: Path | None, formats: tuple[str, ...]
) -> None:
    """Draw the figures of runs; print the paths of the files.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote; it may
    be running still. The numbers behind a figure are saved as CSV beside it.

    \b
    Examples:
      tfstiff plot runs/mine
      tfstiff plot runs/mine --figure curves --format svg --out paper/
    """  # noqa: D301  # click wants the character \b itself
    opened = [load_run(folder) for folder in runs]
    if out is not None and len({run.folder.resolve().name for run in opened}) < len(opened):
        raise click.UsageError("Runs whose folders have the same name cannot share one --out folder.")
    exit_code = 0
    for run in opened:
        folder = out / run.folder.resolve().name if out is not None and len(opened) > 1 else out
        for problem in run.problems:
            click.echo(f"Warning: {problem}", err=True)
        try:
            paths = draw(
                run, names or None, folder, formats=formats or FORMATS, say=lambda text: click.echo(text, err=True)
            )
        except TfstiffError as error:  # the other runs are drawn all the same
            click.echo(f"Error: {error}", err=True)
            exit_code = exit_code or error.exit_code
            continue
        for path in paths:
            click.echo(path)
        if not paths:
            exit_code = exit_code or 2
    ctx.exit(exit_code)
