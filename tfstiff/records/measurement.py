"""One measurement of a model on a probe: a plain, immutable value. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.records.directions import DirectionEffects, direction_scalar_names, direction_scalars
from tfstiff.records.pair_set import HALVES_BY_NAME, METRICS, PairSetStiffness
from tfstiff.records.scores import ExampleScores
from tfstiff.records.shown import Brief, Showing, Shown, from_above

if TYPE_CHECKING:
    import pandas

PAIR_SETS = ("train_train", "train_val", "val_val")
HALVES = tuple(HALVES_BY_NAME.values())  # of the probe
ALL_WEIGHTS = "all"


@dataclass(frozen=True, repr=False)
class HalfSummary(Brief):
    """One half of the probe at the time of the measurement.

    Attributes:
        num_examples: Examples in this half.
        loss: Mean per-example loss (no regularisation, no weights).
        accuracy: Share classified rightly; NaN where there are no classes.
        num_zero_gradients: Examples whose gradient is exactly zero. Their sign and cosine with everything count as 0.
        num_nonfinite: Examples whose gradient has a NaN or infinite entry. Their pairs are left out.
        scores: Of each example; None where they were not computed.
        accuracies: Of a model of several outputs, the share classified rightly by each whose loss is one of classes, by
            its name; NaN where that cannot be told.
    """

    num_examples: int
    loss: float
    accuracy: float
    num_zero_gradients: int
    num_nonfinite: int
    scores: ExampleScores | None = field(default=None, compare=False, repr=False)
    accuracies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Measurement(Shown):
    """One measurement of a model on a probe. Printed, and at the end of a notebook's cell, it is a small table.

    Attributes:
        train: Summary of the probe's training half.
        validation: Summary of the probe's validation half.
        pair_sets: Results by pair set; indexing the measurement reads it: `m["train_val"].sign.matrix`.
        class_names: Names of the C classes; empty for regression targets.
        groups: The groups of classes that `blocks` compare, by name; empty where there are none.
        weights: With respect to which weights gradients were taken: `all`, `lora`, `head` or an expression, as it was
            chosen; of a function the places of what it chose among the trainable weights, `0-1, 4 of 6`.
        preconditioner: What D products `g_iᵀ D g_j` were of: "none", "optimizer", or the name of a function.
        plain: The same results without the preconditioner; empty where there was none.
        directions: Whether a step along each direction helps each class, by the direction's name; those asked for.
        reservations: What to bear in mind of it, a sentence each: classes without an example, examples that both halves
            have, inputs that are not normalised, variables that Keras does not know.
        step: Batches trained on when the model was measured; -1 where unknown.
        epoch: The same in epochs (fractional); NaN where unknown.
        updates: Optimizer updates applied; -1 where unknown.
        learning_rate: At that step; NaN where the optimizer has no single one.
        method: How the gradients were computed.
        layers: The same results from each layer's gradients alone, by the layer's path; empty unless asked for.
        sampled_pairs: Pairs multiplied, over all pair sets together, where not all were; else None.
        gram: (n, n) float32 products of all gradients, the training half first; kept on request, else None.
    """

    train: HalfSummary
    validation: HalfSummary
    pair_sets: Mapping[str, PairSetStiffness]
    class_names: tuple[str, ...] = ()
    step: int = -1
    epoch: float = float("nan")
    updates: int = -1
    learning_rate: float = float("nan")
    method: str = ""
    layers: Mapping[str, Mapping[str, PairSetStiffness]] = field(default_factory=dict)
    gram: np.ndarray | None = field(default=None, repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reservations: tuple[str, ...] = ()
    weights: str = ALL_WEIGHTS
    preconditioner: str = "none"
    plain: Mapping[str, PairSetStiffness] = field(default_factory=dict)
    sampled_pairs: int | None = None
    directions: Mapping[str, DirectionEffects] = field(default_factory=dict)

    def __getitem__(self, pair_set: str) -> PairSetStiffness:
        return self.pair_sets[pair_set]

    @property
    def plot(self) -> Any:
        """The figures of this measurement: `m.plot()`, `m.plot.class_matrix(metric="sign")`.

        See `tfstiff.figures.plotting.Plots`.
        """
        return from_above("figures.plotting", "Plots")(self)

    def _showing(self) -> Showing:
        return from_above("analysis.showings", "of_measurement")(self)

    def half(self, name: str) -> HalfSummary:
        """The summary of one half of the probe.

        Args:
            name: `train` or `validation`.

        Raises:
            InvalidInput: There is no such half.
        """
        if name not in HALVES:
            raise InvalidInput("Unknown half of the probe.", expected=" | ".join(HALVES), received=name)
        return getattr(self, name)

    def examples(self, half: str = "train", *, by_class: bool = False) -> pandas.DataFrame:
        """A row for each example of one half of the probe: how hard it is, and how it goes with the other examples.

        Columns: `example`, its place in the half; `class` and `predicted`, by name; `loss`, `gradient_norm` (GraNd),
        `el2n` and `margin`, as `tfstiff.records.scores.ExampleScores` says. Then, for the examples of each half H that
        it was compared with, mean stiffness with the *other* examples, each with its standard error in `…_se`:
        `sign_own_H` and `cosine_own_H` with those of its own class, `sign_others_H` and `cosine_others_H` with the mean
        of all other classes; `closest_class_H` and `cosine_closest_H`, the other class that it agrees with most;
        `opposed_class_H` and `cosine_opposed_H`, the one that it agrees with least. Without classes there are
        `sign_all_H` and `cosine_all_H`. What was not measured has no column.

        Args:
            half: `train` or `validation`.
            by_class: A row an example, half and class that it is compared with: `example`, `class`, `with_half`,
                `with_class`, `num_others`, `sign`, `sign_se`, `cosine`, `cosine_se`.

        Raises:
            InvalidInput: There is no such half.
            Unavailable: The record, of an older version, holds no scores of examples.
        """
        from tfstiff.records.example_frame import example_frame  # which imports pandas

        return example_frame(self.half(half).scores, self.class_names, by_class=by_class)

    def scalars(self) -> dict[str, float]:
        """All scalar results under the names that Keras logs carry, as Python floats.

        `stiffness_{sign|cosine}_{within|between}_{pair set}` (for regression targets `…_mean_…`), where classes are
        grouped `…_block_contrast_…` too, and `stiffness_critical_length_{pair set}`. With a preconditioner also
        `stiffness_sign_disagreement_…`, the share of pairs whose sign it turns. With directions also
        `stiffness_helped_by_{direction}_{half}`, the share of examples that a step along it helps, and
        `stiffness_cosine_with_{direction}_{half}`: means over classes.
        """
        return self._scalars("", lambda stiffness: stiffness.critical_length.value)

    def standard_errors(self) -> dict[str, float]:
        """Standard errors under the same names; NaN for critical lengths, whose intervals are not symmetric."""
        return self._scalars("_se", lambda _: float("nan"))

    def _scalars(self, suffix: str, critical_length: Callable[[PairSetStiffness], float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for pair_set, stiffness in self.pair_sets.items():
            for metric in METRICS:
                by_class = getattr(stiffness, metric)
                if by_class is None:
                    values = {"mean": getattr(stiffness, f"mean_{metric}{suffix}")}
                else:
                    values = {kind: getattr(by_class, f"{kind}{suffix}") for kind in ("within", "between")}
                    if by_class.blocks is not None:
                        values["block_contrast"] = getattr(by_class.blocks, f"contrast{suffix}")
                found |= {f"stiffness_{metric}_{part}_{pair_set}": float(value) for part, value in values.items()}
            if self.plain:
                differ = stiffness.sign_disagreement
                if differ is None:
                    values = {"mean": getattr(stiffness, f"mean_sign_disagreement{suffix}")}
                else:
                    values = {kind: getattr(differ, f"{kind}{suffix}") for kind in ("within", "between")}
                found |= {
                    f"stiffness_sign_disagreement_{part}_{pair_set}": float(value) for part, value in values.items()
                }
            found[f"stiffness_critical_length_{pair_set}"] = float(critical_length(stiffness))
        halves = [name for name in HALVES if self.half(name).num_examples]
        return found | direction_scalars(self.directions, halves, suffix)


def scalar_names(
    has_classes: bool,
    pair_sets: tuple[str, ...] = PAIR_SETS,
    *,
    has_groups: bool = False,
    has_preconditioner: bool = False,
    directions: tuple[str, ...] = (),
    halves: tuple[str, ...] = HALVES,
) -> tuple[str, ...]:
    """The names of a measurement's scalars, in order."""
    kinds = ("within", "between") if has_classes else ("mean",)
    parts = (*kinds, *(("block_contrast",) if has_groups and has_classes else ()))
    names = [f"{metric}_{part}" for metric in METRICS for part in parts]
    if has_preconditioner:
        names += [f"sign_disagreement_{kind}" for kind in kinds]
    of_pairs = [f"stiffness_{name}_{pair_set}" for pair_set in pair_sets for name in (*names, "critical_length")]
    return (*of_pairs, *direction_scalar_names(directions, halves))


def scalar_row(measurement: Measurement) -> dict[str, float | int]:
    """The scalars of one measurement as a flat row: when, losses, accuracies, stiffness."""
    return {
        "step": measurement.step,
        "epoch": measurement.epoch,
        "learning_rate": measurement.learning_rate,
        "train_loss": measurement.train.loss,
        "train_accuracy": measurement.train.accuracy,
        "validation_loss": measurement.validation.loss,
        "validation_accuracy": measurement.validation.accuracy,
        **{f"train_accuracy_{name}": share for name, share in measurement.train.accuracies.items()},
        **{f"validation_accuracy_{name}": share for name, share in measurement.validation.accuracies.items()},
        **measurement.scalars(),
    }
