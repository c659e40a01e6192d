"""The diagonal D by which an optimizer scales gradients, read from what it remembers and left as it is.

Keras' optimizers move a weight by `-η D m`: m is the gradient, or a running mean of gradients, and D a diagonal made of
what is remembered of their squares. A gradient g_i more in m moves the weights by a multiple of `-D g_i`, the same for
every example, and so changes the loss of example j, to first order and with D held, by that multiple of `-g_iᵀ D g_j`.
Momentum is in m and not in D: it adds the same step whatever the example is. Neither are in D a decay of the weights,
a clipping of gradients or a mean of weights.

What each D is stands beside its rule below; signs and cosines do not depend on a factor of all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import optimizer_slot, variable_of
from tfstiff.errors import InvalidInput
from tfstiff.gradients.chosen_weights import chosen_weights
from tfstiff.gradients.options import NONE, WeightChoice
from tfstiff.records.measurement import ALL_WEIGHTS

_Slot = Callable[[str], np.ndarray]  # what the optimizer remembers for a weight, float64, by the name of its own list
_Rule = Callable[[Any, _Slot], np.ndarray]
_OWN = "Give a function from a weight to an array of its shape as preconditioner."


def _adam(optimizer: Any, slot: _Slot) -> np.ndarray:
    """`√(1 - β₂ᵗ) / (√v + ε)`, which is `1 / (√v̂ + ε / √(1 - β₂ᵗ))`: Keras adds ε before it corrects v's bias."""
    squares = slot("velocity_hats" if optimizer.amsgrad else "velocities")
    return np.sqrt(1 - optimizer.beta_2 ** _steps(optimizer)) / (np.sqrt(squares) + optimizer.epsilon)


def _nadam(optimizer: Any, slot: _Slot) -> np.ndarray:
    """`1 / (√v̂ + ε)`."""
    corrected = slot("velocities") / (1 - optimizer.beta_2 ** _steps(optimizer))
    return 1 / (np.sqrt(corrected) + optimizer.epsilon)


def _adamax(optimizer: Any, slot: _Slot) -> np.ndarray:
    """`1 / (u + ε)`, u the largest gradient, fading."""
    return 1 / (slot("u") + optimizer.epsilon)


def _rmsprop(optimizer: Any, slot: _Slot) -> np.ndarray:
    """`1 / √(v + ε)`; centred, `1 / √(v - ḡ² + ε)` with the running mean ḡ of gradients."""
    squares = slot("velocities")
    if optimizer.centered:
        squares = squares - slot("average_gradients") ** 2
    with np.errstate(invalid="ignore"):  # rounding can bring the difference below -ε: told where D is checked
        return 1 / np.sqrt(squares + optimizer.epsilon)


def _adagrad(optimizer: Any, slot: _Slot) -> np.ndarray:
    """`1 / √(Σ g² + ε)`."""
    return 1 / np.sqrt(slot("accumulators") + optimizer.epsilon)


def _adadelta(optimizer: Any, slot: _Slot) -> np.ndarray:
    """`√(u + ε) / √(v + ε)`, u the running mean of squared updates."""
    return np.sqrt(slot("accumulated_delta_vars") + optimizer.epsilon) / np.sqrt(
        slot("accumulated_grads") + optimizer.epsilon
    )


def _sgd(optimizer: Any, slot: _Slot) -> np.ndarray:
    """1, with momentum and without."""
    return np.ones(())


_RULES: tuple[tuple[Any, _Rule], ...] = (
    (keras.optimizers.Adam, _adam),  # of which AdamW is one
    (keras.optimizers.Nadam, _nadam),
    (keras.optimizers.Adamax, _adamax),
    (keras.optimizers.RMSprop, _rmsprop),
    (keras.optimizers.Adagrad, _adagrad),
    (keras.optimizers.Adadelta, _adadelta),
    (keras.optimizers.SGD, _sgd),
)
_REASONS = {
    "Lion": "its step is the sign of a mean of gradients, of which no diagonal is a factor",
    "Lamb": "it brings each step to the length of the weight, which changes with the gradient",
    "Ftrl": "its weights are not moved by a multiple of the gradient, but solved for",
    "Adafactor": "it scales each step by the size of the gradient itself",
    "Muon": "it makes the matrix of momentums orthogonal, which is no diagonal",
    "MultiOptimizer": "it is several optimizers",
}


class Diagonal(NamedTuple):
    """D, divided by its largest entry: 1 / ε may be 1e7, and squares of gradients are summed in single precision.

    Attributes:
        parts: For each of the weights, in order: an array of its shape, float64, up to 1.
        unit: The largest entry.
    """

    parts: list[np.ndarray]
    unit: float


