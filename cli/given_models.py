"""Saved models as a command is given them: a file, a folder, or a run's folder with the settings of that run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from tfstiff.records import open_run
from tfstiff.runs.data import INPUTS, STANDARDIZED
from tfstiff.runs.load import encoding_of
from tfstiff.runs.losses import OF_NUMBERS, loss_in, outputs_in
from tfstiff.runs.own_code import check_named_again
from tfstiff.runs.saved.files import ModelFile, model_files
from tfstiff.runs.spec import RunSpec

from .completion import complete_data_sets, complete_runs
from .setting_options import setting_options

if TYPE_CHECKING:
    from tfstiff.runs.saved.measuring import SavedModels

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path), shell_complete=complete_runs),
    click.option(
        "--dataset",
        metavar="NAME",
        shell_complete=complete_data_sets,
        help="A name that `tfstiff data list` shows, npz:PATH, or spherical_harmonics:OPTIONS.  "
        "[default, for a run's folder: that of the run]",
    ),
    click.option(
        "--inputs",
        type=click.Choice(INPUTS),
        default=STANDARDIZED,
        show_default=True,
        help="What the model takes: inputs of zero mean, unit variance and unit length, as `tfstiff run` trains on; "
        "the stored values; or those of 8-bit images divided by 255.",
    ),
    click.option(
        "--arch",
        help="The network that the weights are of: fc, cnn, fc-v1, cnn-v1, resnet20, transformer, or "
        "package.module:function of your own (its code is run). Needed for files of weights.",
    ),
    setting_options(("hidden",)),
    click.option("--loss", metavar="NAME", help="A loss of Keras.  [default: the model's own, else cross-entropy]"),
    setting_options(("objective",)),
)


def model_options(command: _Command) -> _Command:
    """Gives a command the argument MODEL, and options that say what it is and which data it is of."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class GivenModels:
    """Saved models, and what they are measured on.

    Attributes:
        files: In the order in which they were saved.
        spec: The data set and how it is prepared; those of the run where nothing else was said.
        run: The folder of the run that kept them; None where it is none.
        config: Of that run.
        arch: As it was given.
        loss: As it was given.
    """

    files: list[ModelFile]
    spec: RunSpec
    run: Path | None
    config: dict[str, Any]
    arch: str | None
    loss: str | None

    def saved(self) -> SavedModels:
        """For those that read them. Imports TensorFlow."""
        from tfstiff.runs.saved.measuring import SavedModels

        is_run = self.run is not None
        return SavedModels(
            self.files,
            self.arch if self.arch or not is_run else self.spec.arch,
            self.spec.hidden if self.arch or is_run else None,
            self.config.get("input_shape"),
            outputs_in(self.config),
            self.config.get("num_token_ids"),
            None if self.run is None else encoding_of(open_run(self.run)),
            self.spec.learning_rate if is_run else float("nan"),
            self.loss or self._loss_of_numbers(),
            self.spec.objective if self.loss is None else None,
        )

    def _loss_of_numbers(self) -> str | None:
        """That of a run whose targets are numbers; that of classes depends on whether the model ends in a softmax."""
        found = loss_in(self.config)
        return found if found in OF_NUMBERS and self.spec.objective is None else None


def given_models(
    model: Path, arch: str | None, loss: str | None, options: dict[str, Any], preset: str = "iclr"
) -> GivenModels:
    """What the options of a command say of models.

    Args:
        model: The argument MODEL.
        arch: `--arch`.
        loss: `--loss`.
        options: Settings of `RunSpec`, None where they were not given.
        preset: What the others are of; a run's own where it is one.

    Raises:
        click.UsageError: Options do not go together.
        InvalidInput: There is no model, or a setting cannot be used.
    """
    is_run = (model / "records").is_dir()
    given = {name: value for name, value in options.items() if value is not None}
    if is_run and (unused := {"vocabulary_size", "sequence_length"} & set(given)):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unused))
        raise click.UsageError(f"Texts are encoded as in the run: leave out {flags}.")
    source = click.get_current_context().get_parameter_source("preset")
    if is_run and source not in (None, ParameterSource.DEFAULT):
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
    return GivenModels(files, spec, model if is_run else None, config, arch, loss)
