"""The public functions: per-example gradients and the Gram matrix of their products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions, ProductOptions
from tfstiff.gradients.plan import default_chunk_size, plan_for
from tfstiff.gradients.preconditioner import diagonal_of
from tfstiff.gradients.scaled_products import arranged

_ROWS_TOGETHER = 64  # of a Gram matrix in double precision


@takes(ProductOptions)
def gradient_gram(
    model: keras.Model,
    x: Any,
    y: Any,
    x2: Any = None,
    y2: Any = None,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    per_layer: bool = False,
    **options: Any,
) -> np.ndarray | dict[str, np.ndarray]:
    """Computes the Gram matrix of per-example loss gradients, `K[i, j] = g_i · g_j`, or `g_iᵀ D g_j`.

    The gradients are those of each example's own loss with respect to the trainable weights, all or those that
    `weights` chooses, in inference mode, without sample weights and without regularisation losses.

    Args:
        model: A Keras model.
        x: Inputs as the model takes them (an array, or arrays in a list or dict); first axis the n examples.
        y: Targets as the loss takes them, (n, ...).
        x2: Inputs of m other examples for the columns; None means `x` again.
        y2: Their targets.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses of the n examples, or
            `(losses, predictions)`: for what a loss of predictions cannot say, such as `add_loss`, triplets, CTC or
            distillation. It is traced as a graph and must call the model by itself, in inference mode.
        per_layer: Whether to return the Gram matrix of each layer's weights instead. They add up to the whole.
        **options: Those of `ProductOptions`.

    Returns:
        (n, n), or (n, m), array of the dtype of the losses (float32 unless the model computes in double precision);
        with `per_layer` a dict of them by the layer's path.

    Raises:
        InvalidInput: An option is unknown, both a loss and an objective are given, the numbers of inputs and targets
            differ, no trainable weight is chosen, or there is no such preconditioner: the model has no optimizer, or
            one that has taken no step, or that scales gradients by no diagonal.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    if (x2 is None) != (y2 is None):
        raise InvalidInput("Other examples need both x2 and y2.", received="x2 alone" if y2 is None else "y2 alone")
    how = (ProductOptions(**options), loss, objective)
    diagonal = diagonal_of(model, how[0].preconditioner, how[0].weights)
    plan, x, y = proved_plan(model, x, y, *how)
    others = None
    if x2 is not None:
        plan2, x2, y2 = proved_plan(model, x2, y2, *how)  # before any factors: a failed proof changes the plan
        if plan2 is not plan:
            raise InvalidInput("x2 and y2 must be like x and y: the same structure, dtypes and shapes of one example.")
        others = _factor_tiles(plan, x2, y2)
    chunks = _factor_tiles(plan, x, y)
    unit = 1.0 if diagonal is None else diagonal.unit
    scales, scales2 = _scales(chunks) / unit, _scales(chunks if others is None else others)

    def multiply(chosen: Sequence[int] | None = None) -> Callable[..., tf.Tensor]:
        if diagonal is None:
            return plan.products
        return partial(plan.scaled_products, diagonals=arranged(diagonal.parts, chunks[0], plan.layout, chosen))

    if not per_layer:
        return _unscaled(gram_of(multiply(), chunks, others), scales, scales2)
    columns = None if others is None else _by_layer(plan, others)
    return {
        layer: _unscaled(
            gram_of(multiply(plan.layers[layer]), rows, None if columns is None else columns[layer]), scales, scales2
        )
        for layer, rows in _by_layer(plan, chunks).items()
    }


def gram_of(
    multiply: Callable[..., tf.Tensor],
    chunks: Sequence[GradientFactors],
    others: Sequence[GradientFactors] | None = None,
) -> np.ndarray:
    """Assembles the Gram matrix from the factors of chunks of examples, tile by tile.

    Args:
        multiply: `products`, traced, or `scaled_products` with a diagonal.
        chunks: Factors of the first set of examples, in order.
        others: Of the second set; None means the first again, of which only the tiles on and above the diagonal are
            computed.

    Returns:
        (n, m) array of products of the scaled gradients, exactly symmetric where `others` is None.
    """
    columns = chunks if others is None else others
    row_ends = np.cumsum([0, *(int(chunk.losses.shape[0]) for chunk in chunks)])
    column_ends = np.cumsum([0, *(int(chunk.losses.shape[0]) for chunk in columns)])
    gram = np.empty((row_ends[-1], column_ends[-1]), chunks[0].losses.dtype.as_numpy_dtype)
    for i, first in enumerate(chunks):
        for j, second in enumerate(columns):
            if others is None and j < i:
                continue
            is_square = others is None and i == j
            alone = is_square and any(columns.shape[1] != 1 for _, columns in first.outers)  # a trace of its own
            sides = [(side.formed, side.outers) for side in ((first,) if alone else (first, second))]
            tile = multiply(*sides).numpy()
            row, column = slice(*row_ends[i : i + 2]), slice(*column_ends[j : j + 2])
            if is_square:
                tile = (tile + tile.T) / 2
            gram[row, column] = tile
            if others is None and j > i:
                gram[column, row] = tile.T
    return gram


