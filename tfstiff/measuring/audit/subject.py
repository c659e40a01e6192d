"""What is audited: a model, a few examples, their losses as the model is called, and their gradients by plain tapes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import variable_of
from tfstiff.errors import InvalidInput
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.loss import num_parameters
from tfstiff.gradients.loss_checks import Outcome
from tfstiff.gradients.objective import ObjectiveFunction, check_model, check_separable, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import new_plan
from tfstiff.gradients.reference import Reference
from tfstiff.gradients.tracing import as_called

_MOST_NUMBERS = 2**27  # in the gradients of all examples together, a gigabyte
_FEWEST = 4  # examples that are audited, however many weights there are
LOSS_BOUND = 1e-3  # relative to the largest loss, and 1e-5 besides; see `Outcome.difference`
# Differences of gradients, relative to their lengths: in float32 a unit may fall on either side of its kink.
_GRADIENT_BOUNDS = {"float64": 1e-3, "float32": 5e-2}
_SHORT = 1e-4  # gradients of less than so much of the longest are compared with that


class Proved(NamedTuple):
    """A plan that was made for the audit alone, and proved.

    Attributes:
        plan: The plan.
        without_rule: Indices of weights that had no rule when it was traced.
        disproved: Those whose rule did not pass the proof.
        told: What was warned of.
    """

    plan: GradientPlan
    without_rule: frozenset[int]
    disproved: frozenset[int]
    told: str


class Subject:
    """A model and the examples that it is audited on.

    Args:
        model: A Keras model; built where it is not.
        x: Inputs, first axis at least two examples.
        y: Targets.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss.
        sample_weight: (n,) as `fit` is given it.
        num_examples: How many of the examples are taken, drawn at random.
        another_process: Whether another process may be started.

    Attributes:
        precision: In which the model is called: float64 where it can be, so that rounding explains nothing.

    Raises:
        InvalidInput: There are fewer than two examples, or not as many targets.
        UnsupportedModel: It is no Keras model, or has no loss or no trainable weights.
    """

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any,
        *,
        loss: Any = None,
        objective: ObjectiveFunction | None = None,
        sample_weight: Any = None,
        num_examples: int = 16,
        another_process: bool = True,
    ) -> None:
        x, y = tf.nest.map_structure(np.asarray, (x, y))
        weights = () if sample_weight is None else np.asarray(sample_weight, np.float32)
        counts = {len(array) for array in tf.nest.flatten((x, y, weights))}
        if len(counts) != 1 or min(counts) < 2:
            raise InvalidInput(
                "Inputs and targets must hold the same number of examples, at least two.", received=sorted(counts)
            )
        self.model, self.loss, self.objective_function = model, loss, objective
        self.objective = resolve_objective(model, loss, objective)
        check_model(model, x, y, self.objective)
        most = max(_FEWEST, min(num_examples, _MOST_NUMBERS // num_parameters(model.trainable_weights)))
        chosen = np.sort(np.random.default_rng(0).permutation(max(counts))[:most])
        self.count = len(chosen)
        self.x, self.y, weights = tf.nest.map_structure(lambda array: array[chosen], (x, y, weights))
        self.sample_weight = None if sample_weight is None else weights
        self.another_process = another_process
        self.precision = "float64" if self._computes_in_double() else "float32"
        self.gradient_bound = _GRADIENT_BOUNDS[self.precision]

    def _computes_in_double(self) -> bool:
        try:
            with as_called(self.model, "float64"):
                losses, _ = self.objective(self.model, *self.tensors())
        except Exception:  # of any kind: a layer of the model's author may know float32 alone
            return False
        return bool(losses.dtype == tf.float64)

    def tensors(self, index: Sequence[int] | np.ndarray | None = None) -> tuple[Any, Any]:
        """X and y of some of the examples, in this order; None means all."""
        return self.as_tensors(self.x, self.y, index)

    @staticmethod
    def as_tensors(x: Any, y: Any, index: Any = None) -> tuple[Any, Any]:
        """Arrays as tensors; of some of the examples where `index` says which."""
        found: tuple[Any, Any] = tf.nest.map_structure(
            lambda array: tf.constant(array if index is None else array[index]), (x, y)
        )
        return found

    def outcome(self, x: Any, y: Any, precision: str | None = None) -> Outcome:
        """Losses and outputs, of the model as its user calls it."""
        with as_called(self.model, precision or self.precision):
            return Outcome.of(*self.objective(self.model, x, y))

    @cached_property
    def base(self) -> Outcome:
        """Of all examples in one batch."""
        return self.outcome(*self.tensors())

    def loss_difference(self, found: Outcome, expected: Outcome) -> float:
        """The largest difference that rounding does not explain; 0 where there is none."""
        return found.difference(expected, tf.float32)

    def gradient(
        self, x: Any, y: Any, rows: Sequence[int] | np.ndarray, precision: str | None = None, scale: float = 1.0
    ) -> np.ndarray:
        """(P,) float64: the gradient of the sum of some of the losses of a batch, by a tape, times `scale`."""
        variables = [variable_of(weight) for weight in self.model.trainable_weights]
        with (
            as_called(self.model, precision or self.precision),
            tf.GradientTape(watch_accessed_variables=False) as tape,
        ):
            tape.watch(variables)
            losses, _ = self.objective(self.model, x, y)
            total = tf.reduce_sum(tf.gather(losses, rows)) * tf.cast(scale, losses.dtype)
        return flat(tape.gradient(total, variables), variables)

    @cached_property
    def own_gradients(self) -> np.ndarray:
        """(n, P) float64: the gradient of each example's loss, away from the others."""
        return self.gradients_apart()

    def gradients_apart(self, precision: str | None = None, scale: float = 1.0) -> np.ndarray:
        """(n, P) float64: the gradients of all examples, a tape each, away from the others, times `scale`."""
        # Each example twice: the kernel of Conv2DBackpropFilter may corrupt memory for one alone.
        pairs = [self.tensors([place, place]) for place in range(self.count)]
        return np.stack([self.gradient(*pair, [0], precision, scale) for pair in pairs])

    def differences(self, found: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """(m,): by how much gradients (m, P) differ, relative to their lengths."""
        lengths = np.linalg.norm(expected, axis=1)
        scale = np.maximum(lengths, _SHORT * np.linalg.norm(self.own_gradients, axis=1).max())
        error = np.linalg.norm(found - expected, axis=1)
        is_same = np.isfinite(found).all(1) == np.isfinite(expected).all(1)
        relative = np.divide(error, scale, out=np.where(error > 0, np.inf, 0.0), where=scale > 0)
        return np.where(is_same, np.where(np.isfinite(relative), relative, 0.0), np.inf)

    def worst_weight(self, found: np.ndarray, expected: np.ndarray) -> str:
        """The path of the weight whose gradients (…, P) differ most."""
        errors = np.nan_to_num(np.abs(found - expected).reshape(-1, found.shape[-1]).max(0), posinf=np.inf)
        weights = self.model.trainable_weights
        ends = np.cumsum([int(np.prod(weight.shape)) for weight in weights])[:-1]
        return str(weights[int(np.argmax([part.max(initial=0) for part in np.split(errors, ends)]))].path)

    def plan(self, method: str = "auto", precision: str | None = None) -> GradientPlan:
        """A plan of its own, that no earlier measurement made and no later one uses."""
        check_separable(self.model, self.objective.loss, self.x, self.y)
        options = GradientOptions(method=method, precision=precision or self.precision)
        return new_plan(self.model, self.x, self.y, options, self.objective)

    def proved(self, plan: GradientPlan) -> GradientPlan:
        """The plan, proved on all examples."""
        plan.prove(self.x, self.y)
        return plan

    @cached_property
    def measured(self) -> Proved:
        """The plan that a measurement of this model would make, in float32."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            plan = self.plan(precision="float32")
            before = _generic(plan)
            self.proved(plan)
        text = " ".join(str(one.message) for one in told)
        return Proved(plan, before, _generic(plan) - before, text)


def flat(gradients: Sequence[Any], variables: Sequence[tf.Variable]) -> np.ndarray:
    """(P,) float64: gradients side by side; zeros where there is none."""
    return np.concatenate(
        [
            np.zeros(variable.shape.num_elements())
            if gradient is None
            else np.asarray(tf.convert_to_tensor(gradient)).astype(np.float64).ravel()
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
    )


def _generic(plan: GradientPlan) -> frozenset[int]:
    """The weights that a plan has no rules for, or none that is right."""
    return frozenset(weight for part in plan.parts if isinstance(part, Reference) for (weight,) in part.layout.formed)
