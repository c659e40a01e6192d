"""`tfstiff run`: train, measure, and leave a run folder behind."""

from __future__ import annotations

import re
import signal
import sys
import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tfstiff._quiet import import_tensorflow
from tfstiff.datasets import CENTERINGS, DEFAULT
from tfstiff.errors import InvalidInput
from tfstiff.records import open_run
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.run import is_blank, run
from tfstiff.runs.spec import RunSpec
from tfstiff.runs.strategies import STRATEGIES

from .finished import print_finished
from .options import METHODS, arch_option, hidden_option
from .progress import choose_progress
from .science_options import preset_option, science_options

_DEFAULTS = RunSpec()
_PRECISIONS = ("float32", "float64", "policy")


def _bytes(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(k|M|G|T)?i?B?\s*", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a size such as 4GB or 500MB.")
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))


def _interval(_: click.Context, __: click.Parameter, value: str | None) -> CheckpointInterval | None:
    return None if value is None else CheckpointInterval.parse(value)


def _probe_size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    parts = value.split(":")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"{value!r} is not a number such as 500, or two such as 500:1000.")
    return int(parts[0]), int(parts[-1])


def _schedule(_: click.Context, __: click.Parameter, value: str) -> str | int | tuple[float, ...]:
    if value in ("log", "epoch"):
        return value
    try:
        return int(value) if value.isdigit() else tuple(float(point) for point in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not log, epoch, a number of steps such as 100, or a list of epochs such as 0,0.5,1,5."
        ) from None


@click.command("run")
@preset_option
@click.option(
    "--dataset",
    default=DEFAULT,
    show_default=True,
    help="A name that `tfstiff data list` shows, npz:PATH, or spherical_harmonics:OPTIONS.",
)
@arch_option
@hidden_option
@click.option("--lr", "learning_rate", type=float, default=_DEFAULTS.learning_rate, show_default=True, help="Of Adam.")
@click.option("--epochs", type=int, default=_DEFAULTS.epochs, show_default=True)
@click.option("--batch-size", type=int, default=_DEFAULTS.batch_size, show_default=True)
@click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True)
@click.option(
    "--probe-size",
    callback=_probe_size,
    metavar="N[:M]",
    default="500",
    show_default=True,
    help="Examples to measure on, of the training split and of the validation split.",
)
@click.option(
    "--schedule",
    callback=_schedule,
    default=_DEFAULTS.schedule,
    show_default=True,
    help="When to measure: log (initialisation, fractions of the first epoch from 0.01 on, every epoch), epoch, "
    "a number of steps, or a list of epochs: 0,0.5,1,5.",
)
@click.option(
    "--centering",
    type=click.Choice(CENTERINGS),
    default=_DEFAULTS.centering,
    show_default=True,
    help="What the mean and variance of the inputs are taken over.",
)
@click.option("--train-examples", type=int, metavar="N", help="Train on N examples, stratified.  [default: all]")
@science_options
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True, help="For the gradients.")
@click.option("--precision", type=click.Choice(_PRECISIONS), default="float32", show_default=True, help="Of gradients.")
@click.option("--per-layer", is_flag=True, help="Measure each layer's gradients by themselves too.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="none",
    show_default=True,
    help="mirrored: train a copy of the model on each GPU of this machine, and divide each batch between them.",
)
@click.option("--deterministic", is_flag=True, help="Deterministic operations only: equal runs give equal records.")
@click.option("--keep-gram", is_flag=True, help="Keep the products of all gradients in the records.")
@click.option("--keep-models", is_flag=True, help="Keep the weights at each measurement, in models/.")
@click.option(
    "--memory-limit",
    callback=_bytes,
    metavar="SIZE",
    help="Memory that a measurement's gradients may take, such as 4GB.  [default: half of what is free]",
)
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of prepared TFDS data sets.")
@click.option("--offline", is_flag=True, help="Download nothing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder, a new one.  [default: runs/<data set>-<arch>-<time>]",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Go on with the run that was begun in FOLDER and did not end, from its newest whole checkpoint.",
)
@click.option(
    "--checkpoint-every",
    "interval",
    callback=_interval,
    metavar="INTERVAL",
    help="How often to make a checkpoint: steps such as 500, or a time such as 30s, 5min, 1h; or never.  "
    "[default: 1min, and more rarely where that would take more than 1 % of the time]",
)
@click.pass_context
def command(
    ctx: click.Context,
    preset: str,
    out: Path | None,
    resume: Path | None,
    interval: CheckpointInterval | None,
    **options: Any,
) -> None:
    """Train a model and record its stiffness.

    Trains with Adam at a constant learning rate, measures on a fixed probe of training and
    validation examples, and leaves records, figures and settings in the run's folder. With
    no options it trains the fully connected network on the data set that comes with tfstiff.
    Ctrl-C, or SIGTERM, makes a checkpoint and ends, with 130 or 143; --resume goes on.

    \b
    Examples:
      tfstiff run
      tfstiff run --dataset cifar10 --arch cnn --lr 8e-4 --epochs 20
      tfstiff run --dataset npz:mine.npz --arch mymodels:build --schedule 0,0.1,1,5
      tfstiff run --preset v1 --dataset mnist --stop-at-loss 0.1
      tfstiff run --resume runs/mine
    """  # noqa: D301  # click wants the character \b itself
    defaults = {name for name in options if ctx.get_parameter_source(name) is ParameterSource.DEFAULT}
    given = {name: value for name, value in options.items() if name not in defaults}
    if resume is not None:
        if out is not None or ctx.get_parameter_source("preset") is not ParameterSource.DEFAULT:
            raise click.UsageError("--resume FOLDER says where, and with which settings: leave out --out and --preset.")
        spec, folder = _spec_of(resume, given), resume
    else:
        spec = RunSpec.from_preset(preset, **given)
        folder = out or _default_folder(spec)
        if folder.exists() and not (folder.is_dir() and is_blank(folder)):
            raise InvalidInput(
                f"The output folder {folder} exists.",
                expected="a folder that does not exist, or is empty",
                remedy="Choose another --out, or go on with the run that was begun there: --resume FOLDER.",
            )
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = choose_progress()
    progress.say(f"Run folder: {folder}")
    import_tensorflow()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"Warning: {message}")
        finished = run(spec, folder, progress=progress, checkpoints=interval)
    print_finished(finished)
    if finished.status == "diverged":
        click.echo("The training loss is no longer finite, so training was stopped.", err=True)
    click.echo(_timings(folder), err=True)


def _default_folder(spec: RunSpec) -> Path:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{Path(spec.dataset.removeprefix('npz:')).stem}-{spec.arch}").strip("-.")
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


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
    wanted = replace(spec, **given)
    differing = [name for name in given if getattr(wanted, name) != getattr(spec, name)]
    if differing:
        raise InvalidInput(
            f"The run in {folder} was begun with other settings, and goes on with those.",
            expected=", ".join(f"{name}={getattr(spec, name)!r}" for name in differing),
            received=", ".join(f"{name}={getattr(wanted, name)!r}" for name in differing),
            remedy="Leave these options out, or begin another run with --out.",
        )
    return spec


def _timings(folder: Path) -> str:
    found = open_run(folder).timings
    share = found["seconds_measuring"] / found["seconds_in_fit"]
    return (
        f"{found['seconds']:.1f} s in all; {found['seconds_in_fit']:.1f} s in fit, {share:.0%} of it measuring; "
        f"{found['images_per_second']:,.0f} images/s trained"
    )
