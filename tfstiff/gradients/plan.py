"""How one model's per-example gradients are computed: traced and proved once, kept, and used at every measurement."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import loss_weights
from tfstiff._options import part_of
from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients.gradient_factors import (
    GradientFactors,
    Layout,
    Outers,
    gradients_by_weight,
    inverse_scales,
    of_weights,
    squared_norms,
)
from tfstiff.gradients.memory import MemoryPlan, plan_memory
from tfstiff.gradients.objective import Objective, ObjectiveFunction, check_model, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.products import products, row_products
from tfstiff.gradients.proof import Verdict, compare
from tfstiff.gradients.reference import BatchGradient, Jacobian, Loop, Reference, Vectorized
from tfstiff.gradients.structured import Structured
from tfstiff.gradients.tiles import Pairs, Side, TileSums, reduce_tile, signature_of
from tfstiff.gradients.tracing import coarsest_dtype, compiled, traceable

_STRUCTURED_METHODS = ("auto", "structured")
_REFERENCES: dict[str, type[Reference]] = {"vectorized": Vectorized, "jacobian": Jacobian, "loop": Loop}

# By method: examples whose gradients are computed together, and the size of a tile of the Gram matrix. Larger chunks
# need more memory at a time; smaller ones cost dispatch, and matrix products of them are slower. `vectorized` copies
# much for each example; `jacobian` does n² work in a chunk.
_CHUNK_SIZES = {"auto": 500, "structured": 500, "vectorized": 250, "loop": 250, "jacobian": 16}

_plans: weakref.WeakKeyDictionary[keras.Model, list[tuple[Any, Any, GradientPlan]]] = weakref.WeakKeyDictionary()
_MAX_PLANS = 8  # for one model: methods, losses, shapes


class GradientPlan:
    """The per-example gradients of one model under one objective.

    Args:
        model: A built Keras model. Held weakly.
        objective: The loss of each example.
        signature: Structure of `tf.TensorSpec` of (x, y).
        num_examples: Size of the Gram matrices to come.
        options: How gradients are computed.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Objective,
        signature: Any,
        num_examples: int,
        options: GradientOptions,
    ) -> None:
        self.method, precision = options.method, options.precision
        self.weights = list(model.trainable_weights)
        self._arguments = (_forward(model, objective, precision), self.weights, signature)
        self._num_examples = num_examples
        self._coarsest = coarsest_dtype(model) if precision == "policy" else tf.float64
        self.products, self._row_products = (
            tf.function(function, reduce_retracing=True, autograph=False) for function in (products, row_products)
        )
        self._tile_functions: dict[Any, Callable[..., TileSums]] = {}
        self._memory: dict[tuple[int, int | None], MemoryPlan] = {}
        self._draws = 0
        self._generic: dict[int, str] = {}  # weights on the generic path, with the reason
        self._unproved = set(range(len(self.weights)))
        self._batch_gradient = BatchGradient(*self._arguments)
        self.parts: list[Structured | Reference] = []
        self._build({})

    @compiled()
    def factors(self, x: Any, y: Any) -> GradientFactors:
        """The factors of the examples `x`, `y`."""
        first, *generic = [part.compute(x, y) for part in self.parts]
        if not generic and not isinstance(self.parts[0], Reference):
            return first
        blocks = [block for factors in (first, *generic) for block in factors.formed]
        if isinstance(self.parts[0], Reference):  # which does not scale
            largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(block), 1) for block in blocks]), 0)
            first = first._replace(scales=inverse_scales(largest), formed=())
        unscaled = blocks[len(first.formed) :]
        formed = first.formed + tuple(block * first.scales[:, None] for block in unscaled)
        return first._replace(formed=formed, squared_norms=squared_norms(formed, first.outers, first.losses))

    def gradients(self, x: Any, y: Any) -> tf.Tensor:
        """(n, P): the per-example gradients of `x`, `y`, formed, weights side by side in the model's order."""
        return tf.concat(gradients_by_weight(self.factors(x, y), self.layout), 1)

    def by_layer(self, factors: GradientFactors) -> dict[str, GradientFactors]:
        """The factors of each layer's weights alone, by the layer's path."""
        return {layer: of_weights(factors, self.layout, weights) for layer, weights in self.layers.items()}

    def fixed_products(self, outers: Outers, outers2: Outers) -> tuple[tf.Tensor, ...]:
        """For each outer whose rows depend on the examples alone, the products of the rows."""
        return tuple(
            self._row_products(rows, rows2)
            for is_fixed, (rows, _), (rows2, _) in zip(self.layout.fixed, outers, outers2, strict=True)
            if is_fixed
        )

    def reduce_tile(
        self,
        first: Side,
        second: Side,
        known: tuple[tf.Tensor, ...],
        compared: tuple[Pairs, ...],
        **choices: Any,
    ) -> TileSums:
        """The sums over a tile; see `tiles.reduce_tile`."""
        signature = signature_of(first, second, known, compared)
        key = (tuple(choices.items()), tuple(tf.nest.flatten(signature)), len(known), len(compared))
        if key not in self._tile_functions:

            def reduce(*tile: Any) -> TileSums:
                return reduce_tile(*tile, **choices)

            self._tile_functions[key] = tf.function(reduce, input_signature=signature, autograph=False)
        return self._tile_functions[key](first, second, known, compared)

    @property
    def layers(self) -> dict[str, list[int]]:
        """The indices of each layer's weights, by the layer's path."""
        layers: dict[str, list[int]] = {}
        for index in range(len(self.weights)):
            layers.setdefault(self._path(index).rpartition("/")[0], []).append(index)
        return layers

    def bytes_per_example(self) -> tuple[int, int]:
        """Bytes that the factors of one example take, and about those that computing them takes."""
        sizes = [part.bytes_per_example for part in self.parts]
        return sum(size for size, _ in sizes), sum(size for _, size in sizes)

    def memory_for(self, num_examples: int, limit: int | None = None) -> MemoryPlan:
        """How the factors of `num_examples` are held within `limit` bytes; the same at every measurement.

        Raises:
            InvalidInput: Not even a few examples at a time fit.
        """
        if (num_examples, limit) not in self._memory:  # what is free now counts, not what measuring left
            self._memory[num_examples, limit] = plan_memory(num_examples, *self.bytes_per_example(), limit)
        return self._memory[num_examples, limit]

    @property
    def layout(self) -> Layout:
        return Layout(
            tuple(weights for part in self.parts for weights in part.layout.formed),
            tuple(weights for part in self.parts for weights in part.layout.outers),
            tuple(fixed for part in self.parts for fixed in part.layout.fixed),
            self.parts[0].layout.sizes,
        )

    @compiled()
    def prove(self, x: Any, y: Any) -> None:
        """Proves the weights that are not proved yet on a few of the examples `x`, `y`.

        What disagrees takes the generic path, which is put to the same proof.

        Raises:
            UnsupportedModel: Examples interact; or `method="structured"` and a rule is wrong.
        """
        while self._unproved:
            wrong: dict[int, str] = {}
            for part in self.parts:
                owned = self._unproved - self._generic.keys() if part is self.parts[0] else self._generic.keys()
                verdict = self._verdict(part, self._unproved & owned, x, y)
                self._unproved -= verdict.proved
                if verdict.wrong and isinstance(part, Reference):
                    self._refuse(verdict.wrong)
                wrong |= verdict.wrong
            if not wrong:
                return
            self._build(self._generic | wrong)

    def _build(self, generic: dict[int, str]) -> None:
        """Traces the parts, with the weights in `generic` on the generic path. Where it refuses, the plan stays."""
        if self.method not in _STRUCTURED_METHODS:
            self.parts = [_REFERENCES[self.method](*self._arguments)]
            return
        structured = Structured(*self._arguments, self._num_examples, exclude=generic)
        generic = generic | structured.missing
        if not generic:
            self.parts = [structured]
            return
        reasons = "; ".join(f"{self._path(index)}: {reason}" for index, reason in sorted(generic.items()))
        if self.method == "structured":
            raise UnsupportedModel(
                f"The structured method cannot compute the gradients of all weights ({reasons}).",
                remedy='Use method="auto".',
            )
        reference: Reference
        try:
            reference = Vectorized(*self._arguments, sorted(generic))
        except (UnsupportedModel, ValueError, NotImplementedError, tf.errors.OpError):
            reference = Loop(*self._arguments, sorted(generic))
        warnings.warn(
            f"The gradients of some weights take the slower path {type(reference).__name__.lower()} ({reasons}).",
            stacklevel=2,
        )
        self._generic, self.parts = generic, [structured, reference]

    def _verdict(self, part: Structured | Reference, indices: set[int], x: Any, y: Any) -> Verdict:
        """Compares, and once more on other examples where that failed: a unit at the kink of its ReLU is no proof."""
        verdict = Verdict(frozenset(), {})
        for _ in range(2):
            self._draws += 1
            try:
                verdict = compare(part, self._batch_gradient, sorted(indices), x, y, self._draws, self._coarsest)
            except tf.errors.InvalidArgumentError:
                if isinstance(part, Vectorized) and self.method == "auto":  # traced, but not for these values
                    self.parts[-1] = part = Loop(*self._arguments, sorted(self._generic))
                    continue
                if isinstance(part, Reference):
                    raise
                return Verdict(frozenset(), dict.fromkeys(indices, "rows are not laid out as a rule supposes"))
            if not verdict.wrong:
                break
        return verdict

    def _refuse(self, wrong: dict[int, str]) -> None:
        first = min(wrong)
        raise UnsupportedModel(
            f"The batch gradient of {self._path(first)} is not the sum of the gradients of single examples: "
            f"{wrong[first]}. The examples of a batch interact.",
            expected="a model and a loss in which no example's loss depends on another example",
            remedy="Batch statistics in training mode, contrastive losses and the like cannot be measured.",
        )

    def _path(self, index: int) -> str:
        return str(self.weights[index].path)


