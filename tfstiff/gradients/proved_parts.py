"""How the gradients of each weight are computed, traced and proved on examples."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import UnsupportedModel, listed
from tfstiff.gradients.loss import predict
from tfstiff.gradients.loss_checks import Call, Outcome, depends_on_place, interaction, refuse_shared_losses
from tfstiff.gradients.model_checks import refuse_assigned, refuse_outputs_by_batch, warn_of_untracked
from tfstiff.gradients.objective import Objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.owners import few
from tfstiff.gradients.proof import Proof, Verdict, drawn
from tfstiff.gradients.reference import Jacobian, Loop, Reference, Vectorized, differing_rows, still_differing
from tfstiff.gradients.structured import Forward, Structured
from tfstiff.gradients.tracing import as_called, coarsest_dtype, compiled, traceable

_STRUCTURED_METHODS = ("auto", "structured")
_REFERENCES: dict[str, type[Reference]] = {"vectorized": Vectorized, "jacobian": Jacobian, "loop": Loop}

_NAMED = 4  # weights that a warning names for one reason
_CallIn = Callable[..., AbstractContextManager[keras.StatelessScope]]


class ProvedParts:
    """The parts that compute the per-example gradients of one model under one objective, each of some weights.

    Args:
        model: A built Keras model. Held weakly.
        weights: Its trainable weights that are differentiated with respect to.
        objective: The loss of each example.
        signature: Structure of `tf.TensorSpec` of (x, y).
        num_examples: Size of the Gram matrices to come.
        sample: Examples (x, y), by some of which it is told while tracing which example owns each row.
        options: How gradients are computed.

    Attributes:
        parts: The structured method first, where it computes any gradient, and a generic one where weights need it.
        untracked: A sentence on variables that Keras does not know; None where none was found.
    """

    def __init__(
        self,
        model: keras.Model,
        weights: Sequence[keras.Variable],
        objective: Objective,
        signature: Any,
        num_examples: int,
        sample: Any,
        options: GradientOptions,
    ) -> None:
        self.method, precision = options.method, options.precision
        self.weights = list(weights)
        self._model, self._objective = weakref.ref(model), objective
        self._precision, self._signature = precision, signature
        self._num_examples, self._sample = num_examples, few(sample)
        self._measured_again: set[int] = set()
        self._coarsest = coarsest_dtype(model) if precision == "policy" else tf.float64
        self._call_in: _CallIn = traceable
        self._are_losses_checked, self._draws = False, 0
        self._generic: dict[int, str] = {}  # weights on the generic path, with the reason
        self._unproved = set(range(len(self.weights)))
        self._zero: set[int] = set()  # weights whose gradients were zero when they were compared last
        self._proof: Proof | None = None
        self.parts: list[Structured | Reference] = []
        self.untracked: str | None = None
        self._build()

    @compiled()
    def prove(self, x: Any, y: Any) -> None:
        """Proves the weights that are not proved yet, and the losses, on a few of the examples `x`, `y`.

        What disagrees takes the generic path, which is put to the same proof.

        Raises:
            UnsupportedModel: Examples interact; or `method="structured"` and a rule is wrong.
        """
        while True:
            self._prove_gradients(x, y)
            if self._are_losses_checked or self._have_right_losses(x, y):
                return
            self._call_in = as_called
            self.unsettle()
            self._build()

    def unsettle(self) -> None:
        """Has everything proved again, as of a model whose weights were drawn anew."""
        self._unproved, self._zero = set(range(len(self.weights))), set()
        self._are_losses_checked = False

    def _prove_gradients(self, x: Any, y: Any) -> None:
        while self._unproved:
            self._draws += 1
            if self._unproved <= self._zero and self._proof and self._proof.is_zero(self._zero, x, y, self._draws):
                return
            examples = drawn(x, y, self._draws)
            wrong: dict[int, str] = {}
            for part in tuple(self.parts):
                verdict = self._verdict(part, *examples)
                self._unproved -= verdict.proved
                self._zero = (self._zero | verdict.zero) & self._unproved
                if verdict.wrong:
                    refuse_shared_losses(self._called, *examples, self._draws, self._loss_precision)
                    if isinstance(part, Reference):
                        self._refuse(verdict.wrong)
                wrong |= verdict.wrong
            if not wrong:
                return
            self._lay_out(self._generic | self._after_measuring_again(wrong, x, y))

    def _after_measuring_again(self, wrong: dict[int, str], x: Any, y: Any) -> dict[int, str]:
        """What is wrong of `wrong` even so; the owners of rows whose gradients were zero can be measured now."""
        first = self.parts[0]
        again = wrong.keys() & (first.unmeasured if isinstance(first, Structured) else set()) - self._measured_again
        if again:
            self._measured_again |= again
            self._sample = few((x, y))
        return {weight: reason for weight, reason in wrong.items() if weight not in again}

    def _verdict(self, part: Structured | Reference, x: Any, y: Any) -> Verdict:
        if isinstance(part, Structured):
            self._proof = self._proof or Proof(part, [weight.shape for weight in self.weights], self._coarsest)
            return self._proof.compare(self._unproved - self._generic.keys(), x, y, self._draws)
        indices = [weight for (weight,) in part.layout.formed]
        if isinstance(part, Loop):  # nothing but tapes; that its losses are right is checked
            return Verdict(frozenset(indices))
        try:
            wrong = differing_rows(part, Loop(*self._arguments, indices), x, y)
            if wrong:  # in double precision no unit falls on the other side of its kink
                arguments = (self._forward(self._call_in, "float64"), self.weights, self._signature, indices)
                wrong = wrong if (found := still_differing(type(part), arguments, x, y)) is None else found
        except Exception:
            if self.method != "auto":
                raise
            self.parts[-1] = self._reference("loop", indices)  # traced, but not for these values
            return Verdict(frozenset(indices))
        return Verdict(frozenset(indices) - wrong.keys(), wrong)

    def _have_right_losses(self, x: Any, y: Any) -> bool:
        """Checks that the losses differentiated are those of the model as its user calls it.

        Returns:
            Whether they are. If not, the model can be traced in another way.

        Raises:
            UnsupportedModel: They differ and cannot be had in another way, or depend on other examples.
        """
        seed, precision, is_single = self._draws, self._loss_precision, len(tf.nest.flatten(x)[0]) == 1
        x, y = drawn(x, y, seed)
        expected = self._called(x, y)
        outcomes = [self._outcome(part, x, y) for part in self.parts]
        for part, outcome in zip(self.parts, outcomes, strict=True):
            if not (difference := outcome.difference(expected, precision)):
                continue
            refuse_shared_losses(self._called, x, y, seed, precision)
            if depends_on_place(self._called, x, y, precision):
                raise UnsupportedModel(
                    "The model is random in inference: the numbers that it draws for an example depend on the "
                    "example's place in the batch, so one example alone has another loss.",
                    received=f"the method {type(part).__name__.lower()}, which takes examples one by one",
                    remedy='Use method="auto".',
                )
            if self._call_in is traceable:
                return False
            raise UnsupportedModel(
                f"The losses differentiated are not those of the model: they are off by {difference:.2g}.",
                expected="a model that computes the same whether it is traced or called",
            )
        if is_single or not np.isfinite(expected.losses).any():
            return True  # and it is checked again with other examples
        if interaction(_call(self.parts[0]), x, y, seed, precision, outcomes[0]):
            refuse_shared_losses(self._called, x, y, seed, precision)
        self._are_losses_checked = True
        return True

    def _outcome(self, part: Structured | Reference, x: Any, y: Any) -> Outcome:
        """What a part computes of the losses and outputs of the examples drawn last."""
        seed, outcome = self._proof.seen if isinstance(part, Structured) and self._proof else (None, None)
        return outcome if outcome and seed == self._draws else _call(part)(x, y)

    @property
    def _loss_precision(self) -> tf.DType:
        return tf.float32 if self._coarsest == tf.float64 and self._precision != "float64" else self._coarsest

    def _called(self, x: Any, y: Any) -> Outcome:
        """The losses and outputs of the model as its user calls it."""
        return Outcome.of(*self._forward(as_called)(x, y))

    def _forward(self, call_in: _CallIn, precision: str | None = None) -> Forward:
        """The per-example losses and predictions. It must not hold the model, or the plan would keep it alive."""
        model, objective, precision = self._model, self._objective, precision or self._precision

        def forward(x: Any, y: Any) -> tuple[tf.Tensor, Any]:
            called: Any = model()
            with call_in(called, precision) as scope:
                found = objective(called, x, y)
            refuse_assigned(scope, called.trainable_weights)
            return found

        return forward

    def _build(self) -> None:
        self._arguments = (self._forward(self._call_in), self.weights, self._signature)
        self._generic = {}
        self._lay_out({})

    def _lay_out(self, generic: dict[int, str]) -> None:
        """Traces the parts, with the weights in `generic` on the generic path. Where it refuses, the plan stays."""
        if self.method not in _STRUCTURED_METHODS:
            self._refuse_outputs_by_batch()
            self.parts = [self._reference(self.method)]
            return
        structured: Structured | None = None
        try:
            structured = Structured(*self._arguments, self._num_examples, self._sample, exclude=generic)
            generic = generic | structured.missing
        except UnsupportedModel:
            raise
        except Exception as error:  # of any kind: a trace runs the code of the model's author
            self._refuse_outputs_by_batch()
            generic = dict.fromkeys(range(len(self.weights)), f"{type(error).__name__}: {error}")
        self._proof = None
        if structured:
            self.untracked = warn_of_untracked(structured.graph, self._model())
            if not structured.has_fixed_outputs:
                self._refuse_outputs_by_batch()
            if not generic:
                self.parts = [structured]
                return
        reasons = _in_words({self._path(index): reason for index, reason in sorted(generic.items())})
        if self.method == "structured":
            raise UnsupportedModel(
                f"The structured method cannot compute the gradients of all weights ({reasons}).",
                remedy='Use method="auto".',
            )
        try:
            reference = self._reference("vectorized", sorted(generic))
        except UnsupportedModel:
            reference = self._reference("loop", sorted(generic))
        warnings.warn(
            f"The gradients of some weights take the slower path {type(reference).__name__.lower()} ({reasons}).",
            stacklevel=2,
        )
        self._generic, self.parts = generic, [structured, reference] if structured else [reference]

    def _refuse_outputs_by_batch(self) -> None:
        def predicted(x: Any) -> Any:
            with as_called(self._model(), self._precision):
                return predict(self._model(), x)

        refuse_outputs_by_batch(predicted, self._signature[0])

    def _reference(self, method: str, subset: Sequence[int] | None = None) -> Reference:
        try:
            return _REFERENCES[method](*self._arguments, subset)
        except UnsupportedModel:
            raise
        except Exception as error:  # of any kind: TensorFlow's own ways of vectorising have gaps
            raise UnsupportedModel(
                f"The method {method} cannot be traced for this model: {type(error).__name__}: {error}.",
                remedy='Use method="auto" or method="loop".',
            ) from error

    def _refuse(self, wrong: dict[int, str]) -> None:
        first = min(wrong)
        raise UnsupportedModel(
            f"The batch gradient of {self._path(first)} is not the sum of the gradients of single examples: "
            f"{wrong[first]}.",
            expected="a model and a loss in which no example's gradient depends on another example",
        )

    def _path(self, index: int) -> str:
        return str(self.weights[index].path)


def _call(part: Structured | Reference) -> Call:
    """The losses and outputs that a part of the plan computes."""

    def call(x: Any, y: Any) -> Outcome:
        factors = part.compute(x, y)
        return Outcome.of(factors.losses, factors.predictions)

    return call


def _in_words(reasons: dict[str, str]) -> str:
    """The paths, each with its reason; of many for one reason a few."""
    paths: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        paths.setdefault(reason, []).append(path)
    return "; ".join(f"{listed(names, _NAMED)}: {reason}" for reason, names in paths.items())
