"""The structured method: per-example gradients from one backward pass over the batch.

One trace finds every use of every weight (`uses`). One backward pass gives the gradient of the summed losses with
respect to every use's output; row by row these are the gradients of the examples' own losses, since an example's loss
depends on no other example's rows. A rule for each operation (`operations`) turns them into per-example gradients.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import variable_of
from tfstiff.gradients.factors import Factor, Outer, formed_sum, in_precision, merge
from tfstiff.gradients.gradient_factors import GradientFactors, Layout, inverse_scales, no_gradients, squared_norms
from tfstiff.gradients.operations import NoRule, Use, apply_rule
from tfstiff.gradients.pulling_back import Derived, PullBack
from tfstiff.gradients.uses import UseSite, VariableDependence, find_uses, is_view, recipe

# Formed gradients of fewer entries than this lie side by side: a matrix product of few columns costs a pass over the
# (n, n) result all the same.
_SMALL = 512

# What a weight is to the output of an operation that it meets examples at.
_KERNEL, _BIAS, _OTHER = "kernel", "bias", "other"

# Operations whose outputs are their inputs, perhaps of another shape.
_VIEWS = ("Identity", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "PreventGradient")

Forward = Callable[[Any, Any], tuple[tf.Tensor, Any]]  # (x, y) -> per-example losses (n,), predictions


@dataclass(frozen=True)
class Cost:
    """What the gradients of some weights cost.

    Attributes:
        weights: Their indices.
        operations: By type: at how many operations they meet examples.
        form: `formed`, `factors` or `lookup`; the last two with the number of positions.
        for_each_pair: Multiply-adds of one product of gradients.
        for_each_example: Multiply-adds of forming one gradient.
        bytes_for_each_example: What is held.
    """

    weights: tuple[int, ...]
    operations: Mapping[str, int]
    form: str
    for_each_pair: int
    for_each_example: int
    bytes_for_each_example: int


class Structured:
    """Traces a model once and computes the `GradientFactors` of any number of examples.

    Args:
        forward: Computes per-example losses and predictions.
        weights: The weights to differentiate with respect to.
        signature: Structure of `tf.TensorSpec` of (x, y), first axis unknown, all others known.
        num_examples: Size of the Gram matrices to come; only the choice of the cheaper form depends on it.
        exclude: Indices of weights to leave out.

    Attributes:
        layout: Where each weight is in the factors.
        missing: By weight index, why its per-example gradients cannot be had in this way.
        costs: What is computed for each weight, or for several together.
    """

    def __init__(
        self,
        forward: Forward,
        weights: Sequence[keras.Variable],
        signature: Any,
        num_examples: int,
        exclude: Collection[int] = (),
    ) -> None:
        self.missing: dict[int, str] = {}
        self.costs: list[Cost] = []
        self._uses: dict[int, list[tuple[str, int]]] = {}  # by weight: operations, and multiply-adds of forming
        self._weights = weights
        self._num_examples = num_examples
        self._exclude = frozenset(exclude)
        sizes = tuple(math.prod(weight.shape) for weight in weights)
        self.layout = Layout((), (), (), sizes)

        @tf.function(input_signature=signature, autograph=False)
        def compute(x: Any, y: Any) -> GradientFactors:
            losses, predictions = forward(x, y)
            outputs = [output for output in tf.nest.flatten(predictions) if output.dtype.is_floating]
            scales = inverse_scales(_largest(tf.gradients(losses, outputs), losses))
            factors = {
                weights: in_precision(factor, losses.dtype)
                for weights, factor in self._gradients(tf.nest.flatten((x, y)), losses, scales).items()
            }
            outers = {weights: factor for weights, factor in factors.items() if not tf.is_tensor(factor)}
            formed = _side_by_side({w: factor for w, factor in factors.items() if tf.is_tensor(factor)})
            if not factors:
                formed = {(): no_gradients(losses)}
            depends = VariableDependence()
            fixed = tuple(not depends(factor.rows) for factor in outers.values())
            self.layout = Layout(tuple(formed), tuple(outers), fixed, sizes)
            self.costs = [self._cost(weights, factor) for weights, factor in factors.items()]
            pairs = tuple((factor.rows, factor.columns) for factor in outers.values())
            return GradientFactors(
                tuple(formed.values()),
                pairs,
                squared_norms(tuple(formed.values()), pairs, losses),
                scales,
                losses,
                predictions,
            )

        self.compute = compute
        compute.get_concrete_function()

    @cached_property
    def bytes_per_example(self) -> tuple[int, int]:
        """Bytes that the factors of one example take, and about those that are alive at a time on the way."""
        traced = self.compute.get_concrete_function()
        factors = traced.structured_outputs
        outputs = tf.nest.flatten((factors.formed, factors.outers))
        return sum(map(_row_bytes, outputs)), _peak_row_bytes(traced.graph)

    def _cost(self, weights: tuple[int, ...], factor: Factor) -> Cost:
        uses = [use for weight in weights for use in self._uses[weight]]
        operations = dict(Counter(name for name, _ in uses))
        if tf.is_tensor(factor):
            size = sum(self.layout.sizes[weight] for weight in weights)
            return Cost(weights, operations, "formed", size, sum(cost for _, cost in uses), _row_bytes(factor))
        positions = factor.columns.shape[1]
        name = "factors" if isinstance(factor, Outer) else "lookup"
        form = f"{name}, {positions} position{'s' if positions > 1 else ''}"
        held = _row_bytes(factor.rows) + _row_bytes(factor.columns)
        return Cost(weights, operations, form, factor.cost_of_pair, 0, held)

    def _handles(self, graph: tf.Graph) -> list[tf.Tensor]:
        return [graph.capture(variable_of(weight).handle) for weight in self._weights]

    def _gradients(
        self, examples: Sequence[tf.Tensor], losses: tf.Tensor, scales: tf.Tensor
    ) -> dict[tuple[int, ...], Factor]:
        """By weights (of one factor): their per-example gradients.

        Weights on which no loss depends are left out: theirs are zero.
        """
        graph = losses.graph
        handles = self._handles(graph)
        sites = [site for site in find_uses(graph, examples, handles, losses) if not site.weights <= self._exclude]
        outputs = [site.operation.outputs[0] for site in sites]
        deltas = tf.gradients(losses, outputs, scales) if outputs else []
        factors: dict[int, list[Factor]] = defaultdict(list)
        # By recipe: an unrolled layer computes the same tensor from its weights again at every step.
        derived: dict[str, tuple[tf.Tensor, frozenset[int], list[Factor]]] = {}
        # By weight: the output gradients of its uses, and what it is there.
        received: dict[int, list[tuple[str, str]]] = defaultdict(list)
        recipes: dict[str, str] = {}
        self._uses = defaultdict(list)
        for site, delta in zip(sites, deltas, strict=True):
            if delta is None and len(site.operation.outputs) == 1:  # the losses do not change with this output
                continue
            try:
                factor = self._factor(site, delta, tf.shape(examples[0])[0])
            except NoRule as reason:
                self.missing.update(dict.fromkeys(site.weights, str(reason)))
                continue
            tensor = site.operation.inputs[site.operand]
            for weight in site.weights:
                self._uses[weight].append((site.operation.type, _cost_of_forming(site, factor)))
            if len(site.weights) == 1 and is_view(tensor, handles[next(iter(site.weights))]):
                weight = next(iter(site.weights))
                factors[weight].append(factor)
                received[weight].append((delta.name, _role(site)))
            else:
                derived.setdefault(recipe(tensor, recipes), (tensor, site.weights, []))[2].append(factor)
        pulled, missing = PullBack(handles)(
            [
                Derived(tensor, weights, formed_sum(parts)[:, : tensor.shape.num_elements()])
                for tensor, weights, parts in derived.values()
            ]
        )
        self.missing.update(missing)
        for weight, gradients in pulled.items():
            factors[weight] += gradients
            received[weight] += [(gradient.name, _OTHER) for gradient in gradients]
        merged = {
            weight: merge(factors[weight], self._num_examples)
            for weight in sorted(factors)
            if weight not in self._exclude.union(self.missing)
        }
        return _with_biases(merged, received, [tuple(weight.shape) for weight in self._weights])

    def _factor(self, site: UseSite, delta: tf.Tensor | tf.IndexedSlices, num_examples: tf.Tensor) -> Factor:
        if len(site.operation.outputs) != 1:
            raise NoRule(f"{site.operation.type} has several outputs")
        operand = site.operation.inputs[site.operand]
        if operand.dtype == tf.resource:
            shape = self._weights[next(iter(site.weights))].shape
        elif operand.shape.is_fully_defined():
            shape = tuple(operand.shape)
        else:
            raise NoRule(f"{site.operation.type} of a weight whose shape is not known while tracing")
        delta = tf.convert_to_tensor(delta)
        use = Use(site.operation, site.operand, delta, num_examples, shape, site.places)
        return apply_rule(use)


def _cost_of_forming(site: UseSite, factor: Factor) -> int:
    """Multiply-adds of forming one example's gradient of a use: for each position an outer product, or an addition."""
    if isinstance(factor, Outer):
        return math.prod(factor.rows.shape[1:]) * factor.columns.shape[-1]
    if not tf.is_tensor(factor):
        return math.prod(factor.columns.shape[1:])
    is_transposed = "BackpropInput" in site.operation.type
    output = site.operation.inputs[2] if is_transposed else site.operation.outputs[0]
    entries = math.prod(size for size in output.shape.as_list() if size)
    if not site.operation.type.startswith("Conv"):
        return entries
    weight = site.operation.inputs[site.operand].shape
    return entries * math.prod(weight[:-1])


