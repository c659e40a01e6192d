"""Where the linear regime ends: what a step of a given size on one example does to the losses of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients import gradient_gram, per_example_gradients
from tfstiff.gradients.chosen_weights import chosen_weights
from tfstiff.gradients.loss import num_parameters
from tfstiff.gradients.objective import Objective, ObjectiveFunction, check_model, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.tracing import coarsest_dtype, compiled, traceable
from tfstiff.measuring.labels import as_read, check_labels
from tfstiff.measuring.probe import Probe
from tfstiff.records import PAIR_SETS
from tfstiff.records.shown import Brief

_GRADIENT_BYTES = 2**28  # of per-example gradients held at a time
_CHUNK = 250  # examples whose losses are evaluated in one call
_ROUNDING = 8  # units in the last place that a loss may be off


@dataclass(frozen=True, repr=False)
class FiniteStepStiffness(Brief):
    """Changes of losses by steps on single examples, beside what their gradients predict.

    Attributes:
        step_sizes: (S,) float64, as given.
        changes: (S, n, m) float64, change of the loss of example j by the step on example i.
        predicted: (S, n, m) float64, the change to first order, `−ε g_i · g_j`.
        resolution: (m,) float64, size below which a change of the loss of example j may be rounding.
        is_symmetric: Whether the n and the m examples are the same. Self pairs are in no summary then.
    """

    step_sizes: np.ndarray
    changes: np.ndarray
    predicted: np.ndarray
    resolution: np.ndarray
    is_symmetric: bool

    @property
    def ratios(self) -> np.ndarray:
        """(S, n, m) `changes / predicted`, 1 in the linear regime; NaN where the prediction is below the resolution."""
        return np.where(self._resolved, self.changes / np.where(self._resolved, self.predicted, 1), np.nan)

    @property
    def resolved_share(self) -> np.ndarray:
        """(S,) share of pairs whose predicted change is above the resolution; the other summaries are of these."""
        return self._resolved.sum((1, 2)) / max(1, int(self._pairs.sum()))

    @property
    def sign_agreement(self) -> np.ndarray:
        """(S,) share of pairs whose losses change in the direction that `sign(g_i · g_j)` says; NaN without pairs."""
        return self._share(np.sign(self.changes) == np.sign(self.predicted))

    @property
    def median_ratio(self) -> np.ndarray:
        """(S,) median of the ratios; NaN without pairs."""
        return self._medians(self.ratios)

    @property
    def median_deviation(self) -> np.ndarray:
        """(S,) median of `|ratio − 1|`: how far a typical pair is from linear; NaN without pairs."""
        return self._medians(np.abs(self.ratios - 1))

    def linear_up_to(self, tolerance: float = 0.1) -> float:
        """The largest step size up to which, and below which at all sizes, the median deviation is in the tolerance.

        Args:
            tolerance: Of `|ratio − 1|`.

        Returns:
            NaN where there is none among the step sizes.
        """
        order = np.argsort(self.step_sizes)
        within = np.logical_and.accumulate(self.median_deviation[order] <= tolerance)
        return float(self.step_sizes[order][within][-1]) if within.any() else math.nan

    @property
    def _pairs(self) -> np.ndarray:
        counted = np.ones(self.changes.shape[1:], bool)
        if self.is_symmetric:
            np.fill_diagonal(counted, False)
        return counted

    @property
    def _resolved(self) -> np.ndarray:
        is_known = np.isfinite(self.changes) & np.isfinite(self.predicted)
        return self._pairs & is_known & (np.abs(np.where(is_known, self.predicted, 0)) > self.resolution)

    def _share(self, holds: np.ndarray) -> np.ndarray:
        count = self._resolved.sum((1, 2))
        return np.where(count > 0, (holds & self._resolved).sum((1, 2)) / np.maximum(count, 1), np.nan)

    def _medians(self, values: np.ndarray) -> np.ndarray:
        return np.array([np.median(one[~np.isnan(one)]) if not np.isnan(one).all() else np.nan for one in values])


@takes(GradientOptions)
@compiled()
def finite_step_stiffness(
    model: keras.Model,
    probe: Probe,
    step_size: float | Sequence[float],
    *,
    pair_set: str = "train_val",
    normalized: bool = False,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    **options: Any,
) -> FiniteStepStiffness:
    """Takes the step `θ − ε g_i` for each example i and compares the losses of all examples j before and after.

    Stiffness is defined by the change of one example's loss after a step on another, `ΔL = −ε g_i · g_j + O(ε²)`
    (equations 2 and 3 of the paper), and measured by the first-order term. This function tells for which ε that is what
    a step does, at the cost of one evaluation of all losses for each step. Where `weights` chooses some, steps move
    these alone. The weights are those they were, bit for bit, when it returns or raises. Losses are computed in the
    precision of gradients; weights keep their own, and small steps drown in its rounding: see `resolution`.

    Args:
        model: A Keras model.
        probe: The examples.
        step_size: ε above 0, or several.
        pair_set: `train_val`: steps on training, losses of validation examples; `train_train` or `val_val`.
        normalized: Whether steps go along `g_i / |g_i|`, so that ε is their length in weight space; an example without
            gradient moves nothing.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses; see `gradient_gram`.
        **options: Those of `GradientOptions`.

    Raises:
        InvalidInput: A step size is not above 0, or the pair set, an option or a label is unknown.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    sizes = np.atleast_1d(np.asarray(step_size, np.float64))
    if sizes.ndim != 1 or not len(sizes) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise InvalidInput("Step sizes must be numbers above 0.", expected="1e-3, or several", received=step_size)
    if pair_set not in PAIR_SETS:
        raise InvalidInput("Unknown pair set.", expected=" | ".join(PAIR_SETS), received=pair_set)
    probe.pair_sets_of([pair_set])
    first, second = ({"train": probe.train, "val": probe.validation}[half] for half in pair_set.split("_"))
    resolved = resolve_objective(model, loss, objective)
    check_model(model, first.x, first.y, resolved)
    check_labels(model, as_read(probe, resolved), resolved)
    how = GradientOptions(**options)
    precision, chosen = how.precision, chosen_weights(model, how.weights)
    options |= {"loss": loss, "objective": objective}
    products = np.asarray(gradient_gram(model, first.x, first.y, second.x, second.y, **options), np.float64)
    columns = np.asarray(gradient_gram(model, second.x, second.y, **options), np.float64)
    losses = loss_function(model, second.x, second.y, resolved, precision)

    lengths = np.zeros(len(first))
    changes = np.full((len(sizes), len(first), len(second)), np.nan)
    with restored(chosen) as weights:
        before = losses()
        rows = max(1, _GRADIENT_BYTES // (4 * num_parameters(chosen)))
        for start in range(0, len(first), rows):
            take_step(chosen, weights, None, 0.0)
            x, y = keras.tree.map_structure(lambda array, start=start: array[start : start + rows], (first.x, first.y))
            for index, gradient in enumerate(per_example_gradients(model, x, y, **options), start):
                lengths[index] = np.linalg.norm(gradient.astype(np.float64))
                if not np.isfinite(lengths[index]):
                    continue
                for place, size in enumerate(sizes.tolist()):
                    take_step(chosen, weights, gradient, size * _scale(lengths[index], normalized))
                    changes[place, index] = losses() - before
    scales = np.array([_scale(length, normalized) for length in lengths])
    return FiniteStepStiffness(
        step_sizes=sizes,
        changes=changes,
        predicted=-sizes[:, None, None] * (products * scales[:, None]),
        resolution=resolution_of(model, chosen, before, np.sqrt(np.diag(columns)), precision),
        is_symmetric=first is second,
    )


def _scale(length: float, normalized: bool) -> float:
    if not normalized:
        return 1.0
    return 1 / length if length > 0 else 0.0


@contextmanager
def restored(variables: Sequence[keras.Variable]) -> Iterator[list[np.ndarray]]:
    """Gives copies of weights, and at the end assigns them."""
    weights = [np.array(weight.numpy()) for weight in variables]
    try:
        yield weights
    finally:
        take_step(variables, weights, None, 0.0)


def take_step(
    variables: Sequence[keras.Variable], weights: list[np.ndarray], gradient: np.ndarray | None, size: float
) -> None:
    """Assigns `weights − size · gradient`, the gradient flat; `weights` themselves without one."""
    start = 0
    for variable, value in zip(variables, weights, strict=True):
        if gradient is not None:
            part = gradient[start : start + value.size].reshape(value.shape)
            start += value.size
            value = (value - size * part).astype(value.dtype, copy=False)
        variable.assign(value)


def loss_function(model: keras.Model, x: Any, y: Any, objective: Objective, precision: str) -> Callable[[], np.ndarray]:
    """A function that evaluates the loss of each example, (m,) float64, with the weights of the moment."""

    def losses(x: Any, y: Any) -> tf.Tensor:
        with traceable(model, precision):
            return objective(model, x, y)[0]

    evaluate = quietly_traced(losses, reduce_retracing=True)
    count = len(keras.tree.flatten(x)[0])
    chunks = [
        keras.tree.map_structure(lambda array, start=start: tf.constant(array[start : start + _CHUNK]), (x, y))
        for start in range(0, count, _CHUNK)
    ]
    return lambda: np.concatenate([evaluate(*chunk).numpy() for chunk in chunks]).astype(np.float64)


def resolution_of(
    model: keras.Model,
    moved: Sequence[keras.Variable],
    losses: np.ndarray,
    lengths: np.ndarray,
    precision: str,
) -> np.ndarray:
    """(m,) size of the changes that rounding makes: of the losses, and of the weights after a step.

    Each weight is off by up to half a unit in its last place. Weight by weight that adds `g_jk δ_k` to the loss, which
    together stay below `|g_j|` times the largest error of a weight, unless the errors conspire.
    """
    computed = coarsest_dtype(model) if precision == "policy" else tf.as_dtype(precision)
    largest = max(
        float(np.abs(weight.numpy().astype(np.float64)).max(initial=0)) * _epsilon(tf.as_dtype(weight.dtype))
        for weight in moved
    )
    return _ROUNDING * _epsilon(computed) * np.maximum(1, np.abs(losses)) + largest * lengths


def _epsilon(dtype: tf.DType) -> float:
    return float(tf.experimental.numpy.finfo(dtype.as_numpy_dtype).eps)
