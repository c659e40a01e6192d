"""The structured method: per-example gradients from one backward pass over the batch.

One trace finds every use of every weight (`uses`). One backward pass gives the gradient of the summed losses with
respect to every use's output; row by row these are the gradients of the examples' own losses, since an example's loss
depends on no other example's rows. A rule for each operation (`operations`) turns them into per-example gradients.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfstiff._keras import quietly_traced, variable_of
from tfstiff.gradients.bias_join import OTHER, role_of, with_biases
from tfstiff.gradients.costs import Cost, cost_of, cost_of_forming, peak_row_bytes, row_bytes
from tfstiff.gradients.factors import Factor, Outer, first_columns, formed_sum, in_precision, merge
from tfstiff.gradients.gradient_factors import GradientFactors, Layout, inverse_scales, no_gradients, squared_norms
from tfstiff.gradients.on_demand import on_demand
from tfstiff.gradients.operations import NoRule, Use, apply_rule
from tfstiff.gradients.owners import Place, Sample
from tfstiff.gradients.pulling_back import Derived, PullBack
from tfstiff.gradients.uses import UseSite, VariableDependence, find_uses, is_transposed_view, is_view, recipe

# Formed gradients of fewer entries than this lie side by side: a matrix product of few columns costs a pass over the
# (n, n) result all the same.
_SMALL = 512

Forward = Callable[[Any, Any], tuple[tf.Tensor, Any]]  # (x, y) -> per-example losses (n,), predictions


class Trace(NamedTuple):
    """What is traced.

    Attributes:
        factors: What is measured.
        batch: The gradients of the sum of the examples' scaled losses, as TensorFlow takes them; empty tensors where
            they were not asked for.
    """

    factors: GradientFactors
    batch: tuple[tf.Tensor, ...]


class Structured:
    """Traces a model once and computes the `GradientFactors` of any number of examples.

    Args:
        forward: Computes per-example losses and predictions.
        weights: The weights to differentiate with respect to.
        signature: Structure of `tf.TensorSpec` of (x, y), first axis unknown, all others known.
        num_examples: Size of the Gram matrices to come; only the choice of the cheaper form depends on it.
        sample: A few examples (x, y), on which it is measured which example owns each row.
        exclude: Indices of weights to leave out.

    Attributes:
        layout: Where each weight is in the factors.
        missing: By weight index, why its per-example gradients cannot be had in this way.
        costs: What is computed for each weight, or for several together.
        unmeasured: Weights of which the sample did not show who owns the rows, its gradients being zero.
        apart: By the indices of weights: tensors of the graph that hold their gradients, before small ones are laid
            side by side.
        differentiated: For each tensor of `Trace.batch`: the index of its weight.
    """

    def __init__(
        self,
        forward: Forward,
        weights: Sequence[keras.Variable],
        signature: Any,
        num_examples: int,
        sample: Any,
        exclude: Collection[int] = (),
    ) -> None:
        self.signature = signature
        self.missing: dict[int, str] = {}
        self.costs: list[Cost] = []
        self._uses: dict[int, list[tuple[str, int]]] = {}  # by weight: operations, and multiply-adds of forming
        self.unmeasured: set[int] = set()
        self._weights = weights
        self._sample = sample
        self._num_examples = num_examples
        self._exclude = frozenset(exclude)
        self._forward = forward
        self.layout = Layout((), (), (), tuple(math.prod(weight.shape) for weight in weights))
        self.apart: dict[tuple[int, ...], Factor] = {}
        self.differentiated: tuple[int, ...] = ()

        more = tf.TensorSpec([None], tf.float64), tf.TensorSpec([], tf.bool)
        self.trace = quietly_traced(self._traced, input_signature=(*signature, *more))
        self.trace.get_concrete_function()

    def compute(self, x: Any, y: Any) -> GradientFactors:
        """The factors of the examples `x`, `y`."""
        ones = tf.ones(tf.shape(tf.nest.flatten(x)[0])[:1], tf.float64)
        found: Trace = self.trace(x, y, ones, False)
        return found.factors

    @property
    def traced(self) -> Trace:
        """What was traced, as tensors of its graph."""
        found: Trace = self.trace.get_concrete_function().structured_outputs
        return found

    @property
    def graph(self) -> tf.Graph:
        """The traced graph."""
        return self.trace.get_concrete_function().graph

    @property
    def has_fixed_outputs(self) -> bool:
        """Whether all sizes of an example's outputs are known."""
        outputs = [output for output in tf.nest.flatten(self.traced.factors.predictions) if tf.is_tensor(output)]
        return all(output.shape.rank is not None and None not in output.shape[1:].as_list() for output in outputs)

    def _traced(self, x: Any, y: Any, coefficients: tf.Tensor, with_batch: tf.Tensor) -> Trace:
        """All that is traced.

        Args:
            x: Inputs.
            y: Targets.
            coefficients: (n,) float64: what each example's loss is multiplied by, before it is differentiated.
            with_batch: Whether the gradients of the batch are wanted too.
        """
        losses, predictions = self._forward(x, y)
        outputs = [output for output in tf.nest.flatten(predictions) if output.dtype.is_floating]
        scales = inverse_scales(_largest(tf.gradients(losses, outputs), losses))
        upstream = scales * tf.cast(coefficients, losses.dtype)
        examples = tf.nest.flatten((x, y))
        sample = Sample([*examples, coefficients], tf.nest.flatten(self._sample))
        found, batch = self._gradients(examples, losses, upstream, sample)
        apart = {weights: in_precision(factor, losses.dtype) for weights, factor in found.items()}
        outers = {weights: factor for weights, factor in apart.items() if not tf.is_tensor(factor)}
        formed = _side_by_side({weights: factor for weights, factor in apart.items() if tf.is_tensor(factor)})
        if not apart:
            formed = {(): no_gradients(losses)}
        depends = VariableDependence()
        fixed = tuple(not any(map(depends, tf.nest.flatten(factor.rows))) for factor in outers.values())
        self.layout = Layout(tuple(formed), tuple(outers), fixed, self.layout.sizes)
        self.costs = [
            cost_of(weights, factor, [use for weight in weights for use in self._uses[weight]], self.layout.sizes)
            for weights, factor in apart.items()
        ]
        pairs = tuple((factor.rows, factor.columns) for factor in outers.values())
        norms = squared_norms(tuple(formed.values()), pairs, losses)
        factors = GradientFactors(tuple(formed.values()), pairs, norms, scales, losses, predictions)
        self.apart = apart
        self.differentiated = tuple(batch)
        outputs = [output for output in tf.nest.flatten(factors) if tf.is_tensor(output)]
        return Trace(factors, tuple(on_demand(with_batch, list(batch.values()), outputs)))

    @cached_property
    def bytes_per_example(self) -> tuple[int, int]:
        """Bytes that the factors of one example take, and about those that are alive at a time on the way."""
        factors = self.traced.factors
        outputs = tf.nest.flatten((factors.formed, factors.outers))
        return sum(map(row_bytes, outputs)), peak_row_bytes([*outputs, factors.losses])

    def _handles(self, graph: tf.Graph) -> list[tf.Tensor]:
        return [graph.capture(variable_of(weight).handle) for weight in self._weights]

    def _gradients(
        self, examples: Sequence[tf.Tensor], losses: tf.Tensor, upstream: tf.Tensor, sample: Sample
    ) -> tuple[dict[tuple[int, ...], Factor], dict[int, tf.Tensor]]:
        """By weights (of one factor) their per-example gradients, and by weight the gradient of the batch.

        Weights on which no loss depends are left out: theirs are zero.

        Args:
            examples: Tensors that hold example data.
            losses: (n,).
            upstream: (n,) what each loss is multiplied by.
            sample: On which it is measured what the trace leaves open.
        """
        graph = losses.graph
        handles = self._handles(graph)
        sites = []
        for site in find_uses(graph, examples, handles, losses, sample):
            if site.weights <= self._exclude:
                continue
            if len(site.operation.outputs) == 1:
                sites.append(site)
            else:
                self.missing.update(dict.fromkeys(site.weights, f"{site.operation.type} has several outputs"))
        outputs = [site.operation.outputs[0] for site in sites]
        wanted = [index for index in range(len(handles)) if index not in self._exclude]
        gradients = tf.gradients(losses, [*outputs, *(handles[index] for index in wanted)], upstream)
        totals = gradients[len(outputs) :]
        reached = [
            (site, tf.convert_to_tensor(delta))
            for site, delta in zip(sites, gradients[: len(outputs)], strict=True)
            if delta is not None  # else the losses do not change with this output
        ]
        places = sample.places([delta for _, delta in reached])
        num_examples = tf.shape(examples[0])[0]
        factors: dict[int, list[Factor]] = defaultdict(list)
        # By recipe: an unrolled layer computes the same tensor from its weights again at every step.
        derived: dict[str, tuple[tf.Tensor, frozenset[int], list[Factor]]] = {}
        # By weight: the output gradients of its uses, and what it is there.
        received: dict[int, list[tuple[str, str]]] = defaultdict(list)
        recipes: dict[str, str] = {}
        self._uses = defaultdict(list)
        for (site, delta), place in zip(reached, places, strict=True):
            try:
                factor = self._factor(site, delta, place, num_examples)
            except NoRule as reason:
                self.missing.update(dict.fromkeys(site.weights, str(reason)))
                continue
            except Exception as error:  # a rule that meets what it was not made for
                self.missing.update(dict.fromkeys(site.weights, f"{site.operation.type}: {error}"))
                continue
            tensor = site.operation.inputs[site.operand]
            for weight in sorted(site.weights):
                self._uses[weight].append((site.operation.type, cost_of_forming(site, factor)))
            weight = next(iter(site.weights))
            if len(site.weights) == 1 and is_view(tensor, handles[weight]):
                factors[weight].append(factor)
                received[weight].append((delta.name, role_of(site)))
            elif len(site.weights) == 1 and isinstance(factor, Outer) and is_transposed_view(tensor, handles[weight]):
                factors[weight].append(Outer(factor.columns, factor.rows))
                received[weight].append((delta.name, OTHER))
            else:
                derived.setdefault(recipe(tensor, recipes), (tensor, site.weights, []))[2].append(factor)
        pulled, missing = PullBack(handles)(
            [
                Derived(tensor, weights, first_columns(formed_sum(parts), tensor.shape.num_elements()))
                for tensor, weights, parts in derived.values()
            ]
        )
        self.missing.update(missing)
        for weight, gradients in pulled.items():
            factors[weight] += gradients
            received[weight] += [(gradient.name, OTHER) for gradient in gradients]
        merged = {
            weight: merge(factors[weight], self._num_examples, sum(self.layout.sizes))
            for weight in sorted(factors)
            if weight not in self._exclude.union(self.missing)
        }
        batch = {
            weight: tf.convert_to_tensor(total)
            for weight, total in zip(wanted, totals, strict=True)
            if total is not None and weight not in self.missing
        }
        return with_biases(merged, received, [tuple(weight.shape) for weight in self._weights]), batch

    def _factor(self, site: UseSite, delta: tf.Tensor, place: Place | None, num_examples: tf.Tensor) -> Factor:
        if place is None:
            raise NoRule(f"no axis of a {site.operation.type} can hold the examples")
        if not place.is_measured:
            self.unmeasured |= site.weights
        operand = site.operation.inputs[site.operand]
        if operand.dtype == tf.resource:
            shape = self._weights[next(iter(site.weights))].shape
        elif operand.shape.is_fully_defined():
            shape = tuple(operand.shape)
        else:
            raise NoRule(f"{site.operation.type} of a weight whose shape is not known while tracing")
        delta.set_shape(site.operation.outputs[0].shape)
        return apply_rule(Use(site.operation, site.operand, delta, num_examples, shape, place))


def _side_by_side(blocks: dict[tuple[int, ...], tf.Tensor]) -> dict[tuple[int, ...], tf.Tensor]:
    """The same gradients with the small ones in one block."""
    small = {weights: block for weights, block in blocks.items() if block.shape[1] < _SMALL}
    if len(small) < 2:
        return blocks
    joined = {weights: block for weights, block in blocks.items() if weights not in small}
    joined[sum(small, ())] = tf.concat(list(small.values()), 1)
    return joined


def _largest(gradients: Sequence[tf.Tensor | None], losses: tf.Tensor) -> tf.Tensor:
    """(n,): the largest absolute entry of each example's gradient with respect to the outputs."""
    sizes = [
        tf.reduce_max(tf.abs(tf.reshape(gradient, [tf.shape(losses)[0], -1])), 1)
        for gradient in gradients
        if gradient is not None
    ]
    return tf.reduce_max(tf.stack([tf.cast(size, losses.dtype) for size in sizes]), 0) if sizes else losses * 0