def _peak_row_bytes(graph: tf.Graph) -> int:
    """The most bytes for each example that are alive at a time, where operations run in the order of the graph."""
    operations = graph.get_operations()
    last_use = {tensor.name: place for place, operation in enumerate(operations) for tensor in operation.inputs}
    alive = peak = 0
    for place, operation in enumerate(operations):
        alive += sum(map(_own_row_bytes, operation.outputs))
        peak = max(peak, alive)
        inputs = {tensor.name: tensor for tensor in operation.inputs}
        alive -= sum(_own_row_bytes(tensor) for name, tensor in inputs.items() if last_use[name] == place)
    return peak


def _own_row_bytes(tensor: tf.Tensor) -> int:
    """As `_row_bytes`; 0 for another shape of what is held already."""
    return 0 if tensor.op.type in _VIEWS else _row_bytes(tensor)


def _row_bytes(tensor: tf.Tensor) -> int:
    """Bytes of a tensor for each entry of its axis of unknown size; 0 for one that has none."""
    sizes = tensor.shape.as_list() if tensor.shape.rank else []
    return math.prod(size for size in sizes if size) * tensor.dtype.size if None in sizes else 0


def _role(site: UseSite) -> str:
    """`_KERNEL` where `y_t = x_t W`, `_BIAS` where a weight is added along the last axis of y."""
    operation = site.operation
    if operation.type in ("Add", "AddV2") or (
        operation.type == "BiasAdd" and operation.get_attr("data_format") == b"NHWC"
    ):
        return _BIAS
    transposed = {"MatMul": "transpose_b", "BatchMatMul": "adj_y", "BatchMatMulV2": "adj_y", "BatchMatMulV3": "adj_y"}
    is_product = operation.type in transposed and site.operand == 1
    return _KERNEL if is_product and not operation.get_attr(transposed[operation.type]) else _OTHER


