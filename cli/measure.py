"""`tfstiff measure`: the stiffness of models that are trained already."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfstiff._options import option_fields
from tfstiff._quiet import import_tensorflow
from tfstiff.measuring.options import MeasureOptions
from tfstiff.runs.spec import MEASURED_ON

from .finished import print_finished
from .folders import default_folder
from .given_models import given_models, model_options
from .grouped_help import GroupedCommand
from .options import given_address, ray_option
from .progress import PlainProgress
from .setting_options import preset_option, setting_options

if TYPE_CHECKING:
    from tfstiff.measuring.distributed.on_ray import RayTasks

# Settings that say what is measured, and on which examples.
_SHARED = (*MEASURED_ON[1:], *(field.name for field in option_fields(MeasureOptions)))


@click.command(
    "measure",
    cls=GroupedCommand,
    first=("dataset", "inputs", "arch", "loss", "probe_size", "seed", "space", "per_layer", "jobs", "out"),
)
@model_options
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Spread each measurement over N processes, each with a GPU if there are any. Pays for large probes.  "
    "[default: this process]",
)
@ray_option(
    "Spread each measurement over N tasks of that Ray cluster (auto: the one that runs here), or of one of its own; "
    "with --jobs N."
)
@preset_option
@setting_options(_SHARED)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder for the measurements, a new one, or one to go on with.  "
    "[default: runs/<model>-on-<data set>-<time>]",
)
def command(  # one for each option
    model: Path,
    preset: str,
    arch: str | None,
    inputs: str,
    loss: str | None,
    jobs: int | None,
    address: str | None,
    out: Path | None,
    **options: Any,
) -> None:
    """Measure the stiffness of a saved model, without training.

    MODEL is a file .keras, a file .weights.h5 (with --arch), or a folder of such files,
    which are measured in the order of the numbers in their names; or the folder of a run
    with --keep-models, on whose data set, and as in that run, the models are measured
    where nothing else is asked for. No code that a file holds is run. The result is a
    run's folder, for `show`, `plot` and `report`. The same command with the same --out
    goes on where it was stopped, with --jobs or --ray within a measurement too.

    \b
    Examples:
      tfstiff measure mine.keras --dataset cifar10 --inputs unit
      tfstiff measure checkpoints/ --arch cnn --dataset npz:mine.npz --probe-size 1000
      tfstiff measure runs/mine --dataset fashion_mnist --space all
      tfstiff measure mine.keras --dataset cifar10 --probe-size 20000:10000 --jobs 8 --out runs/large
    """  # noqa: D301  # click wants the character \b itself
    given = given_models(model, arch, loss, options, preset)
    spec = given.spec
    folder = out or default_folder(model.resolve(), "on", spec.dataset)
    if address is not None and jobs is None:
        raise click.UsageError("Say over how many tasks of Ray a measurement is to be spread: --jobs N.")
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    progress = PlainProgress()
    progress.say(f"Run folder: {folder}")
    import_tensorflow()
    from tfstiff.runs.run import draw_figures
    from tfstiff.runs.saved.measuring import measure_saved

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"Warning: {message}")
        processes = jobs if address is None or jobs is None else _ray_tasks(address, jobs)
        finished = measure_saved(given.saved(), spec, folder, inputs=inputs, processes=processes, progress=progress)
        draw_figures(finished, progress)
    print_finished(finished)


def _ray_tasks(address: str, jobs: int) -> RayTasks:
    from tfstiff.measuring.distributed.on_ray import RayTasks

    return RayTasks(given_address(address), jobs=jobs)
