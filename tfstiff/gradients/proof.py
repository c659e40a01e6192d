"""The proof, at run time and for each weight, that per-example gradients are right.

For a few random examples with losses L_i and random c_i, the gradients g_i that the rules give must satisfy

    Σ_i c_i g_i = ∇ Σ_i c_i L_i,

the right-hand side by TensorFlow's own differentiation. A rule that is wrong, that gives a gradient to another example
or leaves out a use, and an example that has a part in another's loss, all break it; with c_i = 1 on both sides alone,
rows given to the wrong example would still sum right. Every weight is in the comparison, whether or not a use of it was
found. The c_i sum to zero, so that gradients that are all the same prove nothing, as no mix-up of them would show.

Both sides are computed by the same function, the one that measures, whose losses are multiplied by the c_i either
before they are differentiated or afterwards. It runs twice, with the same forward pass to the last bit, so that no unit
falls on the two sides of the kink of its ReLU. The sides are compared by random projections (`sketches`), which need no
gradient of an example.

Measurements use products of gradients that are never formed. So the products of these examples with their random
combination, and their squared lengths, as they are made for measurements, must be those of the gradients, and no weight
be in them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff.gradients.evidence import Examiner, Gradients, Products
from tfstiff.gradients.factors import tensors_of
from tfstiff.gradients.loss_checks import Outcome
from tfstiff.gradients.owners import Sample
from tfstiff.gradients.structured import Structured, Trace

_NUM_EXAMPLES = 8
_ONE_OF = 32  # examples of a call, one is asked whether gradients are still zero, but at least two
# Largest difference accepted, relative to the norm of the weight's own gradients, and to that of all weights'
# gradients: what cancels to zero in exact arithmetic, such as the bias of an attention key, is noise of that size. Two
# sums of the same numbers in float32 differ by 1e-7 to 1e-5; a wrong rule is off by its own size.
TOLERANCE = {tf.float64: (1e-8, 1e-15), tf.float32: (1e-3, 1e-6), tf.bfloat16: (1e-1, 1e-2), tf.float16: (3e-2, 1e-3)}
_CLEAR = 100  # A gradient of more than so many times what noise may be is no noise.
_STILL = 300  # One that was noise is so up to here: where it stands at the limit, it need not be compared each time.


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


def drawn(x: Any, y: Any, seed: int, most: int = _NUM_EXAMPLES) -> tuple[Any, Any]:
    """A few examples, drawn at random; a single one twice: TensorFlow's convolutions of one corrupt memory on CPU."""
    count = len(tf.nest.flatten(x)[0])
    index = np.random.default_rng(seed).choice(count, min(count, most), replace=False)
    if count == 1:
        index = np.zeros(2, int)
    return tf.nest.map_structure(lambda array: tf.gather(array, index), (x, y))


