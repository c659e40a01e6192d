"""`RunSpec`: everything that determines a run. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfstiff import models
from tfstiff._options import DATA, MODEL, RUNNING, STOPPING, option, option_class, option_fields, part_of
from tfstiff.analysis.loss_level import checked_levels
from tfstiff.callbacks.schedules import Schedule, as_schedule, log_fractions
from tfstiff.datasets import CENTERINGS, DEFAULT
from tfstiff.datasets.catalog import check_name as check_data_set
from tfstiff.datasets.text import SEQUENCE_LENGTH, VOCABULARY_SIZE
from tfstiff.errors import InvalidInput
from tfstiff.gradients.options import OPTIMIZER
from tfstiff.measuring.options import MeasureOptions
from tfstiff.records import METRICS
from tfstiff.runs import settings_text as text
from tfstiff.runs.losses import AUTO, LOSSES
from tfstiff.runs.optimizers import OPTIMIZERS, RATE_SCHEDULES
from tfstiff.runs.presets import preset
from tfstiff.runs.spec_checks import check_numbers, check_stiffness_drop
from tfstiff.runs.strategies import STRATEGIES

# Settings that say on which examples is measured, and what of it is shown.
MEASURED_ON = (
    *("dataset", "seed", "probe_size", "centering", "train_examples", "permute_labels", "metrics"),
    *("vocabulary_size", "sequence_length", "data_dir", "offline"),
)
PROBE_SIZE = (500, 500)  # or all of fewer
_MOST_MEASUREMENTS = 1_000_000


@option_class
@dataclass(frozen=True, repr=False)
class RunSpec(MeasureOptions):
    """Everything that determines a run. The same specification and seed give the same training and records.

    The defaults are those of the preset `iclr`; `RunSpec.from_preset("v1")` has those of the first version. What is
    measured are the options of `measure`. The command line and sweeps take all settings: a new one is one field here.

    Attributes:
        **options: The fields.

    Raises:
        InvalidInput: A name or value is unknown or out of range.
    """

    dataset: str = option(
        DEFAULT,
        "A name that `tfstiff data list` shows, npz:PATH, or spherical_harmonics:OPTIONS.",
        metavar="NAME",
        group=DATA,
    )
    arch: str = option(
        "fc",
        "The network: fc, cnn, fc-v1, cnn-v1, resnet20, transformer (of texts), or package.module:function of your own "
        "(its code is run).",
        metavar="NAME",
        group=MODEL,
    )
    hidden: tuple[int, ...] | None = option(
        None,
        "Hidden widths of fc and fc-v1, such as 500,300,100.",
        unset="the network's own",
        metavar="WIDTHS",
        parse=text.widths,
        has_commas=True,
        group=MODEL,
    )
    learning_rate: float = option(
        8e-4, "Of the optimizer; that at the beginning, where it falls.", flag="lr", group=MODEL
    )
    optimizer: str = option(
        "adam", "The optimizer; momentum is SGD with a momentum of 0.9.", choices=OPTIMIZERS, group=MODEL
    )
    lr_schedule: str = option(
        "constant",
        "How the learning rate goes; cosine falls to 0 at the last epoch.",
        choices=RATE_SCHEDULES,
        group=MODEL,
    )
    training_loss: str = option(
        AUTO,
        "What is minimised; auto is cross-entropy of classes, and the squared error of numbers, which are "
        "standardised. With a loss of numbers, whole numbers of an npz file are no classes.",
        flag="loss",
        choices=LOSSES,
        group=MODEL,
    )
    epochs: int = option(10, "Passes over the training examples.", group=MODEL)
    batch_size: int = option(32, "Examples of a training batch.", group=MODEL)
    seed: int = option(
        0, "Of everything random: probe, initialisation, order of examples, permuted labels.", group=MODEL
    )
    objective: str | None = option(
        None,
        "What is measured in place of the training loss: package.module:function of your own (its code is run), "
        "(model, x, y) -> losses (n,).",
        unset="the training loss",
        metavar="NAME",
    )
    probe_size: tuple[int, int] = option(
        PROBE_SIZE,
        "Examples to measure on, of the training split and of the validation split; where it is not given, fewer where "
        "there are fewer.",
        metavar="N[:M]",
        parse=text.probe_size,
    )
    schedule: str | int | Sequence[float] = option(
        "log",
        "When to measure: log (initialisation, fractions of the first epoch from 0.01 on, every epoch), epoch, a "
        "number of steps, or a list of epochs such as 0,0.5,1,5.",
        metavar="WHEN",
        parse=text.schedule,
        has_commas=True,
    )
    centering: str = option(
        "auto",
        "What the mean and variance of the inputs are taken over: all values (global), each channel, each pixel, "
        "or each feature; auto is feature for rows of features, else global.",
        choices=CENTERINGS,
        group=DATA,
    )
    vocabulary_size: int = option(
        VOCABULARY_SIZE,
        "Of texts: the most token ids; words that are less frequent in the training texts are one.",
        metavar="N",
        group=DATA,
    )
    sequence_length: int = option(
        SEQUENCE_LENGTH, "Of texts: cut each after N words; no more than the longest has.", metavar="N", group=DATA
    )
    train_examples: int | None = option(None, "Train on N examples, stratified.", unset="all", metavar="N", group=DATA)
    permute_labels: bool = option(False, "Permute the training labels; validation examples keep their own.", group=DATA)
    stop_at_loss: tuple[float, ...] = option(
        (),
        "Measure where the training loss reaches each of these, such as 1.0,0.3,0.1, and stop at the last; or none.",
        metavar="LOSSES",
        parse=text.losses,
        has_commas=True,
        group=STOPPING,
    )
    stop_interval: int = option(
        16,
        "Look at that loss every N steps of an epoch. Fastest where a multiple of 16 or 32.",
        metavar="N",
        group=STOPPING,
    )
    stop_examples: int = option(
        1000,
        "Training examples that the loss is of, a fixed sample; all where there are no more.",
        metavar="N",
        group=STOPPING,
    )
    stop_when_stiffness_drops: int = option(
        0,
        "For experiments: stop when stiffness lies below its maximum, by more than its error, in this many "
        "measurements in a row; never where 0. A validation loss tells far better when to stop. On the command line 3 "
        "where the number is left out.",
        metavar="[PATIENCE]",
        flag_value="3",
        group=STOPPING,
    )
    min_stiffness_drop: float = option(0.0, "By how much it has to be below, besides.", metavar="X", group=STOPPING)
    stiffness_monitor: str | None = option(
        None,
        "The stiffness of that drop and of the turning points that are told, such as sign_within_val_val.",
        unset="cosine_within_train_val",
        metavar="NAME",
        group=STOPPING,
    )
    metrics: tuple[str, ...] = option(
        METRICS,
        "Stiffness to show and to put into Keras' logs; records hold both.",
        choices=METRICS,
        several=True,
    )
    strategy: str = option(
        "none",
        "mirrored: train a copy of the model on each GPU of this machine, and divide each batch between them.",
        choices=STRATEGIES,
        group=RUNNING,
    )
    deterministic: bool = option(False, "Deterministic operations only: equal runs give equal records.", group=RUNNING)
    keep_models: bool = option(False, "Keep the weights at each measurement, for `Run.model_at`.", group=RUNNING)
    data_dir: str | None = option(
        None, "Folder of prepared TFDS data sets.", unset="TFDS's own", metavar="DIRECTORY", group=DATA
    )
    offline: bool = option(False, "Download nothing.", group=DATA)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_data_set(self.dataset)
        models.check_name(self.arch)
        check_numbers(self)
        if not 0 <= self.seed < 2**32:
            raise InvalidInput("The seed is out of range.", expected="0 to 4294967295", received=self.seed)
        if isinstance(self.schedule, Schedule):
            raise text.not_plain("schedule", '"log", "epoch", a number of steps, or a list of epochs', self.schedule)
        as_schedule(self.schedule)
        if not isinstance(self.preconditioner, str):
            raise text.not_plain("preconditioner", '"none" or "optimizer"', self.preconditioner)
        if not isinstance(self.weights, str):
            raise text.not_plain("choice of weights", "all, lora, head, or a regular expression", self.weights)
        levels = checked_levels(self.stop_at_loss)
        if levels and levels[-1] <= 0:
            raise InvalidInput("A training loss to stop at must be above 0.", expected="0.1", received=levels[-1])
        object.__setattr__(self, "stop_at_loss", levels)
        check_stiffness_drop(self)
        if self.objective is not None and not models.is_path(self.objective):
            raise InvalidInput(
                "An objective is a function of your own.", expected="package.module:function", received=self.objective
            )

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> RunSpec:
        """A specification with the settings of a version of the paper, and others in place of some.

        Args:
            name: `iclr` or `v1`.
            **changes: Settings that are to be otherwise.

        Raises:
            InvalidInput: There is no such preset or setting, or a value is out of range.
        """
        return cls(**{**preset(name).settings, **changes})

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RunSpec:
        """The specification in a run's config.json. What an older version did not write has its default.

        Raises:
            InvalidInput: A value cannot be used.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config.items() if name in names
        }
        return cls(**given)

    def __repr__(self) -> str:
        changed = (field.name for field in option_fields(type(self)) if getattr(self, field.name) != field.default)
        return f"RunSpec({', '.join(f'{name}={getattr(self, name)!r}' for name in changed)})"

    def as_config(self) -> dict[str, Any]:
        """All settings as JSON gives them back: lists for tuples, 1.0 for the rate 1."""
        fields = option_fields(type(self))
        settings = json.loads(json.dumps({field.name: getattr(self, field.name) for field in fields}))
        floats = [field.name for field in fields if field.type == "float"]
        return settings | {name: float(settings[name]) for name in floats}

    def measure_options(self) -> MeasureOptions:
        """What `measure` is told."""
        return part_of(self, MeasureOptions)

    def measured_steps(self, steps_per_epoch: int) -> list[int]:
        """The steps at which a run of this specification measures, 0 being initialisation.

        Points of the schedule between two steps are rounded to the nearer one, but not to 0; with the optimizer's
        preconditioner, which has none before its first step, there is no 0.

        Raises:
            InvalidInput: They are more than a folder can hold.
        """
        last = self.epochs * steps_per_epoch
        first = int(self.preconditioner == OPTIMIZER)
        number = last // self.schedule if isinstance(self.schedule, int) else self.epochs
        if number > _MOST_MEASUREMENTS:
            raise InvalidInput(
                f"The schedule asks for {number:,} measurements.",
                expected=f"at most {_MOST_MEASUREMENTS:,}",
                remedy="Train for fewer epochs, or measure more rarely.",
            )
        if isinstance(self.schedule, int):
            return list(range(first * self.schedule, last + 1, self.schedule))
        epochs: Sequence[float] = [*(log_fractions() if self.schedule == "log" else ()), *range(self.epochs + 1)]
        if isinstance(self.schedule, list | tuple):
            epochs = self.schedule
        steps = {max(round(epoch * steps_per_epoch), 1) if epoch else 0 for epoch in epochs}
        return sorted(step for step in steps if first <= step <= last)
