"""The plans of models, each traced and proved once, kept, and found again at every measurement."""

from __future__ import annotations

import warnings
import weakref
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfstiff._keras import all_layers, loss_weights
from tfstiff._options import part_of
from tfstiff.errors import InvalidInput
from tfstiff.gradients.chosen_weights import chosen_weights
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.objective import Objective, ObjectiveFunction, check_model, check_separable, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.taken_in import taken_in
from tfstiff.gradients.tracing import one_at_a_time
from tfstiff.gradients.unmeasured import left_out
from tfstiff.records.measurement import ALL_WEIGHTS

# By method: examples whose gradients are computed together, and the size of a tile of the Gram matrix. Larger chunks
# need more memory at a time; smaller ones cost dispatch, and matrix products of them are slower. `vectorized` copies
# much for each example; `jacobian` does n² work in a chunk.
_CHUNK_SIZES = {"auto": 500, "structured": 500, "vectorized": 250, "loop": 250, "jacobian": 16}


class _Kept(NamedTuple):
    key: Any  # options, shapes, weights
    loss: Any  # or objective, as it was given
    loss_state: list[Any]  # what was taken in of it
    layers_state: list[Any]  # and of the model's layers
    plan: GradientPlan


_plans: weakref.WeakKeyDictionary[keras.Model, list[_Kept]] = weakref.WeakKeyDictionary()
_MAX_PLANS = 8  # for one model: methods, losses, shapes


def plan_for(
    model: keras.Model,
    x: Any,
    y: Any,
    options: GradientOptions | None = None,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    num_examples: int | None = None,
    in_graph: bool = False,
) -> GradientPlan:
    """Returns the plan of `model`, traced before where it can be.

    A plan is made anew when the loss, the weights chosen, the shapes of the examples or an option changed, or a value
    that the trace took in, such as a layer's activation (`taken_in`).

    Args:
        model: A Keras model; built on one example where it is not built.
        x: Inputs, as `model` takes them; first axis the examples.
        y: Targets.
        options: How gradients are computed; None means by the defaults.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss; see `gradient_gram`.
        num_examples: Size of the Gram matrices to come; None means as many as in `x`.
        in_graph: Whether it is for a function of the user's own, who then sees what it minimises.

    Raises:
        InvalidInput: Both a loss and an objective are given, inputs and targets differ in number, or no trainable
            weight is chosen.
        UnsupportedModel: The model cannot be measured.
    """
    options = part_of(options or GradientOptions(), GradientOptions)
    counts = {len(array) for array in tf.nest.flatten((x, y))}
    if len(counts) != 1 or 0 in counts:
        raise InvalidInput(
            "Inputs and targets must hold the same number of examples, at least one.", received=sorted(counts)
        )
    resolved = resolve_objective(model, loss, objective)
    check_model(model, x, y, resolved)
    given = objective if loss is None else loss
    identifier = given if given is not None else getattr(model, "loss", None)
    weights = None if given is not None else loss_weights(model)
    signature = _signature(x, y)
    chosen = chosen_weights(model, options.weights)
    alike = replace(options, weights=ALL_WEIGHTS)  # functions that choose the same weights share a plan
    key = (alike, repr(signature), repr(weights), tuple(map(id, chosen)))
    layers_state = taken_in(all_layers(model))
    plans = _plans.setdefault(model, [])
    plans[:] = [kept for kept in plans if kept.layers_state == layers_state]
    for kept in plans:
        is_loss = kept.loss is identifier or _same_loss(kept.loss, identifier)
        if kept.key == key and is_loss and kept.loss_state == taken_in(keras.tree.flatten(kept.loss)):
            return kept.plan
    check_separable(model, resolved.loss, x, y)
    if given is None and not in_graph and (unmeasured := left_out(model, x)):
        warnings.warn(
            f"fit minimises more than the compiled loss, which alone is measured: {', '.join(unmeasured)}. To measure "
            "the whole, pass objective=, a function (model, x, y) -> (n,) losses.",
            stacklevel=2,
        )
    loss_state = taken_in(keras.tree.flatten(identifier))
    with one_at_a_time:  # before any function is traced, each of which has a lock of its own
        plan = new_plan(model, x, y, options, resolved, num_examples)
    plans.append(_Kept(key, identifier, loss_state, layers_state, plan))
    del plans[:-_MAX_PLANS]
    return plan


def forget(model: keras.Model, plan: GradientPlan) -> None:
    """Keeps a plan no longer, so that the next is traced anew."""
    kept = _plans.get(model, [])
    kept[:] = [one for one in kept if one.plan is not plan]


def new_plan(
    model: keras.Model,
    x: Any,
    y: Any,
    options: GradientOptions,
    objective: Objective,
    num_examples: int | None = None,
) -> GradientPlan:
    """A plan that is kept nowhere; of a model and arguments that were checked, as `plan_for` does it."""
    count = num_examples or len(tf.nest.flatten(x)[0])
    chosen = chosen_weights(model, options.weights)
    return GradientPlan(model, chosen, objective, _signature(x, y), count, (x, y), options)


def _signature(x: Any, y: Any) -> Any:
    return tf.nest.map_structure(lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), (x, y))


def _same_loss(first: Any, second: Any) -> bool:
    """Whether two losses that are not one object are sure to be equal: names, or Keras' own with equal settings."""
    if type(first) is not type(second):
        return False
    if isinstance(first, str):
        return first == second
    is_built_in = getattr(keras.losses, type(first).__name__, None) is type(first)
    if not (is_built_in and isinstance(first, keras.losses.Loss)):
        return False
    try:
        return bool(vars(first) == vars(second))  # not the configurations, of which some leave settings out (Huber)
    except ValueError:  # arrays among them
        return False


def default_chunk_size(method: str) -> int:
    """Examples whose gradients are computed together."""
    return _CHUNK_SIZES[method]
