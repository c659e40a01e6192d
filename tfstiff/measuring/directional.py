"""What a step along a direction in weight space does to each example's loss, to first order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstiff._options import takes
from tfstiff.datasets.classes import read_classes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.gram import chunks_of, proved_plan
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions
from tfstiff.measuring.arrays import Arrays
from tfstiff.measuring.directions import Directions, directions_of
from tfstiff.measuring.summation.held import lengths_of


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
    return stiffness_along(plan, found, chunks_of(plan, x, y))


def stiffness_along(plan: GradientPlan, found: Directions, chunks: Iterable[Any]) -> DirectionalStiffness:
    """The same of directions in the weights of a plan, for the examples of its chunks, (x, y) each, at least one."""
    wholes = {"": list(range(len(plan.weights)))} | plan.layers
    parts: dict[str, list[Products]] = {layer: [] for layer in wholes}
    losses = []
    for chunk in chunks:
        factors = plan.factors(*chunk)
        losses.append(factors.losses.numpy().astype(np.float64))
        products = plan.products_along(factors, found.parts)
        by_layer = {"": factors} | plan.by_layer(factors)
        for layer, weights in wholes.items():
            parts[layer].append(products_of(by_layer[layer], products, weights, found))
    whole, *layers = (joined(found, weights, parts[layer], np.concatenate(losses)) for layer, weights in wholes.items())
    return DirectionalStiffness(**{**vars(whole), "layers": dict(zip([*wholes][1:], layers, strict=True))})


class Products(NamedTuple):
    """Of some examples: (n, D) products with directions, and (n,) lengths of the gradients, both float64."""

    products: np.ndarray
    norms: np.ndarray


def products_of(
    factors: GradientFactors, by_weight: Mapping[int, np.ndarray], weights: Iterable[int], directions: Directions
) -> Products:
    """Those of some weights.

    Args:
        factors: Of the gradients with respect to these weights.
        by_weight: As `GradientPlan.products_along` returns them.
        weights: Their indices.
        directions: The directions.
    """
    _, norms = lengths_of(factors)
    nothing = np.zeros((len(norms), len(directions.names)))
    return Products(sum((by_weight[weight] for weight in weights if weight in by_weight), nothing), norms)


def joined(
    directions: Directions, weights: Sequence[int], parts: Sequence[Products], losses: np.ndarray
) -> DirectionalStiffness:
    """Of some of the weights; `parts` are of consecutive examples."""
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
    for place, label in enumerate(present):
        members = np.flatnonzero(of == label)
        own = tf.nest.map_structure(lambda array, members=members: array[members], (x, y))
        for chunk in chunks_of(plan, *own):
            for weight, total in plan.sums_by_weight(plan.factors(*chunk)).items():
                totals[weight][place] += total.numpy().reshape(totals[weight].shape[1:]) / counts[label]
    return Directions(tuple(str(classes.names[place]) for place in present), totals)
