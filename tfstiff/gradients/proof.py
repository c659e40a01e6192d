"""The proof, at run time and for each weight, that per-example gradients are right.

For a few random examples with losses L_i and random c_i, the gradients g_i that the rules give must satisfy

    Σ_i c_i g_i = ∇ Σ_i c_i L_i,

the right-hand side by TensorFlow's own differentiation. A rule that is wrong, that gives a gradient to another example
or leaves out a use, and an example that has a part in another's loss, all break it; with c_i = 1 on both sides alone,
rows given to the wrong example would still sum right. Every weight is in the comparison, whether or not a use of it was
found. The c_i sum to zero, so that gradients that are all the same prove nothing, as no mix-up of them would show.

Both sides are computed by the same function, whose losses are multiplied by the c_i either before they are
differentiated or afterwards. It runs twice, with the same forward pass to the last bit, so that no unit falls on the
two sides of the kink of its ReLU. The sides are compared by random projections (`sketches`), which need no gradient of
an example, and of the batch one weight's at a time.

Measurements use products of gradients that are never formed. So the products of these examples with their random
combination, and their squared lengths, as made there, must be those of the gradients, and no weight be in them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff.gradients import sketches
from tfstiff.gradients.gradient_factors import Layout
from tfstiff.gradients.products import products
from tfstiff.gradients.structured import Structured, Trace
from tfstiff.gradients.tracing import unoptimised

_NUM_EXAMPLES = 8
_MAX_ROWS = 256  # positions of the examples whose products are checked
# Largest difference accepted, relative to the norm of the weight's own gradients, and to that of all weights'
# gradients: what cancels to zero in exact arithmetic, such as the bias of an attention key, is noise of that size. Two
# sums of the same numbers in float32 differ by 1e-7 to 1e-5; a wrong rule is off by its own size.
TOLERANCE = {tf.float64: (1e-8, 1e-15), tf.float32: (1e-3, 1e-6), tf.bfloat16: (1e-1, 1e-2), tf.float16: (3e-2, 1e-3)}
_CLEAR = 100  # A gradient of more than so many times what noise may be is no noise.


@dataclass(frozen=True)
class Verdict:
    """What one comparison showed, by weight index.

    Attributes:
        proved: Agreed on gradients that differ between examples.
        wrong: Disagreed, with what was found.
        zero: Agreed on gradients that are zero but for rounding.
    """

    proved: frozenset[int] = frozenset()
    wrong: dict[int, str] = field(default_factory=dict)
    zero: frozenset[int] = frozenset()


class _Evidence(NamedTuple):
    """What is computed for the comparison.

    Attributes:
        combined: By weight: projections of the sum of the per-example gradients times `combining`.
        batch: By weight: projections of the gradient of the batch, as TensorFlow takes it.
        products: For each pair of factors: products of a few gradients with their combination, as they are made for
            measurements, and as they should be, (2, m).
        lengths: Squared lengths of these gradients, in both ways, (2, m).
        excess: For each formed block: the largest entry behind its gradients.
    """

    combined: dict[int, tf.Tensor]
    batch: dict[int, tf.Tensor]
    products: list[tf.Tensor]
    lengths: tf.Tensor
    excess: list[tf.Tensor]


def drawn(x: Any, y: Any, seed: int) -> tuple[Any, Any]:
    """A few examples, drawn at random; a single one twice: TensorFlow's convolutions of one corrupt memory on CPU."""
    count = len(tf.nest.flatten(x)[0])
    index = np.random.default_rng(seed).choice(count, min(count, _NUM_EXAMPLES), replace=False)
    if count == 1:
        index = np.zeros(2, int)
    return tf.nest.map_structure(lambda array: tf.gather(array, index), (x, y))


