"""Directions in weight space, by name: where the weights are, where they came from, where the optimizer takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import variable_of
from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.gradients.tracing import as_called
from tfstiff.records.directions import (
    CLASS_MEANS,
    DIRECTIONS,
    MEASURED,
    NEXT_UPDATE,
    NOT_FINITE,
    NOT_MOVED,
    SINCE_INITIALISATION,
    UPDATE,
    WEIGHTS,
)

SINCE = {
    SINCE_INITIALISATION: "the weights at the initialisation",
    UPDATE: "the weights before the update",
}


@dataclass(frozen=True)
class Directions:
    """D directions.

    Attributes:
        names: Of each.
        parts: For each weight, in order: (D, *its shape) float64.
    """

    names: tuple[str, ...]
    parts: list[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        """(D,) float64 lengths."""
        return np.sqrt(sum((part.reshape(len(part), -1) ** 2).sum(1) for part in self.parts))


def directions_of(
    model: keras.Model,
    direction: str | Sequence[Any],
    class_means: Callable[[], Directions],
    *,
    measured: Sequence[keras.Variable],
    since: Sequence[Any] | None = None,
    batch: tuple[Any, Any] | None = None,
) -> Directions:
    """The directions that are meant.

    Args:
        model: A built Keras model.
        direction: A name, or arrays like `model.trainable_weights`.
        class_means: Computes the mean gradients of the classes.
        measured: The trainable weights whose part of a direction counts.
        since: Weights, like `model.trainable_weights`, that `since_initialisation` and `update` lead from.
        batch: (x, y) that `next_update` is of.

    Raises:
        InvalidInput: As `directional_stiffness` says.
    """
    if not isinstance(direction, str):
        shapes = [tuple(weight.shape) for weight in model.trainable_weights]
        return _checked("direction", _kept(model, measured, _arrays("The direction", direction, shapes)))
    if direction not in DIRECTIONS:
        raise unknown_name("Unknown direction.", direction, DIRECTIONS)
    if direction == CLASS_MEANS:
        return class_means()
    return _checked(direction, named_parts(model, direction, measured=measured, since=since, batch=batch))


def named_parts(
    model: keras.Model,
    name: str,
    *,
    measured: Sequence[keras.Variable],
    since: Sequence[Any] | None = None,
    batch: tuple[Any, Any] | None = None,
) -> list[np.ndarray]:
    """The direction of a name, not `class_means`: for each weight that is measured, float64 like it.

    Args:
        model: As for `directions_of`, like the other arguments.
        name: One of `DIRECTIONS`.
        measured: See there.
        since: See there.
        batch: See there.

    Raises:
        InvalidInput: As for `directions_of`, but for directions that are zero or not finite.
    """
    if name == NEXT_UPDATE:
        return _kept(model, measured, next_update(model, batch))
    weights = [_value(weight) for weight in model.trainable_weights]
    if name == WEIGHTS:
        return _kept(model, measured, weights)
    if since is None:
        raise InvalidInput(
            f"The direction {name} leads from weights that are not known.",
            expected=f"since=[...], {SINCE[name]}, arrays like model.trainable_weights",
            remedy="Keep them with [weight.numpy() for weight in model.trainable_weights].",
        )
    before = _arrays("since", since, [weight.shape for weight in weights])
    return _kept(model, measured, [now - then for now, then in zip(weights, before, strict=True)])


def status_of(parts: Sequence[np.ndarray]) -> str:
    """`ok`, or why there is no angle to a direction."""
    if not all(np.isfinite(part).all() for part in parts):
        return NOT_FINITE
    return MEASURED if any(part.any() for part in parts) else NOT_MOVED


def known_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The compiled optimizer, of which can be told what it does.

    Raises:
        InvalidInput: There is none, it is wrapped, or the model has a training step of its own.
    """
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise InvalidInput("The model has no optimizer.", remedy="Compile it.", received=type(optimizer))
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise InvalidInput(
            "The optimizer is wrapped in another one that scales losses, so what it would do cannot be told.",
            received=type(optimizer),
            remedy="Compile the model with the optimizer itself.",
        )
    if type(model).train_step is not keras.Model.train_step:
        raise InvalidInput(
            "The model has a training step of its own, so what the optimizer would do cannot be told.",
            received=type(model),
            remedy="Take the step on a copy, and give the change of its weights as the direction.",
        )
    return optimizer


