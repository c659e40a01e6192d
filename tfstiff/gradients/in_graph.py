"""Per-example gradients as tensors of a graph that is being traced, such as that of a training step of one's own.

What computes them is traced and proved beforehand, on examples that have values; the graph then calls it.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import InvalidInput, TfstiffError, UnsupportedModel
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import default_chunk_size, forget, plan_for
from tfstiff.gradients.reference import Jacobian, Loop

_MADE_UP = 8  # examples


def gradients_in_graph(
    model: keras.Model, x: Any, y: Any, options: GradientOptions, loss: Any, objective: ObjectiveFunction | None
) -> tf.Tensor:
    """(n, P): the gradients of examples that have no values yet, as a tensor of the graph being traced.

    Args:
        model: As for `per_example_gradients`.
        x: Inputs; first axis the n examples, whose number need not be known.
        y: Targets.
        options: How gradients are computed.
        loss: As for `per_example_gradients`.
        objective: In place of a loss.

    Raises:
        InvalidInput: The shape of one example is not known, or as `per_example_gradients`.
        UnsupportedModel: Nothing is proved on examples that are made up, a way needs values, or there are replicas.
    """
    if not tf.distribute.in_cross_replica_context() and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise UnsupportedModel(
            "Gradients cannot be traced in a step of one of several replicas, each of which has weights of its own.",
            received=type(tf.distribute.get_strategy()).__name__,
            remedy="Train with one replica, or call it outside of the step, such as in a callback.",
        )
    x, y = tf.nest.map_structure(tf.convert_to_tensor, (x, y))
    for tensor in tf.nest.flatten((x, y)):
        if not tensor.shape.rank or not tensor.shape[1:].is_fully_defined():
            raise InvalidInput(
                "The shape of one example is not known while the function is traced.",
                expected="tensors (n, ...) of which at most n is unknown",
                received=tensor.shape,
                remedy="Tell it by tf.ensure_shape, or by the input_signature of the function.",
            )
    with tf.init_scope():  # out of the graph
        some_x, some_y = _made_up(x, y)
        plan = _proved_plan(model, some_x, some_y, options, loss=loss, objective=objective)
    for part in plan.parts:
        if isinstance(part, Loop | Jacobian):
            raise UnsupportedModel(
                f"Gradients of this model take the way {type(part).__name__.lower()}, which needs values, and a graph "
                "that is traced has none.",
                received=f"method={options.method!r}",
                remedy='Use method="auto" or "vectorized", choose other weights=, or call it outside of tf.function.',
            )
    gradients = plan.gradients(x, y)
    gradients.set_shape([tf.nest.flatten(x)[0].shape[0], sum(plan.layout.sizes)])
    return gradients


def _proved_plan(model: keras.Model, x: Any, y: Any, options: GradientOptions, **what: Any) -> GradientPlan:
    """A plan that was proved on examples of such shapes before; or a new one, proved on `x`, `y`."""
    try:
        count = default_chunk_size(options.method)
        plan = plan_for(model, x, y, options, num_examples=count, in_graph=True, **what)
        if plan.is_checked:
            return plan
        try:
            plan.prove(x, y)
        except Exception:
            forget(model, plan)
            raise
    except TfstiffError:
        raise
    except Exception as error:  # of any kind: the code of the model's author, for examples that are none of theirs
        raise UnsupportedModel(
            "The gradients cannot be tried on examples that are made up: "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            remedy=_on_real_ones(x, y),
        ) from error
    if not plan.is_proved:
        forget(model, plan)
        raise UnsupportedModel(
            "Examples that are made up do not show that the gradients are right.",
            expected="gradients that are finite and differ from example to example",
            remedy=_on_real_ones(x, y),
        )
    return plan


def _made_up(x: Any, y: Any) -> Any:
    """Examples of the shapes and dtypes of `x`, `y`: normal numbers; 0 and 1 for integers, which are ids or classes."""
    rng = np.random.default_rng(0)

    def values(tensor: tf.Tensor) -> tf.Tensor:
        shape = (_MADE_UP, *tensor.shape[1:])
        if tensor.dtype.is_floating:
            return tf.constant(rng.normal(size=shape), tensor.dtype)
        if tensor.dtype.is_integer or tensor.dtype.is_bool:
            return tf.cast(tf.constant(rng.integers(0, 2, shape)), tensor.dtype)
        return tf.zeros(shape, tensor.dtype)

    return tf.nest.map_structure(values, (x, y))


def _on_real_ones(x: Any, y: Any) -> str:
    shapes = [", ".join(["n", *map(str, one.shape[1:])]) for one in tf.nest.flatten((x, y))]
    dtypes = [one.dtype.name for one in tf.nest.flatten((x, y))]
    described = ", ".join(f"({shape}) {dtype}" for shape, dtype in zip(shapes, dtypes, strict=True))
    return (
        "Call per_example_gradients(model, x, y) once on a few real examples before, outside of tf.function, of the "
        f"same shapes and dtypes: {described}."
    )
