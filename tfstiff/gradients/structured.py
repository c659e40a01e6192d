"""The structured method: per-example gradients from one backward pass over the batch.

One trace finds every use of every weight (`uses`). One backward pass gives the gradient of the summed losses with
respect to every use's output; row by row these are the gradients of the examples' own losses, since an example's loss
depends on no other example's rows. A rule for each operation (`operations`) turns them into per-example gradients.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfstiff.gradients.factors import Factor, formed_sum, in_precision, merge
from tfstiff.gradients.features import Features, Layout, inverse_scales, join_formed
from tfstiff.gradients.operations import NoRule, Use, apply_rule
from tfstiff.gradients.tracing import variable_of
from tfstiff.gradients.uses import UseSite, find_uses, is_view, recipe

Forward = Callable[[Any, Any], tuple[tf.Tensor, Any]]  # (x, y) -> per-example losses (n,), predictions


class Structured:
    """Traces a model once and computes the `Features` of any number of examples.

    Args:
        forward: Computes per-example losses and predictions.
        weights: The weights to differentiate with respect to.
        signature: Structure of `tf.TensorSpec` of (x, y), first axis unknown, all others known.
        num_examples: Size of the Gram matrices to come; only the choice of the cheaper form depends on it.
        exclude: Indices of weights to leave out.

    Attributes:
        layout: Where each weight is in the features.
        missing: By weight index, why its per-example gradients cannot be had in this way.
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
        self._weights = weights
        self._num_examples = num_examples
        self._exclude = frozenset(exclude)
        sizes = tuple(math.prod(weight.shape) for weight in weights)
        self.layout = Layout((), (), sizes)

        @tf.function(input_signature=signature, autograph=False)
        def compute(x: Any, y: Any) -> Features:
            losses, predictions = forward(x, y)
            outputs = [output for output in tf.nest.flatten(predictions) if output.dtype.is_floating]
            scales = inverse_scales(_largest(tf.gradients(losses, outputs), losses))
            blocks = {
                weight: in_precision(block, losses.dtype)
                for weight, block in self._gradients(tf.nest.flatten((x, y)), losses, scales).items()
            }
            whole = {weight: block for weight, block in blocks.items() if tf.is_tensor(block)}
            factored = {weight: block for weight, block in blocks.items() if not tf.is_tensor(block)}
            self.layout = Layout(tuple(whole), tuple(factored), sizes)
            return Features(
                join_formed(list(whole.values()), losses),
                tuple((factor.rows, factor.columns) for factor in factored.values()),
                scales,
                losses,
                predictions,
            )

        self.compute = compute
        compute.get_concrete_function()

    def _gradients(self, examples: Sequence[tf.Tensor], losses: tf.Tensor, scales: tf.Tensor) -> dict[int, Factor]:
        """By weight: its per-example gradients. Weights on which no loss depends are left out: theirs are zero."""
        graph = losses.graph
        handles = [graph.capture(variable_of(weight).handle) for weight in self._weights]
        sites = [site for site in find_uses(graph, examples, handles, losses) if not site.weights <= self._exclude]
        outputs = [site.operation.outputs[0] for site in sites]
        deltas = tf.gradients(losses, outputs, scales) if outputs else []
        factors: dict[int, list[Factor]] = defaultdict(list)
        # By recipe: an unrolled layer computes the same tensor from its weights again at every step.
        derived: dict[str, tuple[tf.Tensor, frozenset[int], list[Factor]]] = {}
        recipes: dict[str, str] = {}
        for site, delta in zip(sites, deltas, strict=True):
            if delta is None and len(site.operation.outputs) == 1:  # the losses do not change with this output
                continue
            try:
                factor = self._factor(site, delta, losses)
            except NoRule as reason:
                self.missing.update(dict.fromkeys(site.weights, str(reason)))
                continue
            tensor = site.operation.inputs[site.operand]
            if len(site.weights) == 1 and is_view(tensor, handles[next(iter(site.weights))]):
                factors[next(iter(site.weights))].append(factor)
            else:
                derived.setdefault(recipe(tensor, recipes), (tensor, site.weights, []))[2].append(factor)
        for tensor, weights, parts in derived.values():
            try:
                pulled = self._pull_back(tensor, weights, parts, handles)
            except (ValueError, NotImplementedError) as reason:  # an operation that TensorFlow cannot vectorise
                self.missing.update(dict.fromkeys(weights, f"cannot pull back through {tensor.op.type}: {reason}"))
                continue
            for weight, gradient in pulled.items():
                factors[weight].append(gradient)
        return {
            weight: merge(factors[weight], self._num_examples)
            for weight in sorted(factors)
            if weight not in self._exclude.union(self.missing)
        }

    def _factor(self, site: UseSite, delta: tf.Tensor | tf.IndexedSlices, losses: tf.Tensor) -> Factor:
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
        use = Use(site.operation, site.operand, delta, tf.shape(losses)[0], shape, site.places)
        return apply_rule(use)

    def _pull_back(
        self,
        tensor: tf.Tensor,
        weights: frozenset[int],
        parts: list[Factor],
        handles: Sequence[tf.Tensor],
    ) -> dict[int, tf.Tensor]:
        """From per-example gradients of a tensor computed from weights to those of the weights themselves.

        The tensor depends on no example, so its vector-Jacobian product is the same linear map for all of them.
        """
        indices = sorted(weights)
        gradient = formed_sum(parts)
        reads = {
            index: [read for read in _reads(tensor) if read.op.inputs[0].name == handles[index].name]
            for index in indices
        }

        def one(cotangent: tf.Tensor) -> list[tf.Tensor]:
            cotangent = tf.reshape(cotangent, tensor.shape)
            pulled = []
            for index in indices:
                gradients = tf.gradients(tensor, reads[index], cotangent)
                found = [tf.reshape(part, [-1]) for part in gradients if part is not None]
                pulled.append(tf.add_n(found) if found else tf.zeros([self.layout.sizes[index]], tensor.dtype))
            return pulled

        return dict(zip(indices, tf.vectorized_map(one, gradient, fallback_to_while_loop=False), strict=True))


def _largest(gradients: Sequence[tf.Tensor | None], losses: tf.Tensor) -> tf.Tensor:
    """(n,): the largest absolute entry of each example's gradient with respect to the outputs."""
    sizes = [
        tf.reduce_max(tf.abs(tf.reshape(gradient, [tf.shape(losses)[0], -1])), 1)
        for gradient in gradients
        if gradient is not None
    ]
    return tf.reduce_max(tf.stack([tf.cast(size, losses.dtype) for size in sizes]), 0) if sizes else losses * 0


def _reads(tensor: tf.Tensor) -> list[tf.Tensor]:
    """The variable reads that `tensor` is computed from."""
    found: dict[str, tf.Tensor] = {}
    seen: set[str] = set()
    waiting = [tensor]
    while waiting:
        current = waiting.pop()
        if current.name in seen:
            continue
        seen.add(current.name)
        if current.op.type == "ReadVariableOp":
            found[current.name] = current
        else:
            waiting += list(current.op.inputs)
    return list(found.values())