def proved_plan(
    model: keras.Model, x: Any, y: Any, options: GradientOptions, loss: Any, objective: ObjectiveFunction | None
) -> tuple[GradientPlan, Any, Any]:
    if not tf.executing_eagerly():
        raise InvalidInput(
            "This is computed outside of tf.function alone, and gives NumPy arrays.",
            received="a call while a graph is traced",
            remedy="Call it outside, such as in a callback, or take the gradients as tensors: per_example_gradients.",
        )
    x, y = tf.nest.map_structure(np.asarray, (x, y))
    plan = plan_for(model, x, y, options, loss=loss, objective=objective)
    plan.prove(x, y)
    return plan, x, y


def _by_layer(plan: GradientPlan, chunks: list[GradientFactors]) -> dict[str, list[GradientFactors]]:
    parts = [plan.by_layer(chunk) for chunk in chunks]
    return {layer: [part[layer] for part in parts] for layer in parts[0]}


def _unscaled(gram: np.ndarray, scales: np.ndarray, scales2: np.ndarray) -> np.ndarray:
    """The same array with the scales taken off, a few rows at a time: in double precision all of it would be large."""
    for start in range(0, len(gram), _ROWS_TOGETHER):
        rows = slice(start, start + _ROWS_TOGETHER)
        gram[rows] = gram[rows] / scales[rows, None] / scales2
    return gram


def _scales(chunks: list[GradientFactors]) -> np.ndarray:
    return np.concatenate([chunk.scales.numpy() for chunk in chunks]).astype(np.float64)


def _factor_tiles(plan: GradientPlan, x: Any, y: Any) -> list[GradientFactors]:
    """The factors of all examples, those of some together.

    Of a large model fewer are computed at a time than are multiplied: what is not formed, or formed in turn, would be
    so again for each pair of tiles.
    """
    count = len(tf.nest.flatten(x)[0])
    chunks = chunks_of(plan, x, y, plan.most_together(count))
    each = -(-len(chunks) // -(-count // default_chunk_size(plan.method)))
    return [
        _joined([plan.factors(*chunk)._replace(predictions=()) for chunk in chunks[first : first + each]])
        for first in range(0, len(chunks), each)
    ]


def _joined(chunks: list[GradientFactors]) -> GradientFactors:
    """The factors of several chunks as one; the chunks are used up, so that nothing is held twice for long."""
    if len(chunks) == 1:
        return chunks[0]
    one, parts = chunks[0], list(zip(*map(tf.nest.flatten, chunks), strict=True))[::-1]
    chunks.clear()
    structure = tf.nest.map_structure(lambda tensor: tensor.dtype, one)
    del one
    return tf.nest.pack_sequence_as(structure, [tf.concat(parts.pop(), 0) for _ in range(len(parts))])


def chunks_of(plan: GradientPlan, x: Any, y: Any, most: int | None = None) -> list[Any]:
    """The examples in chunks of nearly equal size. The traced functions take any number of examples.

    Args:
        plan: What computes their gradients.
        x: The inputs.
        y: The targets.
        most: Examples in a chunk at most; None for what the plan takes at once.
    """
    count, size = len(tf.nest.flatten(x)[0]), min(default_chunk_size(plan.method), plan.most_together())
    size = size if most is None else min(size, most)
    bounds = np.linspace(0, count, -(-count // size) + 1).astype(int)
    return [
        tf.nest.map_structure(lambda array, start=start, stop=stop: tf.constant(array[start:stop]), (x, y))
        for start, stop in pairwise(bounds)
    ]
