"""The scaled products of gradients as tiles see them, put together, with what the same pass gives besides."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff.gradients.gram import gram_of
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for


class Products(NamedTuple):
    """`gram[i, j] = scales[i] scales[j] (g_i · g_j)`; of each layer alone in `layers`, where asked for."""

    gram: np.ndarray
    scales: np.ndarray
    losses: np.ndarray
    predictions: Any
    layers: dict[str, np.ndarray]

    def unscaled(self) -> np.ndarray:
        return (self.gram / self.scales[:, None] / self.scales).astype(self.gram.dtype)


def gradient_products(
    model: Any, x: Any, y: Any, *, loss: Any = None, per_layer: bool = False, **options: Any
) -> Products:
    x, y = tf.nest.map_structure(np.asarray, (x, y))
    plan = plan_for(model, x, y, GradientOptions(**options), loss=loss)
    plan.prove(x, y)
    factors = plan.factors(*tf.nest.map_structure(tf.constant, (x, y)))
    layers = {}
    if per_layer:
        layers = {layer: gram_of(plan.products, [part]) for layer, part in plan.by_layer(factors).items()}
    return Products(
        gram_of(plan.products, [factors]),
        factors.scales.numpy().astype(np.float64),
        factors.losses.numpy(),
        tf.nest.map_structure(lambda output: output.numpy(), factors.predictions),
        layers,
    )
