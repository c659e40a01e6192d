"""`tfstiff plot`: the figures of runs as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tfstiff.datasets.groupings import read_grouping
from tfstiff.errors import TfstiffError
from tfstiff.figures import DEFAULT_FORMATS, DEFAULT_WIDTH, FIGURES, FORMATS, WIDTHS, ChosenRun, draw
from tfstiff.records import METRICS, PAIR_SETS, RunFolder

from .completion import complete_runs
from .given_runs import open_runs


def _list_figures(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    widths = max(map(len, FIGURES)), max(len(kind.redraws) for kind in FIGURES.values())
    for name, kind in FIGURES.items():
        several = " Takes several runs." if kind.takes == "runs" else ""
        click.echo(f"{name:<{widths[0]}}  {kind.redraws:<{widths[1]}}  {kind.description}{several}")
    ctx.exit()


def _losses(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    try:
        return None if value is None else tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of numbers, such as 1.0,0.3.") from error


@click.command("plot")
@click.argument("runs", metavar="RUN...", nargs=-1, type=click.Path(), shell_complete=complete_runs)
@click.option(
    "--figure",
    "names",
    multiple=True,
    type=click.Choice(list(FIGURES)),
    metavar="NAME",
    help="Repeatable; --list names them.  [default: all of one run; of several, those that compare runs too]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to save in; with several runs, a folder for each in it.  "
    "[default: figures/ in the run's folder, or in the folder that holds all runs that a figure compares]",
)
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(FORMATS), help="Repeatable.  [default: png and svg]"
)
@click.option(
    "--width",
    type=click.Choice(list(WIDTHS)),
    default=DEFAULT_WIDTH,
    show_default=True,
    help="For a column (3.5 inches) or a page (7.2 inches) of a paper; no text is below 6 points there.",
)
@click.option(
    "--pair-set",
    "pair_sets",
    multiple=True,
    type=click.Choice(PAIR_SETS),
    help="Repeatable.  [default: all measured; of class_matrices, and in a column, train_val]",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice(METRICS),
    help="Repeatable.  [default: those of the run's settings]",
)
@click.option(
    "--stage",
    "stages",
    metavar="EPOCHS",
    callback=_losses,
    help="Of figures of stages, such as class_matrices: epochs such as 0,1,20, each the nearest measurement.  "
    "[default: up to four from initialisation to the end]",
)
@click.option("--quantity", metavar="NAME", help="Of overlay, as in scalars.jsonl.  [default: cosine_within]")
@click.option(
    "--groups",
    metavar="GROUPS",
    help="Of class_groups: cifar10, cifar100, a .json or .toml file, or 'group=class,class;group=class'.  "
    "[default: those that the run compared, or the known ones of its data set]",
)
@click.option(
    "--loss",
    "levels",
    metavar="LOSSES",
    callback=_losses,
    help="Of learning_rate and domain_size: training losses, such as 1.0,0.3.  "
    "[default: those of --stop-at-loss, else three that all runs pass]",
)
@click.option(
    "--extrapolate-xi",
    "extrapolate",
    is_flag=True,
    help="Of critical_length and domain_size: take the zero of a straight line as ξ wherever it lies.",
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_figures, help="List the figures and exit."
)
@click.pass_context
def command(  # noqa: PLR0913  # one for each option
    ctx: click.Context,
    runs: tuple[str, ...],
    names: tuple[str, ...],
    out: Path | None,
    formats: tuple[str, ...],
    width: str,
    pair_sets: tuple[str, ...],
    metrics: tuple[str, ...],
    stages: tuple[float, ...] | None,
    quantity: str | None,
    groups: str | None,
    levels: tuple[float, ...] | None,
    extrapolate: bool,
) -> None:
    """Draw the figures of runs; print the paths of the files.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote; it may
    be running still. A sweep's folder stands for its trials. Each run has figures of its
    own; several runs, which differ in learning rate and seed, have figures that compare
    them. The numbers behind a figure are saved as CSV beside it.

    \b
    Examples:
      tfstiff plot runs/mine
      tfstiff plot runs/mine --figure curves --width column --format pdf --out paper/
      tfstiff plot runs/mine --figure class_matrices --metric sign --pair-set train_val --stage 0,1,20
      tfstiff plot runs/true runs/permuted --figure overlay --quantity sign_within
      tfstiff plot runs/lr* --figure critical_length
      tfstiff plot --figure concept --out paper/
    """  # noqa: D301  # click wants the character \b itself
    opened: list[RunFolder] = [
        ChosenRun(run.folder, pair_sets=pair_sets, metrics=metrics, stages=stages or ()) for run in open_runs(runs)
    ]
    is_default = not names
    names = names or tuple(name for name, kind in FIGURES.items() if kind.takes in _default_kinds(opened))
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(FIGURES[name].takes, []).append(name)
    if not opened and wanted.keys() != {"nothing"}:
        raise click.UsageError("Missing argument 'RUN...': a run folder, as `tfstiff run` writes.")
    if out is not None and "run" in wanted and len({run.folder.resolve().name for run in opened}) < len(opened):
        raise click.UsageError("Runs whose folders have the same name cannot share one --out folder.")
    for run in opened:
        for problem in run.problems:
            click.echo(f"Warning: {problem}", err=True)
    options: dict[str, Any] = {"extrapolate": extrapolate} | ({} if levels is None else {"levels": levels})
    if quantity is not None or metrics:
        options["quantity"] = quantity or f"{metrics[0]}_within"
    if pair_sets:
        options["pair_set"] = pair_sets[0]
    if groups is not None:
        options["grouping"] = read_grouping(groups)

    def draw_all(source: RunFolder | Sequence[RunFolder] | None, kind: str, folder: Path | None) -> int:
        chosen: dict[str, Any] = {"formats": formats or DEFAULT_FORMATS, "width": width, "options": options}
        return _draw(lambda say: draw(source, wanted[kind], folder, say=say, **chosen))

    codes = []
    for run in opened if "run" in wanted else ():
        folder = out / run.folder.resolve().name if out is not None and len(opened) > 1 else out
        codes.append(draw_all(run, "run", folder))
    if "runs" in wanted:
        code = draw_all(opened, "runs", out)
        codes.append(0 if is_default and 0 in codes else code)  # said already; nobody asked for it
    if "nothing" in wanted:
        codes.append(draw_all(None, "nothing", out))
    ctx.exit(next((code for code in codes if code), 0))


def _default_kinds(runs: Sequence[RunFolder]) -> tuple[str, ...]:
    return ("run",) if len(runs) < 2 else ("run", "runs")


def _draw(drawing: Callable[[Callable[[str], None]], list[Path]]) -> int:
    """Prints what was drawn, and on standard error what was not; returns the exit code."""
    try:
        paths = drawing(lambda text: click.echo(text, err=True))
    except TfstiffError as error:  # what else was asked for is drawn all the same
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    for path in paths:
        click.echo(path)
    return 0 if paths else 2
