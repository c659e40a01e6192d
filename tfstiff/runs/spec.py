"""`RunSpec`: everything that determines a run. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfstiff.analysis.loss_level import checked_levels
from tfstiff.analysis.overfitting import chosen_monitor
from tfstiff.callbacks.schedules import Schedule, as_schedule, log_fractions
from tfstiff.datasets.groupings import BUILT_IN, chosen_grouping
from tfstiff.errors import InvalidInput
from tfstiff.records import METRICS, PAIR_SETS, scalar_names
from tfstiff.runs.presets import preset
from tfstiff.runs.strategies import STRATEGIES
from tfstiff.stiffness.estimate import CRITICAL_LENGTH_METHODS, check_critical_length
from tfstiff.stiffness.pairs import COMPARED, DISTANCES

# What a setting may be, where it is one of a few.
CHOICES = {
    "distance": DISTANCES,
    "distance_pairs": COMPARED,
    "critical_length_method": CRITICAL_LENGTH_METHODS,
    "critical_length_metric": METRICS,
    "strategy": STRATEGIES,
}
_SEVERAL_OF = {"pair_sets": PAIR_SETS, "metrics": METRICS}
MEASURE_OPTIONS = (  # attributes that `measure` has under the same names
    *("method", "precision", "per_layer", "keep_gram", "memory_limit", "pair_sets"),
    *("distance", "space", "distance_pairs", "critical_length_method", "critical_length_metric", "groups"),
)


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run. The same specification and seed give the same training and records.

    The defaults are those of the preset `iclr`; `RunSpec.from_preset("v1")` has those of the first version.

    Attributes:
        dataset: Name in the catalog, or `npz:PATH`.
        arch: Name in `tfstiff.models.MODELS`, or `package.module:function`.
        learning_rate: Of Adam, constant.
        epochs: Number of epochs.
        batch_size: Examples of a training batch.
        seed: Of everything random: probe, initialisation, order of examples, permuted labels.
        probe_size: Examples of the probe from the training and the validation split.
        schedule: `"log"`, `"epoch"`, a number of steps, or a list of epochs.
        hidden: Widths of the hidden layers of `fc` and `fc-v1`; None means the network's own.
        centering: What the mean and variance are taken over: `global`, `channel` or `pixel`.
        train_examples: Number of training examples to use; None means all.
        permute_labels: Whether the training labels are permuted.
        stop_at_loss: Training losses at each of which stiffness is measured, and at the last of which training stops;
            see `StopAtTrainingLoss`. None where empty.
        stop_interval: Batches between evaluations of that loss.
        stop_examples: Training examples that it is of, or all where there are no more.
        stop_when_stiffness_drops: Measurements in a row below its maximum, each for sure, at which training stops; see
            `StopWhenStiffnessDrops`. Never where 0.
        stiffness_monitor: The stiffness in which that drop, and the onset of overfitting, is looked for: a name in
            `Measurement.scalars()`. None means the cosine within classes of `train_val`, where it is measured.
        min_stiffness_drop: By how much it has to be below, besides.
        pair_sets: Which of `train_train`, `train_val` and `val_val` are measured.
        metrics: Which of `sign` and `cosine` go into Keras' logs and into tables; records hold both.
        distance: Between two examples: `cosine` (1 − cos), `cosine_similarity` (cos), `l1` or `l2`.
        space: Where distances are measured: `input`, a layer's name (its output) or `all` (input and every layer).
        distance_pairs: Pairs compared by distance: of the same class (`within`), of different ones (`between`), or
            `all`.
        critical_length_method: How ξ is found: `linear`, `fixed_effects`, `linear_binned`, `first_crossing` or
            `isotonic`.
        critical_length_metric: The stiffness of which ξ is the zero: `cosine` or `sign`.
        groups: Groups of classes whose blocks in the class matrix are compared: `auto` (CIFAR's built-in ones, and of
            other data sets none), `none`, or what `measure` takes. What is read from a file or text stands here itself.
        method: How gradients are computed; see `gradient_gram`.
        precision: In which gradients are computed: `float32`, `float64`, or `policy`, that of the layers.
        per_layer: Whether each layer's gradients are measured by themselves too.
        strategy: `none`, or `mirrored`: a copy of the model on each GPU of this machine.
        deterministic: Whether TensorFlow is told to use deterministic operations only.
        keep_gram: Whether records keep the products of all gradients.
        keep_models: Whether the weights at each measurement are kept, for `Run.model_at`.
        memory_limit: Bytes that a measurement's gradients may take; None means half of what is free. How they are
            divided changes records by rounding, so it matters to equal runs only where memory is short.
        data_dir: Folder of prepared TFDS data sets; None means TFDS's own.
        offline: Whether nothing may be downloaded.

    Raises:
        InvalidInput: A value is out of range.
    """

    dataset: str = "fashion_mnist_mini"
    arch: str = "fc"
    learning_rate: float = 8e-4
    epochs: int = 10
    batch_size: int = 32
    seed: int = 0
    probe_size: tuple[int, int] = (500, 500)
    schedule: str | int | Sequence[float] = "log"
    hidden: tuple[int, ...] | None = None
    centering: str = "global"
    train_examples: int | None = None
    permute_labels: bool = False
    stop_at_loss: tuple[float, ...] = ()
    stop_interval: int = 16
    stop_examples: int = 1000
    stop_when_stiffness_drops: int = 0
    stiffness_monitor: str | None = None
    min_stiffness_drop: float = 0.0
    pair_sets: tuple[str, ...] = PAIR_SETS
    metrics: tuple[str, ...] = METRICS
    distance: str = "cosine"
    space: str = "input"
    distance_pairs: str = "within"
    critical_length_method: str = "linear"
    critical_length_metric: str = "cosine"
    groups: str | Mapping[str, Sequence[str]] = "auto"
    method: str = "auto"
    precision: str = "float32"
    per_layer: bool = False
    strategy: str = "none"
    deterministic: bool = False
    keep_gram: bool = False
    keep_models: bool = False
    memory_limit: int | None = None
    data_dir: str | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if not (isinstance(rate, numbers.Real) and math.isfinite(rate) and rate > 0):
            raise InvalidInput("The learning rate must be a number above 0.", expected="such as 8e-4", received=rate)
        counts = {name: getattr(self, name) for name in ("epochs", "batch_size", "stop_interval", "stop_examples")}
        counts |= {f"probe_size[{index}]": size for index, size in enumerate(self.probe_size)}
        counts |= {f"hidden[{index}]": width for index, width in enumerate(self.hidden or ())}
        for name, count in counts.items():
            if not isinstance(count, int) or count < 1:
                raise InvalidInput(f"{name} must be a whole number above 0.", expected="1 or more", received=count)
        if not 0 <= self.seed < 2**32:
            raise InvalidInput("The seed is out of range.", expected="0 to 4294967295", received=self.seed)
        if isinstance(self.schedule, Schedule):
            raise InvalidInput(
                "The schedule of a run must be plain, so that it can be kept with it.",
                expected='"log", "epoch", a number of steps, or a list of epochs',
                received=self.schedule,
            )
        as_schedule(self.schedule)
        if self.memory_limit is not None and not (isinstance(self.memory_limit, int) and self.memory_limit > 0):
            raise InvalidInput("The memory limit must be a number of bytes.", received=self.memory_limit)
        levels = checked_levels(self.stop_at_loss)
        if levels and levels[-1] <= 0:
            raise InvalidInput("A training loss to stop at must be above 0.", expected="0.1", received=levels[-1])
        object.__setattr__(self, "stop_at_loss", levels)
        for name, choices in CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        for name, choices in _SEVERAL_OF.items():
            object.__setattr__(self, name, _checked_subset(name, getattr(self, name), choices))
        if not isinstance(self.space, str) or not self.space:
            raise InvalidInput("Unknown space.", expected="input, all, or the name of a layer", received=self.space)
        check_critical_length(
            self.critical_length_method, self.critical_length_metric, self.distance, self.distance_pairs
        )
        grouping = chosen_grouping(self.groups)
        if grouping is not None and not (isinstance(self.groups, str) and self.groups in BUILT_IN):
            object.__setattr__(self, "groups", {name: list(classes) for name, classes in grouping.items()})
        self._check_stiffness_drop()

    def _check_stiffness_drop(self) -> None:
        patience, least = self.stop_when_stiffness_drops, self.min_stiffness_drop
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 0:
            raise InvalidInput(
                "The patience with a drop of stiffness must be a whole number of measurements.",
                expected="1 or more, or 0 to go on training",
                received=patience,
            )
        if not (isinstance(least, numbers.Real) and 0 <= least < math.inf):
            raise InvalidInput("The least drop of stiffness must be a number from 0 on.", received=least)
        chosen_monitor(self.stiffness_monitor, scalar_names(True, self.pair_sets, has_groups=self.groups != "none"))

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> RunSpec:
        """A specification with the settings of a version of the paper, and others in place of some.

        Args:
            name: `iclr` or `v1`.
            **changes: Attributes that are to be otherwise.

        Raises:
            InvalidInput: There is no such preset, or a value is out of range.
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

    def as_config(self) -> dict[str, Any]:
        """All settings as JSON gives them back: lists for tuples, 1.0 for the rate 1."""
        settings = json.loads(json.dumps(dataclasses.asdict(self)))
        floats = [field.name for field in dataclasses.fields(self) if field.type == "float"]
        return settings | {name: float(settings[name]) for name in floats}

    def measure_options(self) -> dict[str, Any]:
        """The options of `measure` that differ from its defaults."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name in MEASURE_OPTIONS if (value := getattr(self, name)) != defaults[name]}

    def measured_steps(self, steps_per_epoch: int) -> list[int]:
        """The steps at which a run of this specification measures, 0 being initialisation.

        Points of the schedule between two steps are rounded to the nearer one, but not to 0.
        """
        last = self.epochs * steps_per_epoch
        if isinstance(self.schedule, int):
            return list(range(0, last + 1, self.schedule))
        epochs: Sequence[float]
        if isinstance(self.schedule, list | tuple):
            epochs = self.schedule
        else:
            epochs = [*(log_fractions() if self.schedule == "log" else ()), *range(self.epochs + 1)]
        steps = {max(round(epoch * steps_per_epoch), 1) if epoch else 0 for epoch in epochs}
        return sorted(step for step in steps if step <= last)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidInput(f"Unknown {name.replace('_', ' ')}.", expected=" or ".join(choices), received=value)


def _checked_subset(name: str, values: Any, choices: Sequence[str]) -> tuple[str, ...]:
    """Some of `choices`, in their order."""
    is_list = isinstance(values, list | tuple) and len(values) > 0
    if not is_list or not all(value in choices for value in values):
        raise InvalidInput(
            f"The {name.replace('_', ' ')} cannot be used.",
            expected=f"one or several of {', '.join(choices)}",
            received=values,
        )
    return tuple(choice for choice in choices if choice in values)
