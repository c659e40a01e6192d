"""Does the optimizer's next step do what gradients predict, and up to which learning rate?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.chosen_weights import chosen_weights
from tfstiff.gradients.objective import ObjectiveFunction, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.tracing import compiled
from tfstiff.measuring.arrays import Arrays
from tfstiff.measuring.directional import directional_stiffness
from tfstiff.measuring.directions import next_update
from tfstiff.measuring.finite_steps import loss_function, resolution_of, restored, take_step
from tfstiff.records.shown import Brief


@dataclass(frozen=True, repr=False)
class PredictedSteps(Brief):
    """What the optimizer's next step does to the loss of each example, beside what its gradient predicts.

    Attributes:
        learning_rates: (S,) float64, as given.
        changes: (S, n) float64, change of the loss of each example by the step.
        predicted: (S, n) float64, the change to first order, `g_i · Δθ`.
        resolution: (n,) float64, size below which a change of a loss may be rounding.
    """

    learning_rates: np.ndarray
    changes: np.ndarray
    predicted: np.ndarray
    resolution: np.ndarray

    @property
    def correlation(self) -> np.ndarray:
        """(S,) Pearson's r of predicted and actual changes, over the examples; NaN for fewer than three of them.

        Of examples of which at least one of the two is above the resolution.
        """
        found = []
        for change, predicted in zip(self.changes, self.predicted, strict=True):
            largest = np.maximum(np.abs(change), np.abs(predicted))
            kept = np.isfinite(change) & np.isfinite(predicted) & (largest > self.resolution)
            known = kept.sum() > 2 and change[kept].std() > 0 and predicted[kept].std() > 0
            found.append(np.corrcoef(change[kept], predicted[kept])[0, 1] if known else math.nan)
        return np.array(found)

    def linear_up_to(self, correlation: float = 0.99) -> float:
        """The largest learning rate up to which, and at all smaller ones that can be told, r is at least that.

        Args:
            correlation: The least r.

        Returns:
            NaN where there is none among the learning rates.
        """
        order = np.argsort(self.learning_rates)
        rates, found = self.learning_rates[order], self.correlation[order]
        rates, found = rates[~np.isnan(found)], found[~np.isnan(found)]
        within = np.logical_and.accumulate(found >= correlation)
        return float(rates[within][-1]) if within.any() else math.nan


@takes(GradientOptions)
@compiled()
def predicted_steps(
    model: keras.Model,
    x: Arrays,
    y: Any,
    batch: tuple[Any, Any],
    learning_rates: float | Sequence[float],
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    **options: Any,
) -> PredictedSteps:
    """Takes the compiled optimizer's next step on a batch, at several learning rates, and compares the losses.

    Each step is the one that `fit` would take on the batch from where weights and optimizer are now, momentum and decay
    included (see `directional_stiffness`, `next_update`), with another learning rate. Where `weights` chooses some,
    these alone are moved. The weights are those they were,
    bit for bit, when it returns or raises; the optimizer is not changed.

    Args:
        model: A compiled Keras model.
        x: Inputs of the n examples whose losses are compared.
        y: Their targets.
        batch: (x, y) of the step, as `fit` takes them.
        learning_rates: Above 0; one or several.
        loss: As `compile(loss=…)` takes it; None means the compiled one. Of the losses that are compared alone.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses; see `gradient_gram`.
        **options: Those of `GradientOptions`.

    Raises:
        InvalidInput: A learning rate is not above 0, or the optimizer has a schedule of them; or as
            `directional_stiffness` says of `next_update`.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    rates = _checked(learning_rates)
    updates = [next_update(model, batch, learning_rate=rate) for rate in rates.tolist()]
    x, y = tf.nest.map_structure(np.asarray, (x, y))
    found = [
        directional_stiffness(model, x, y, update, loss=loss, objective=objective, **options) for update in updates
    ]
    how = GradientOptions(**options)
    precision, moved = how.precision, chosen_weights(model, how.weights)
    ids = {id(weight) for weight in moved}
    losses = loss_function(model, x, y, resolve_objective(model, loss, objective), precision)
    changes = []
    with restored(moved) as weights:
        before = losses()
        for update in updates:
            parts = zip(update, model.trainable_weights, strict=True)
            step = np.concatenate([part.ravel() for part, weight in parts if id(weight) in ids])
            take_step(moved, weights, step, -1.0)
            changes.append(losses() - before)
    return PredictedSteps(
        learning_rates=rates,
        changes=np.array(changes),
        predicted=np.array([one.products[:, 0] for one in found]),
        resolution=resolution_of(model, moved, before, found[0].gradient_norms, precision),
    )


def _checked(given: Any) -> np.ndarray:
    try:
        rates = np.atleast_1d(np.asarray(given, np.float64))
    except (TypeError, ValueError):
        rates = np.array([])
    if rates.ndim != 1 or not len(rates) or not (np.isfinite(rates) & (rates > 0)).all():
        raise InvalidInput("Learning rates must be numbers above 0.", expected="1e-3, or several", received=given)
    return rates
