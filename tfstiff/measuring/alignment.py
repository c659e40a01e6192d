"""Alignment of per-example gradients of the last layer with its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfstiff._options import takes
from tfstiff.errors import UnsupportedModel
from tfstiff.gradients.gradient_factors import of_weights
from tfstiff.gradients.gram import chunks_of, proved_plan
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions
from tfstiff.measuring.arrays import Arrays

_UNIFORM = 1.2  # the excess kurtosis of a uniform distribution is −1.2


@dataclass(frozen=True)
class WeightAlignment:
    """Cosines of minus each example's gradient with the weights, of one kernel.

    Attributes:
        weight: Path of the kernel.
        values: (n,) float64, `cos(−g_i, W)`; above 0 where a step on the example lengthens W. 0 where g_i is zero.
    """

    weight: str
    values: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over examples whose gradient is finite; NaN without any."""
        kept = self._finite
        return float(kept.mean()) if len(kept) else math.nan

    @property
    def score(self) -> float:
        """The mean divided by excess kurtosis + 1.2; NaN where all values are the same."""
        kept = self._finite
        if len(kept) < 2 or not np.ptp(kept):
            return math.nan
        centred = kept - kept.mean()
        kurtosis = (centred**4).mean() / (centred**2).mean() ** 2 - 3
        return self.mean / (kurtosis + _UNIFORM) if kurtosis != -_UNIFORM else math.nan

    @property
    def _finite(self) -> np.ndarray:
        return self.values[np.isfinite(self.values)]


@takes(GradientOptions)
def weight_alignment(
    model: keras.Model,
    x: Arrays,
    y: Any,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    **options: Any,
) -> WeightAlignment:
    """Computes `cos(−g_i, W)` of each example, of the last layer's kernel W alone.

    Hölzl et al. 2025 (gradient–weight alignment, NeurIPS) take
    its mean, divided by the excess kurtosis of the values + 1.2, as a sign of generalisation.

    Args:
        model: A Keras model. W is its last trainable weight of two axes or more, of those that `weights` chooses.
        x: Inputs as the model takes them; first axis the n examples.
        y: Targets as the loss takes them.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss; see `gradient_gram`.
        **options: Those of `GradientOptions`.

    Raises:
        InvalidInput: An option is unknown, or the numbers of inputs and targets differ.
        UnsupportedModel: As for `gradient_gram`, or no weight has two axes.
    """
    plan, x, y = proved_plan(model, x, y, GradientOptions(**options), loss, objective)
    kernels = [place for place, weight in enumerate(plan.weights) if len(weight.shape) > 1]
    if not kernels:
        raise UnsupportedModel(
            "None of the weights measured has two axes, as that of a layer has that gradients align with."
        )
    chosen = kernels[-1]
    directions = [np.zeros((1, *weight.shape)) for weight in plan.weights]
    directions[chosen][0] = keras.ops.convert_to_numpy(plan.weights[chosen])
    length = float(np.linalg.norm(directions[chosen]))
    values = []
    for chunk in chunks_of(plan, x, y):
        factors = plan.factors(*chunk)
        count = int(factors.losses.shape[0])
        products = plan.products_along(factors, directions).get(chosen, np.zeros((count, 1)))[:, 0]
        norms = np.sqrt(of_weights(factors, plan.layout, {chosen}).squared_norms.numpy().astype(np.float64))
        scale = norms / factors.scales.numpy() * length
        values.append(np.divide(-products, scale, out=np.zeros(count), where=(scale > 0) | ~np.isfinite(scale)))
    return WeightAlignment(plan.weights[chosen].path, np.concatenate(values))
