"""`tfstiff run`: train, measure, and leave a run folder behind."""

from __future__ import annotations

import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import psutil
from click.core import ParameterSource

from tfstiff.datasets.catalog import check_can_load
from tfstiff.errors import InvalidInput
from tfstiff.export import EventWriter
from tfstiff.records import open_run
from tfstiff.records.claim import holds_something_else
from tfstiff.records.names import check_name
from tfstiff.runs.blank import is_blank
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.own_code import OWN_CODE, check_named_again
from tfstiff.runs.run import run
from tfstiff.runs.spec import RunSpec

from .completion import complete_runs
from .finished import print_finished
from .folders import default_folder
from .grouped_help import GroupedCommand
from .progress import choose_progress
from .setting_options import preset_option, setting_options


def _interval(_: click.Context, __: click.Parameter, value: str | None) -> CheckpointInterval | None:
    return None if value is None else CheckpointInterval.parse(value)


@click.command(
    "run",
    cls=GroupedCommand,
    first=(
        *("dataset", "arch", "learning_rate", "epochs", "batch_size", "seed"),
        *("probe_size", "schedule", "out", "resume"),
    ),
)
@preset_option
@setting_options()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder, a new one.  [default: runs/<data set>-<arch>-<time>]",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    shell_complete=complete_runs,
    help="Go on with the run in FOLDER that did not end, from its newest whole checkpoint; with more --epochs extend "
    "one that did, to what it would have come to from the beginning.",
)
@click.option(
    "--checkpoint-every",
    "interval",
    callback=_interval,
    metavar="INTERVAL",
    help="How often to make a checkpoint: steps such as 500, or a time such as 30s, 5min, 1h; or never.  "
    "[default: 1min, and more rarely where that would take more than 1 % of the time]",
)
@click.option(
    "--tensorboard", is_flag=True, help="Write TensorBoard events into the run's folder too: tensorboard --logdir runs"
)
@click.pass_context
def command(  # one for each option
    ctx: click.Context,
    preset: str,
    out: Path | None,
    resume: Path | None,
    interval: CheckpointInterval | None,
    tensorboard: bool,
    **options: Any,
) -> None:
    """Train a model and record its stiffness.

    Trains, by default with Adam at a constant learning rate, measures on a fixed probe of training and
    validation examples, and leaves records, figures and settings in the run's folder. With
    no options it trains the fully connected network on the data set that comes with tfstiff.
    Ctrl-C, or SIGTERM, makes a checkpoint and ends, with 130 or 143; --resume goes on.

    \b
    Examples:
      tfstiff run
      tfstiff run --dataset cifar10 --arch cnn --lr 8e-4 --epochs 20
      tfstiff run --dataset npz:mine.npz --arch mymodels:build --schedule 0,1,5
      tfstiff run --preset v1 --dataset mnist --stop-at-loss 0.1
      tfstiff run --resume runs/mine
      tfstiff run --resume runs/mine --epochs 40
    """  # noqa: D301  # click wants the character \b itself
    given = {name: value for name, value in options.items() if value is not None}
    if resume is not None:
        if out is not None or ctx.get_parameter_source("preset") is not ParameterSource.DEFAULT:
            raise click.UsageError("--resume FOLDER says where, and with which settings: leave out --out and --preset.")
        spec, folder = _spec_of(resume, given), resume
    else:
        spec = RunSpec.from_preset(preset, **given)
        folder = out or default_folder(spec.dataset, spec.arch)
        check_name(folder)
        if folder.exists() and not is_blank(folder):
            raise holds_something_else(
                folder,
                expected="a folder that does not exist, or is empty",
                remedy="Choose another --out, or go on with the run that was begun there: --resume FOLDER.",
            )
    check_can_load(spec.dataset)
    if tensorboard:
        EventWriter.check()
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    progress = choose_progress()
    progress.say(f"Run folder: {folder}")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"Warning: {message}")
        finished = run(spec, folder, progress=progress, checkpoints=interval, tensorboard=tensorboard, keep_last=True)
    print_finished(finished)
    if finished.status == "diverged":
        click.echo("The training loss is no longer finite, so training was stopped.", err=True)
    click.echo(_timings(folder), err=True)


def _spec_of(folder: Path, given: dict[str, Any]) -> RunSpec:
    """The specification of a run that was begun.

    Raises:
        InvalidInput: There is none, or `given` asks for another.
    """
    config = open_run(folder).spec
    if not config:
        raise InvalidInput(
            f"{folder} says nothing of the run that was begun there.",
            expected="a config.json",
            remedy="Run it again with its options and --out.",
        )
    spec = RunSpec.from_config(config)
    for name in OWN_CODE:
        flag = f"--{name} {getattr(spec, name)}"
        check_named_again(getattr(spec, name), [given.get(name)], folder, flag)
    wanted = replace(spec, **given)
    differing = [name for name in given if getattr(wanted, name) != getattr(spec, name)]
    if "epochs" in differing and wanted.epochs > spec.epochs:  # it is extended
        differing.remove("epochs")
        spec = replace(spec, epochs=wanted.epochs)
    if differing:
        raise InvalidInput(
            f"The run in {folder} was begun with other settings, and goes on with those.",
            expected=", ".join(f"{name}={getattr(spec, name)!r}" for name in differing),
            received=", ".join(f"{name}={getattr(wanted, name)!r}" for name in differing),
            remedy="Leave these options out, or begin another run with --out; --epochs may become more.",
        )
    return spec


def _timings(folder: Path) -> str:
    found = open_run(folder).timings
    share = found["seconds_measuring"] / found["seconds_in_fit"]
    return (
        f"{time.time() - psutil.Process().create_time():.1f} s since the command was given; of the run "
        f"{found['seconds_in_fit']:.1f} s in fit, {share:.0%} of it measuring; "
        f"{found['images_per_second']:,.0f} examples/s trained"
    )