def next_update(
    model: keras.Model, batch: tuple[Any, Any] | None, *, learning_rate: float | None = None
) -> list[np.ndarray]:
    """What the compiled optimizer would add to each trainable weight after a batch, as `fit` would call it.

    The model is called in training mode, with the random numbers that it would draw next, and regularisation losses
    count. Nothing of model or optimizer is changed: a copy of the optimizer, with its state, moves copies of weights.

    Args:
        model: A compiled Keras model.
        batch: (x, y).
        learning_rate: In place of the optimizer's own.

    Raises:
        InvalidInput: There is no batch, no optimizer, one that is wrapped, or the model has a training step of its own.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InvalidInput("The next update is of a batch.", expected="batch=(x, y)", received=type(batch))
    optimizer = known_optimizer(model)
    x, y = tf.nest.map_structure(tf.convert_to_tensor, tuple(batch))
    values = [tf.convert_to_tensor(variable_of(weight)) for weight in model.trainable_weights]
    # Regularisers take weights from the scope alone.
    weights = keras.StatelessScope(state_mapping=list(zip(model.trainable_weights, values, strict=True)))
    with as_called(model, "policy"), tf.GradientTape(watch_accessed_variables=False) as tape, weights:
        tape.watch(values)
        loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True), training=True)
    gradients = tape.gradient(loss, values)
    copies = [
        keras.Variable(weight.numpy(), dtype=weight.dtype, trainable=True, name=weight.name)
        for weight in model.trainable_weights
    ]
    twin = type(optimizer).from_config(optimizer.get_config())
    twin.build(copies)
    if optimizer.built:
        for copied, variable in zip(twin.variables, optimizer.variables, strict=True):
            copied.assign(variable)
    if learning_rate is not None:
        try:
            twin.learning_rate = learning_rate
        except TypeError as error:
            raise InvalidInput(
                "The optimizer has a schedule of learning rates, in whose place no other can be put.",
                received=type(optimizer),
                remedy="Compile the model with a number as learning rate.",
            ) from error
    given = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
    twin.apply(given, copies)  # weights that the loss does not depend on, with a warning, are left alone, as in `fit`
    return [_value(copy) - _value(weight) for copy, weight in zip(copies, model.trainable_weights, strict=True)]


def _value(weight: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(weight.value)).astype(np.float64)


def _arrays(what: str, given: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    try:
        arrays = [np.asarray(one).astype(np.float64) for one in given]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{what} is not a list of arrays.", received=type(given)) from error
    if [array.shape for array in arrays] != list(shapes):
        raise InvalidInput(
            f"{what} does not have the shapes of the trainable weights.",
            expected=", ".join(map(str, shapes)),
            received=[array.shape for array in arrays],
            remedy="Give one array for each of model.trainable_weights, in their order.",
        )
    return arrays


def _kept(model: keras.Model, measured: Sequence[keras.Variable], parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The parts of the weights that are measured."""
    ids = {id(weight) for weight in measured}
    return [part for part, weight in zip(parts, model.trainable_weights, strict=True) if id(weight) in ids]


def _checked(name: str, parts: list[np.ndarray]) -> Directions:
    status = status_of(parts)
    if status == NOT_FINITE:
        raise InvalidInput("The direction holds NaN or infinite numbers.", received=name)
    if status == NOT_MOVED:
        raise InvalidInput(
            "The direction is zero in the weights measured, and there is no angle to it.",
            received=name,
            remedy="The weights have not changed." if name in SINCE else None,
        )
    return Directions((name,), [part[None] for part in parts])