def _forward(model: keras.Model, objective: Objective, precision: str) -> Callable[[Any, Any], tuple[tf.Tensor, Any]]:
    """The function traced: it must not hold the model, or the plan would keep it alive."""
    reference = weakref.ref(model)

    def forward(x: Any, y: Any) -> tuple[tf.Tensor, Any]:
        with traceable(reference(), precision):
            return objective(reference(), x, y)

    return forward


def plan_for(
    model: keras.Model,
    x: Any,
    y: Any,
    options: GradientOptions | None = None,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    num_examples: int | None = None,
) -> GradientPlan:
    """Returns the plan of `model`, traced before where it can be.

    A plan is made anew when the loss, the trainable weights, the shapes of the examples or an option changed.

    Args:
        model: A Keras model; built on one example where it is not built.
        x: Inputs, as `model` takes them; first axis the examples.
        y: Targets.
        options: How gradients are computed; None means by the defaults.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss; see `gradient_gram`.
        num_examples: Size of the Gram matrices to come; None means as many as in `x`.

    Raises:
        InvalidInput: Both a loss and an objective are given, or inputs and targets differ in number.
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
    signature = tf.nest.map_structure(lambda array: tf.TensorSpec([None, *array.shape[1:]], array.dtype), (x, y))
    trainable = tuple(id(weight) for weight in model.trainable_weights)
    key = (options, repr(signature), repr(weights), trainable)
    plans = _plans.setdefault(model, [])
    for known_key, known_identifier, plan in plans:
        if known_key == key and (known_identifier is identifier or _same_loss(known_identifier, identifier)):
            return plan
    plan = GradientPlan(model, resolved, signature, num_examples or max(counts), options)
    plans.append((key, identifier, plan))
    del plans[:-_MAX_PLANS]
    return plan


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