class Proof:
    """Compares the per-example gradients of a traced model with gradients of batches.

    Args:
        part: The traced model.
        shapes: Shapes of all weights.
        coarsest: The lowest precision that the model computes in, where that is not the one of its gradients.
    """

    def __init__(self, part: Structured, shapes: Sequence[tuple[int, ...]], coarsest: tf.DType = tf.float64) -> None:
        self._part, self._shapes, self._coarsest = part, [tuple(shape) for shape in shapes], coarsest
        traced = part.traced
        self._widths = {
            weight: columns.shape[-1]
            for weights, (_, columns) in zip(part.layout.outers, traced.factors.outers, strict=True)
            for weight in weights
        }
        sizes = part.layout.sizes
        widths = {index: self._widths.get(index, sketches.width_of(self._shapes[index])) for index in range(len(sizes))}
        longest = max((max(width, sizes[index] // width) for index, width in widths.items()), default=1)
        self._directions = tf.constant(sketches.directions(longest), traced.factors.losses.dtype)
        self._dtypes = {coarsest, traced.factors.losses.dtype, *(tensor.dtype for tensor in traced.batch)}
        self._examine = self._examined(None)
        self._combine = quietly_traced(self._combined, reduce_retracing=True)

    def compare(self, weights: Collection[int], x: Any, y: Any, seed: int) -> Verdict:
        """Compares the gradients of `weights` on a few examples.

        Args:
            weights: Indices of the weights to compare.
            x: Examples, as the model takes them: those that `drawn` returns.
            y: Their targets.
            seed: Of the random coefficients.
        """
        count = len(tf.nest.flatten(x)[0])
        ones, coefficients = np.ones(count), _coefficients(count, seed)
        try:
            with unoptimised():
                after = _on_host(self._examine(x, y, ones, coefficients, self._directions))
                before = _on_host(self._examine(x, y, coefficients, ones, self._directions))
        except tf.errors.InvalidArgumentError:
            guilty = self._guilty(x, y, coefficients) & set(weights)
            return Verdict(wrong=dict.fromkeys(guilty, "rows are not laid out as a rule supposes"))
        return self._verdict(after, before, set(weights))

    def is_zero(self, weights: Collection[int], x: Any, y: Any, seed: int) -> bool:
        """Whether the gradients of all of `weights` are zero on a few examples, but for rounding."""
        factors = self._part.compute(x, y)
        coefficients = tf.constant(_coefficients(len(factors.losses), seed), factors.losses.dtype)
        combined = _on_host(self._combine(factors.formed, factors.outers, coefficients, self._directions))
        whole = np.sqrt(factors.squared_norms.numpy().astype(np.float64).sum())
        _, noise = self._tolerance()
        return all(
            index not in combined or np.linalg.norm(combined[index]) <= _CLEAR * noise * whole for index in weights
        )

    def _tolerance(self) -> tuple[float, float]:
        return max(TOLERANCE[dtype] for dtype in self._dtypes)

    def _verdict(self, after: _Evidence, before: _Evidence, weights: set[int]) -> Verdict:
        relative, noise = self._tolerance()
        sides = {}
        for index in weights:
            found = [evidence.get(index) for evidence in (after.combined, before.combined, after.batch, before.batch)]
            known = next((sketch for sketch in found if sketch is not None), None)
            if known is not None:
                sides[index] = [np.zeros_like(known) if sketch is None else sketch for sketch in found]
        batch_norms = [np.linalg.norm(side) for side in (after.batch, before.batch) for side in side.values()]
        whole = np.linalg.norm(batch_norms) if batch_norms else 0.0
        proved, zero = set(), set()
        wrong = self._wrong_products(after, relative, noise)
        for index, (own, summed, total, expected) in sides.items():
            if not (np.isfinite(total).all() and np.isfinite(expected).all()):
                continue  # a diverged model proves nothing either way
            floor = noise * whole
            norm = max(np.linalg.norm(side) for side in (own, summed, total, expected))
            tolerance = relative * norm + floor
            sum_error, row_error = np.linalg.norm(summed - expected), np.linalg.norm(own - expected)
            if index in wrong:
                continue
            if not sum_error <= tolerance:  # also where it is NaN
                wrong[index] = f"per-example gradients do not sum to the batch gradient (off by {sum_error:.2g})"
            elif not row_error <= tolerance:
                wrong[index] = f"per-example gradients are not each example's own (off by {row_error:.2g})"
            elif norm <= _CLEAR * floor:
                zero.add(index)
            elif np.linalg.norm(own) > 3 * tolerance:
                proved.add(index)
        zero |= weights - sides.keys()
        return Verdict(frozenset(proved), {i: reason for i, reason in wrong.items() if i in weights}, frozenset(zero))

    def _wrong_products(self, evidence: _Evidence, relative: float, noise: float) -> dict[int, str]:
        """By weight: in what way the products that it is in are not those of its gradients."""
        layout = self._part.layout
        occurrences = Counter(weight for weights in (*layout.formed, *layout.outers) for weight in weights)
        wrong = {weight: "it is in the products twice" for weight, count in occurrences.items() if count > 1}
        for weights, excess in zip(layout.formed, evidence.excess, strict=True):
            if excess:
                wrong |= dict.fromkeys(weights, "its products hold more than its gradients")
        made, expected = evidence.lengths
        if not np.isfinite(expected).all():  # the comparison of gradients tells of these
            return wrong
        floor = noise * expected.sum()
        for weights, pair in zip(layout.outers, evidence.products, strict=True):
            difference = np.linalg.norm(pair[0] - pair[1])
            if not difference <= relative * np.linalg.norm(pair[1]) + floor:
                wrong |= dict.fromkeys(weights, f"products differ from those of the gradients (by {difference:.2g})")
        difference = np.linalg.norm(made - expected)
        if not difference <= relative * expected.sum() + floor:
            reason = f"squared lengths differ from those of the gradients (by {difference:.2g})"
            wrong = dict.fromkeys(occurrences, reason) | wrong
        return wrong

    def _guilty(self, x: Any, y: Any, coefficients: np.ndarray) -> set[int]:
        """The weights whose rows cannot be put together: found by halving the set of all."""
        layout = self._part.layout
        waiting: list[tuple[tuple[int, ...], ...]] = [(*self._part.groups, *layout.outers)]
        guilty: set[int] = set()
        while waiting:
            groups = waiting.pop()
            try:
                self._examined(groups)(x, y, np.ones_like(coefficients), coefficients, self._directions)
            except tf.errors.InvalidArgumentError:
                if len(groups) == 1:
                    guilty.update(groups[0])
                else:
                    waiting += [groups[: len(groups) // 2], groups[len(groups) // 2 :]]
        return guilty or set(range(len(layout.sizes)))

    def _examined(self, groups: Collection[tuple[int, ...]] | None) -> Any:
        """The traced function that computes the evidence; of some groups of weights alone only what they share."""

        def examine(x: Any, y: Any, before: tf.Tensor, after: tf.Tensor, directions: tf.Tensor) -> Any:
            traced: Trace = self._part.trace(x, y, before)
            dtype = traced.factors.losses.dtype
            after = tf.cast(after, dtype)
            if groups is not None:
                return self._of_groups(traced, groups, after, directions)
            factors, layout = traced.factors, self._part.layout
            combined = self._combined(factors.formed, factors.outers, after, directions)
            batch = dict(zip(self._part.differentiated, traced.batch, strict=True))
            totals = {index: tf.cast(gradient, dtype) for index, gradient in batch.items()}
            pairs, lengths = _products(factors.formed, factors.outers, layout, after)
            excess = [
                tf.reduce_max(tf.abs(block[:, width:])) if block.shape[1] > width else tf.zeros([], dtype)
                for weights, block in zip(layout.formed, factors.formed, strict=True)
                if (width := sum(layout.sizes[weight] for weight in weights) or block.shape[1])
            ]
            lengths = tf.stack([factors.squared_norms[: tf.shape(lengths)[0]], lengths])
            projected = sketches.of_batch(totals, self._widths, self._shapes, directions)
            return _Evidence(combined, projected, pairs, lengths, excess)

        numbers = tf.TensorSpec([None], tf.float64)
        directions = tf.TensorSpec(self._directions.shape, self._directions.dtype)
        signature = (*self._part.signature, numbers, numbers, directions)
        return quietly_traced(examine, input_signature=signature)

    def _combined(self, formed: Any, outers: Any, weights: tf.Tensor, directions: tf.Tensor) -> dict[int, tf.Tensor]:
        return sketches.of_combination(formed, outers, self._part.layout, self._shapes, weights, directions)

    def _of_groups(self, traced: Trace, groups: Collection[tuple[int, ...]], after: tf.Tensor, directions: Any) -> Any:
        layout, part = self._part.layout, self._part
        formed = {
            weights: block for weights, block in zip(part.groups, traced.formed, strict=True) if weights in groups
        }
        pairs = zip(layout.outers, traced.factors.outers, strict=True)
        outers = {weights: pair for weights, pair in pairs if weights in groups}
        own = Layout(tuple(formed), tuple(outers), (), layout.sizes)
        tensors = tuple(formed.values()), tuple(outers.values())
        combined = sketches.of_combination(*tensors, own, self._shapes, after, directions)
        return combined, _products(*tensors, own, after)


def _products(
    formed: Sequence[tf.Tensor], outers: Sequence[tuple[tf.Tensor, tf.Tensor]], layout: Layout, weights: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """For each pair of factors the products (2, m) of m gradients with their combination, and squared lengths (m,)."""
    positions = max((columns.shape[1] for _, columns in outers), default=1)
    some = slice(max(2, min(_NUM_EXAMPLES, _MAX_ROWS // positions)))
    weights = weights[some]
    lengths = tf.zeros_like(weights)
    for block in formed:
        lengths += tf.reduce_sum(block[some] ** 2, 1)
    pairs = []
    for indices, (rows, columns) in zip(layout.outers, outers, strict=True):
        rows, columns = rows[some], columns[some]
        made = products(((), ((rows, columns),)), ((), ((rows, columns),)))
        lengths += tf.linalg.diag_part(made)
        width = columns.shape[-1]
        weighted = tf.reshape(columns * weights[:, None, None], [-1, width])
        if rows.dtype.is_integer:
            size = sum(layout.sizes[index] for index in indices) // width
            total = tf.math.unsorted_segment_sum(weighted, tf.reshape(rows, [-1]), size)
            seen = tf.gather(total, tf.reshape(rows, [-1]))
        else:
            flat = tf.reshape(rows, [-1, rows.shape[-1]])
            seen = tf.matmul(flat, tf.matmul(flat, weighted, transpose_a=True))
        expected = tf.reduce_sum(tf.reshape(seen, tf.shape(columns)) * columns, [1, 2])
        pairs.append(tf.stack([tf.linalg.matvec(made, weights), expected]))
    return pairs, lengths


def _coefficients(count: int, seed: int) -> np.ndarray:
    """(count,) random numbers of mean zero and variance one."""
    values = np.random.default_rng(seed).normal(size=count)
    values -= values.mean()
    return np.asarray(values / np.sqrt((values**2).mean()))


def _on_host(evidence: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor.numpy().astype(np.float64), evidence)
