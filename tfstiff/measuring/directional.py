"""What a step along a direction in weight space does to each example's loss, to first order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._options import takes
from tfstiff.datasets.classes import read_classes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.directional import products_by_weight
from tfstiff.gradients.gradient_factors import gradients_by_weight
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.gram import chunks_of, proved_plan
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions
from tfstiff.measuring.arrays import Arrays
from tfstiff.measuring.directions import Directions, directions_of


@dataclass(frozen=True)
class DirectionalStiffness:
    """Products of n per-example gradients with D directions.

    A small step ε along a direction v changes the loss of example i by `ε g_i · v`: below 0, the step helps it.

    Attributes:
        names: Names of the D directions.
        products: (n, D) float64, `g_i · v`; NaN where a gradient is not finite.
        cosines: (n, D) float64, cosines of gradients and directions; 0 where either is zero.
        gradient_norms: (n,) float64, lengths of the gradients.
        lengths: (D,) float64, lengths of the directions.
        losses: (n,) float64, losses of the examples.
        layers: The same of each layer's weights alone, by the layer's path. Products add up.
    """

    names: tuple[str, ...]
    products: np.ndarray
    cosines: np.ndarray
    gradient_norms: np.ndarray
    lengths: np.ndarray
    losses: np.ndarray
    layers: Mapping[str, DirectionalStiffness] = field(default_factory=dict)


@takes(GradientOptions)
def directional_stiffness(
    model: keras.Model,
    x: Arrays,
    y: Any,
    direction: str | Sequence[Any],
    *,
    since: Sequence[Any] | None = None,
    batch: tuple[Any, Any] | None = None,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    **options: Any,
) -> DirectionalStiffness:
    """Computes `g_i · v` and its cosine, of each example's loss gradient with a direction v in weight space.

    The gradients are those of `gradient_gram`, of every model that it takes; of a direction the part in the weights
    that `weights` chooses counts. Model and optimizer are not changed.

    Args:
        model: A Keras model.
        x: Inputs as the model takes them; first axis the n examples.
        y: Targets as the loss takes them.
        direction: Arrays like `model.trainable_weights`, or a name. `weights`: the weights themselves.
            `since_initialisation` and `update`: from the weights `since` to those of now. `next_update`: what the
            compiled optimizer would add to the weights after `batch`, as `fit` would train on it. `class_means`: the
            mean gradients of the examples of each class, one direction a class, in the order of the labels.
        since: Arrays like `model.trainable_weights`, of an earlier moment.
        batch: (x, y), as `fit` takes them.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses; see `gradient_gram`.
        **options: Those of `GradientOptions`.

    Raises:
        InvalidInput: An option or name is unknown; a direction has other shapes, holds NaN, or is zero; `since` or
            `batch` is missing; the model has no optimizer, one that scales losses, or a training step of its own; or
            there are no classes to take means of.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    plan, x, y = proved_plan(model, x, y, GradientOptions(**options), loss, objective)
    means = partial(class_mean_directions, plan, x, y)
    found = directions_of(model, direction, means, measured=plan.weights, since=since, batch=batch)
    return stiffness_along(plan, found, chunks_of(plan, x, y), per_layer=True)


def stiffness_along(
    plan: GradientPlan, found: Directions, chunks: Iterable[Any], *, per_layer: bool = False
) -> DirectionalStiffness:
    """The same of directions in the weights of a plan, for the examples of its chunks, (x, y) each.

    Args:
        plan: Computes the gradients.
        found: The directions.
        chunks: At least one.
        per_layer: Whether to tell of each layer's weights alone, too.
    """
    wholes = {"": list(range(len(plan.weights)))} | (plan.layers if per_layer else {})
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {layer: [] for layer in wholes}
    losses = []
    for chunk in chunks:
        factors = plan.factors(*chunk)
        losses.append(factors.losses.numpy().astype(np.float64))
        products = products_by_weight(factors, plan.layout, found.parts)
        by_layer = {"": factors} | (plan.by_layer(factors) if per_layer else {})
        nothing = np.zeros((len(losses[-1]), len(found.names)))
        for layer, weights in wholes.items():
            norms = np.sqrt(by_layer[layer].squared_norms.numpy().astype(np.float64)) / factors.scales.numpy()
            parts[layer].append((sum((products[w] for w in weights if w in products), nothing), norms))
    whole, *layers = (
        _stiffness(found, weights, parts[layer], np.concatenate(losses)) for layer, weights in wholes.items()
    )
    return DirectionalStiffness(**{**vars(whole), "layers": dict(zip([*wholes][1:], layers, strict=True))})


def _stiffness(
    directions: Directions,
    weights: Sequence[int],
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    losses: np.ndarray,
) -> DirectionalStiffness:
    """Of some of the weights; `parts` holds products and norms of consecutive examples."""
    lengths = Directions(directions.names, [directions.parts[weight] for weight in weights]).lengths
    products, norms = (np.concatenate(some) for some in zip(*parts, strict=True))
    is_finite = np.isfinite(norms)
    products = np.where(is_finite[:, None], products, np.nan)
    scale = np.outer(norms, lengths)
    cosines = np.divide(products, scale, out=np.zeros_like(products), where=(scale > 0) | ~np.isfinite(scale))
    return DirectionalStiffness(directions.names, products, cosines, norms, lengths, losses)


def class_mean_directions(plan: GradientPlan, x: Arrays, y: Any) -> Directions:
    """The mean gradients of the examples of each class that occurs.

    Args:
        plan: Computes the gradients.
        x: Inputs.
        y: Targets that can be read as classes.

    Raises:
        InvalidInput: They cannot.
    """
    if not isinstance(y, np.ndarray):
        raise InvalidInput("There are no classes to take means of: there are several targets.", received=type(y))
    classes = read_classes([y], ())
    if classes is None:
        raise InvalidInput("There are no classes to take means of: the targets are numbers.", received=y[:3])
    (of,) = classes.of
    size = len(classes.names)
    counts = np.bincount(of, minlength=size)
    present = np.flatnonzero(counts)
    totals = [np.zeros((len(present), *weight.shape)) for weight in plan.weights]
    start = 0
    for chunk in chunks_of(plan, x, y):
        factors = plan.factors(*chunk)
        count = int(factors.losses.shape[0])
        members = (of[start : start + count, None] == present) / counts[present]
        start += count
        for total, gradients in zip(totals, gradients_by_weight(factors, plan.layout), strict=True):
            total += (
                tf.matmul(tf.constant(members, gradients.dtype), gradients, transpose_a=True)
                .numpy()
                .reshape(total.shape)
            )
    return Directions(tuple(str(classes.names[place]) for place in present), totals)