class Preconditioner:
    """The diagonal D of a model's optimizer, or one of the user's own.

    Args:
        model: A built Keras model.
        chosen: "optimizer", or a function from a weight to an array of its shape.
        weights: Which of the trainable weights, as `GradientOptions` has it.

    Raises:
        InvalidInput: There is no compiled optimizer, or one that has no such diagonal.
    """

    def __init__(
        self, model: keras.Model, chosen: str | Callable[[Any], Any], weights: WeightChoice = ALL_WEIGHTS
    ) -> None:
        if not model.trainable_weights:
            raise InvalidInput(
                "The model has no trainable weights yet, and so no preconditioner.",
                expected="a built model",
                remedy="Call it on an example first.",
            )
        self._weights = list(chosen_weights(model, weights))
        self._function = chosen if callable(chosen) else None
        if self._function is None:
            self._optimizer = _unwrapped(getattr(model, "optimizer", None))
            self._rule = _rule_of(self._optimizer)

    @property
    def is_ready(self) -> bool:
        """Whether there is a diagonal by now: an optimizer has taken a step."""
        return self._function is not None or _steps(self._optimizer) > 0

    def diagonal(self) -> Diagonal:
        """D as it is now.

        Raises:
            InvalidInput: The optimizer has not taken a step, or does not know a weight; or an array has another shape,
                or holds what is not a number above 0.
        """
        if not self.is_ready:
            raise InvalidInput(
                "The optimizer has not taken a step, and has no diagonal before.",
                expected="a model that was trained by fit, with the optimizer that it is compiled with",
                received=f"{type(self._optimizer).__name__} with iterations = 0",
                remedy='Measure after the first step, or with preconditioner="none".',
            )
        parts = [self._of(weight) for weight in self._weights]
        unit = max(float(part.max(initial=0)) for part in parts)
        return Diagonal([part / unit for part in parts], unit)

    def _of(self, weight: keras.Variable) -> np.ndarray:
        if self._function is None:
            found = np.broadcast_to(self._rule(self._optimizer, lambda name: self._slot(name, weight)), weight.shape)
        else:
            found = _as_array(self._function(weight), weight)
        if not (np.isfinite(found) & (found > 0)).all():
            wrong = found[~(np.isfinite(found) & (found > 0))]
            raise InvalidInput(
                f"The preconditioner of {weight.path} is not a number above 0 everywhere.",
                expected="finite numbers above 0",
                received=f"{wrong.flat[0]} and {wrong.size - 1} more such",
                remedy=_OWN if self._function is None else None,
            )
        return found

    def _slot(self, name: str, weight: keras.Variable) -> np.ndarray:
        slot = optimizer_slot(self._optimizer, name, weight)
        if slot is None:
            raise InvalidInput(
                f"The optimizer keeps nothing for the weight {weight.path}.",
                expected="an optimizer that trained every weight that is trainable now",
                received=type(self._optimizer).__name__,
                remedy="Compile and train anew after a change of which layers are trainable.",
            )
        return np.asarray(variable_of(slot).numpy()).astype(np.float64)


def _unwrapped(optimizer: Any) -> Any:
    """The optimizer inside one that scales losses."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise InvalidInput(
            "The model has no optimizer to take the diagonal of.",
            expected="a compiled model",
            received=type(optimizer),
            remedy=f"Compile it and train. {_OWN}",
        )
    return optimizer


def _rule_of(optimizer: Any) -> _Rule:
    for known, rule in _RULES:
        if isinstance(optimizer, known) and optimizer.__class__.update_step is known.update_step:
            return rule
    kind = type(optimizer).__name__
    raise InvalidInput(
        f"The optimizer {kind} has no diagonal that scales gradients"
        f"{': ' + _REASONS[kind] if kind in _REASONS else ', or none that is known'}.",
        expected=" | ".join([known.__name__ for known, _ in _RULES] + ["AdamW"]),
        received=type(optimizer),
        remedy=_OWN,
    )


def _steps(optimizer: Any) -> int:
    """Updates that it has made."""
    count = optimizer.iterations
    count = variable_of(count) if isinstance(count, keras.Variable) else count
    return int(tf.convert_to_tensor(count))


def _as_array(given: Any, weight: keras.Variable) -> np.ndarray:
    try:
        found = np.asarray(keras.ops.convert_to_numpy(given)).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"The preconditioner of {weight.path} is not an array.", expected=str(weight.shape), received=type(given)
        ) from error
    if found.shape != tuple(weight.shape):
        raise InvalidInput(
            f"The preconditioner of {weight.path} does not have the weight's shape.",
            expected=str(tuple(weight.shape)),
            received=found.shape,
        )
    return found


def diagonal_of(
    model: keras.Model, chosen: str | Callable[[Any], Any], weights: WeightChoice = ALL_WEIGHTS
) -> Diagonal | None:
    """D as it is now; None where products are of gradients as they are.

    Args:
        model: A built Keras model.
        chosen: "none", "optimizer", or a function from a weight to an array of its shape.
        weights: Which of the trainable weights, as `GradientOptions` has it.

    Raises:
        InvalidInput: There is none.
    """
    return None if chosen == NONE else Preconditioner(model, chosen, weights).diagonal()


def has_diagonal(model: keras.Model, chosen: str | Callable[[Any], Any]) -> bool:
    """Whether the preconditioner, if one is chosen, is there by now: an optimizer has none before its first step."""
    return chosen == NONE or Preconditioner(model, chosen).is_ready


def named(chosen: str | Callable[[Any], Any]) -> str:
    """The name of a preconditioner, for records."""
    return chosen if isinstance(chosen, str) else str(getattr(chosen, "__qualname__", type(chosen).__name__))