def _with_biases(
    factors: dict[int, Factor], received: dict[int, list[tuple[str, str]]], shapes: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Factor]:
    """Joins the bias of a layer to the kernel whose output it is added to.

    The bias receives the same output gradients as the kernel, so its gradient is that of one more row of the kernel
    that always sees a 1, and `(a_i·a_j + 1)(d_i·d_j)` is the product of both: one more entry of a_i instead of a matrix
    product. Where several kernels receive them, because their outputs are added up, the bias is joined to the first.
    """

    def is_only(weight: int, role: str) -> bool:
        return all(found == role for _, found in received[weight])

    biases = {
        tuple(name for name, _ in received[weight]): weight
        for weight in factors
        if len(shapes[weight]) == 1 and is_only(weight, _BIAS)
    }
    joined: dict[tuple[int, ...], Factor] = {}
    for weight, factor in factors.items():
        if not isinstance(factor, Outer) or not is_only(weight, _KERNEL):
            continue
        bias = biases.pop(tuple(name for name, _ in received[weight]), None)
        if bias is not None and shapes[bias] == (factor.columns.shape[-1],):
            ones = tf.ones_like(factor.rows[..., :1])
            joined[weight, bias] = Outer(tf.concat([factor.rows, ones], -1), factor.columns)
    taken = {weight for weights in joined for weight in weights}
    return joined | {(weight,): factor for weight, factor in factors.items() if weight not in taken}


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
