"""`tfstiff measure`: the stiffness of models that are trained already."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tfstiff._options import option_fields
from tfstiff._quiet import import_tensorflow
from tfstiff.measuring.options import MeasureOptions
from tfstiff.records import open_run
from tfstiff.runs.data import INPUTS, STANDARDIZED
from tfstiff.runs.load import encoding_of
from tfstiff.runs.own_code import check_named_again
from tfstiff.runs.saved.files import model_files
from tfstiff.runs.spec import MEASURED_ON, RunSpec

from .completion import complete_data_sets, complete_runs
from .finished import print_finished
from .folders import default_folder
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
@click.argument("model", type=click.Path(path_type=Path), shell_complete=complete_runs)
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=complete_data_sets,
    help="A name that `tfstiff data list` shows, npz:PATH, or spherical_harmonics:OPTIONS.  "
    "[default, for a run's folder: that of the run]",
)
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default=STANDARDIZED,
    show_default=True,
    help="What the model takes: inputs of zero mean, unit variance and unit length, as `tfstiff run` trains on; the "
    "stored values; or those of 8-bit images divided by 255.",
)
@click.option(
    "--arch",
    help="The network that the weights are of: fc, cnn, fc-v1, cnn-v1, resnet20, transformer, or "
    "package.module:function of your own (its code is run). Needed for files of weights.",
)
@setting_options(("hidden",))
@click.option("--loss", metavar="NAME", help="A loss of Keras.  [default: the model's own, else cross-entropy]")
@setting_options(("objective",))
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
@click.pass_context
def command(  # noqa: PLR0913  # one for each option
    ctx: click.Context,
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
    is_run = (model / "records").is_dir()
    given = {name: value for name, value in options.items() if value is not None}
    if is_run and (unused := {"vocabulary_size", "sequence_length"} & set(given)):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unused))
        raise click.UsageError(f"Texts are encoded as in the run: leave out {flags}.")
    if is_run and ctx.get_parameter_source("preset") is not ParameterSource.DEFAULT:
        raise click.UsageError("The settings are those of the run: leave out --preset.")
    if not is_run and "dataset" not in given:
        raise click.UsageError("Say on which data set the model is to be measured: --dataset NAME.")
    files = model_files(model)
    config = open_run(model).spec if is_run else {}
    spec = replace(RunSpec.from_config(config), **given) if is_run else RunSpec.from_preset(preset, **given)
    if is_run:
        check_named_again(arch or spec.arch, [arch], model, f"--arch {spec.arch}")
        if loss is None:
            check_named_again(spec.objective, [options["objective"]], model, f"--objective {spec.objective}")
    if loss is not None and options["objective"] is not None:
        raise click.UsageError("Give --loss or --objective, not both.")
    folder = out or default_folder(model.resolve(), "on", spec.dataset)
    if address is not None and jobs is None:
        raise click.UsageError("Say over how many tasks of Ray a measurement is to be spread: --jobs N.")
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    progress = PlainProgress()
    progress.say(f"Run folder: {folder}")
    import_tensorflow()
    from tfstiff.runs.run import draw_figures
    from tfstiff.runs.saved.measuring import SavedModels, measure_saved

    saved = SavedModels(
        files,
        arch if arch or not is_run else spec.arch,
        spec.hidden if arch or is_run else None,
        config.get("input_shape"),
        config.get("num_classes"),
        config.get("num_token_ids"),
        encoding_of(open_run(model)) if is_run else None,
        spec.learning_rate if is_run else float("nan"),
        loss,
        spec.objective if loss is None else None,
    )
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: progress.say(f"Warning: {message}")
        processes = jobs if address is None or jobs is None else _ray_tasks(address, jobs)
        finished = measure_saved(saved, spec, folder, inputs=inputs, processes=processes, progress=progress)
        draw_figures(finished, progress)
    print_finished(finished)


def _ray_tasks(address: str, jobs: int) -> RayTasks:
    from tfstiff.measuring.distributed.on_ray import RayTasks

    return RayTasks(given_address(address), jobs=jobs)