class Proof:
    """Compares the per-example gradients of a traced model with gradients of batches.

    Args:
        part: The traced model.
        shapes: Shapes of all weights.
        coarsest: The lowest precision that the model computes in, where that is not the one of its gradients.

    Attributes:
        seen: The seed of the last comparison, and what the model computed of its examples; None before there is one.
    """

    def __init__(self, part: Structured, shapes: Sequence[tuple[int, ...]], coarsest: tf.DType = tf.float64) -> None:
        self._part, self._coarsest = part, coarsest
        self._examiner = Examiner(part, [tuple(shape) for shape in shapes])
        traced = part.traced
        self.seen: tuple[int, Outcome] | tuple[None, None] = None, None
        self._dtypes = {coarsest, traced.factors.losses.dtype, *(tensor.dtype for tensor in traced.batch)}

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
            traced: Trace = self._part.trace(x, y, tf.constant(coefficients), True)
            before = self._examiner.gradients(traced, ones, weights)
            del traced  # before there is another
            traced = self._part.trace(x, y, tf.constant(ones), True)
            after = self._examiner.gradients(traced, coefficients, weights)
            made = self._examiner.products(traced, coefficients, weights)
            self.seen = seed, Outcome.of(traced.factors.losses, traced.factors.predictions)
        except (tf.errors.InvalidArgumentError, ValueError):
            guilty = self._guilty(x, y) & set(weights)
            return Verdict(wrong=dict.fromkeys(guilty, "rows are not laid out as a rule supposes"))
        return self._verdict(after, before, made, set(weights))

    def is_zero(self, weights: Collection[int], x: Any, y: Any, seed: int) -> bool:
        """Whether the gradients of all of `weights` are zero, but for rounding, on a few of the examples `x`, `y`."""
        most = len(tf.nest.flatten(x)[0]) // _ONE_OF
        factors = self._part.compute(*drawn(x, y, seed, min(max(most, 2), _NUM_EXAMPLES)))
        coefficients = np.random.default_rng(seed).normal(size=len(factors.losses))  # gradients all alike are not zero
        combined = self._examiner.combined(factors, coefficients, weights)
        whole = np.sqrt(factors.squared_norms.numpy().astype(np.float64).sum())
        _, noise = self._tolerance()
        return all(
            index not in combined or np.linalg.norm(combined[index]) <= _STILL * noise * whole for index in weights
        )

    def _tolerance(self) -> tuple[float, float]:
        return max(TOLERANCE[dtype] for dtype in self._dtypes)

    def _verdict(self, after: Gradients, before: Gradients, made: Products, weights: set[int]) -> Verdict:
        relative, noise = self._tolerance()
        sides = {}
        for index in weights:
            found = [evidence.get(index) for evidence in (after.combined, before.combined, after.batch, before.batch)]
            known = next((sketch for sketch in found if sketch is not None), None)
            if known is not None:
                sides[index] = [np.zeros_like(known) if sketch is None else sketch for sketch in found]
        batch_norms = [np.linalg.norm(side) for found in (after.batch, before.batch) for side in found.values()]
        whole = np.linalg.norm(batch_norms) if batch_norms else 0.0
        proved, zero = set(), set()
        wrong = self._wrong_products(made, relative, noise)
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

    def _wrong_products(self, evidence: Products, relative: float, noise: float) -> dict[int, str]:
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
        for weights, pair in evidence.pairs.items():
            difference = np.linalg.norm(pair[0] - pair[1])
            if not difference <= relative * np.linalg.norm(pair[1]) + floor:
                wrong |= dict.fromkeys(weights, f"products differ from those of the gradients (by {difference:.2g})")
        difference = np.linalg.norm(made - expected)
        if not difference <= relative * expected.sum() + floor:
            reason = f"squared lengths differ from those of the gradients (by {difference:.2g})"
            wrong = dict.fromkeys(occurrences, reason) | wrong
        return wrong

    def _guilty(self, x: Any, y: Any) -> set[int]:
        """The weights whose rows cannot be put together: found by halving the set of all."""
        examples = tf.nest.flatten((x, y))
        sample = Sample(self._part.graph.inputs[: len(examples) + 1], examples)
        waiting = [tuple(self._part.apart.items())]
        guilty: set[int] = set()
        while waiting:
            groups = waiting.pop()
            tensors = [tensor for _, factor in groups for tensor in tensors_of(factor)]
            try:
                (values,) = sample.evaluate(tensors, np.ones(len(examples[0])))
                is_wrong = any(len(value) != len(examples[0]) for value in values)
            except tf.errors.InvalidArgumentError:
                is_wrong = True
            if is_wrong and len(groups) == 1:
                guilty.update(groups[0][0])
            elif is_wrong:
                waiting += [groups[: len(groups) // 2], groups[len(groups) // 2 :]]
        return guilty or set(range(len(self._part.layout.sizes)))


def _coefficients(count: int, seed: int) -> np.ndarray:
    """(count,) random numbers of mean zero and variance one."""
    values = np.random.default_rng(seed).normal(size=count)
    values -= values.mean()
    return np.asarray(values / np.sqrt((values**2).mean()))
