"""`tfstiff report`: one HTML file on a run, or on several side by side."""

from __future__ import annotations

from pathlib import Path

import click

from tfstiff.report import write_report

from .completion import complete_runs
from .given_runs import open_runs


@click.command("report")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(), shell_complete=complete_runs)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: report.html in the run's folder; of several runs, in the folder that holds them]",
)
@click.option("--static", is_flag=True, help="Pictures in place of interactive charts: smaller, and without scripts.")
@click.option("--no-thumbnails", is_flag=True, help="Leave out what single examples look like.")
def command(runs: tuple[str, ...], out: Path | None, static: bool, no_thumbnails: bool) -> None:
    """Write a report of runs as one HTML file; print its path.

    RUN is a folder that `tfstiff run` or StiffnessCallback(log_dir=...) wrote; it may
    be running still. A sweep's folder stands for its trials. Several runs give a
    comparison. The file needs no network: charts are drawn by Plotly, which is in it
    (pip install 'tfstiff[report]').

    \b
    Examples:
      tfstiff report runs/mine
      tfstiff report runs/lr-* --out comparison.html
    """  # noqa: D301  # click wants the character \b itself
    opened = open_runs(runs)
    for run in opened:
        for problem in run.problems:
            click.echo(f"Warning: {problem}", err=True)
    path = write_report(
        opened,
        out,
        interactive=False if static else None,
        thumbnails=not no_thumbnails,
        say=lambda text: click.echo(text, err=True),
    )
    click.echo(path)
