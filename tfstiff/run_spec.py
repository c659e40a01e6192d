"""`RunSpec`: everything that determines a run. Imports no TensorFlow."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

from tfstiff.errors import InvalidInput
from tfstiff.schedules import Schedule, as_schedule, log_fractions


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run. The same specification and seed give the same training and records.

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
        method: How gradients are computed; see `gradient_gram`.
        precision: In which gradients are computed: `float32`, `float64`, or `policy`, that of the layers.
        per_layer: Whether each layer's gradients are measured by themselves too.
        deterministic: Whether TensorFlow is told to use deterministic operations only.
        keep_gram: Whether records keep the products of all gradients.
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
    method: str = "auto"
    precision: str = "float32"
    per_layer: bool = False
    deterministic: bool = False
    keep_gram: bool = False
    data_dir: str | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if not (isinstance(rate, numbers.Real) and math.isfinite(rate) and rate > 0):
            raise InvalidInput("The learning rate must be a number above 0.", expected="such as 8e-4", received=rate)
        counts = {"epochs": self.epochs, "batch_size": self.batch_size}
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
