"""The proof, at run time and for each weight, that per-example gradients are right.

(a) Every weight is in the comparison, whether or not a use of it was found. For a few random examples, (b) the
per-example gradients must sum to the ordinary batch gradient and (c) the first of them must equal the gradients of
one-example tapes. (b) alone does not do: rows given to the wrong example still sum right. (c) alone does not do either:
where examples interact, one-example tapes are not the gradients of the batch. A weight is proved once the gradients of
the examples compared were not all the same; at initialisation behind a gate that is zero, or with one example, any
rule passes; and a gradient that is all rounding noise proves nothing.

Measurements use products of gradients that are never formed. So (d) the products of these examples, and their squared
lengths, as they are made for measurements, must be those of the gradients compared, and no weight be in them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff.gradients.gradient_factors import GradientFactors, Layout, gradients_by_weight
from tfstiff.gradients.products import products

_NUM_SUMMED = 8
_NUM_ALONE = 3
# Largest difference accepted, relative to the norm of the weight's own gradients, and to that of all weights'
# gradients: what cancels to zero in exact arithmetic, such as the bias of an attention key, is noise of that size. Two
# float32 computations of a deep network differ by 1e-6 to 1e-5; a wrong rule is off by its own size.
_TOLERANCE = {tf.float64: (1e-8, 1e-15), tf.float32: (1e-3, 1e-6), tf.bfloat16: (1e-1, 1e-2), tf.float16: (3e-2, 1e-3)}


@dataclass(frozen=True)
class Verdict:
    """What one comparison showed, by weight index.

    Attributes:
        proved: Agreed on gradients that differ between examples.
        wrong: Disagreed, with what was found.
    """

    proved: frozenset[int]
    wrong: dict[int, str]


def compare(
    candidate: Any, reference: Any, weights: Sequence[int], x: Any, y: Any, seed: int, coarsest: tf.DType = tf.float64
) -> Verdict:
    """Compares the per-example gradients of `candidate` with batch and one-example gradients of `reference`.

    Args:
        candidate: Has `compute` and `layout`.
        reference: A `BatchGradient` over all weights.
        weights: Indices of the weights to compare.
        x: Examples to draw from; tensors or arrays, nested as the model takes them.
        y: Their targets.
        seed: Of the draw.
        coarsest: The lowest precision that the model computes in, where that is not the one of its gradients.
    """
    count = len(tf.nest.flatten(x)[0])
    drawn = np.random.default_rng(seed).choice(count, min(count, _NUM_SUMMED), replace=False)
    x, y = tf.nest.map_structure(lambda array: tf.gather(array, drawn), (x, y))
    factors = candidate.compute(x, y)
    rows = gradients_by_weight(factors, candidate.layout)
    batch = reference.gradients(x, y)
    alone = []
    for index in range(min(len(drawn), _NUM_ALONE)):
        one_x, one_y = tf.nest.map_structure(lambda tensor, i=index: tensor[i : i + 1], (x, y))
        alone.append(reference.gradients(one_x, one_y))
    found = [gradient.numpy().astype(np.float64) for gradient in rows]
    whole = np.sqrt(sum((gradient**2).sum() for gradient in found))
    proved, wrong = set(), _wrong_products(factors, candidate.layout, found, coarsest)
    for weight in set(weights) - wrong.keys():
        total = batch[weight].numpy()[0]
        expected = np.concatenate([gradients[weight].numpy() for gradients in alone])
        if not (np.isfinite(total).all() and np.isfinite(expected).all()):
            continue  # a diverged model proves nothing either way
        # The gradient of a weight is rounded to the weight's own precision, whatever it was computed in.
        relative, noise = max(_TOLERANCE[dtype] for dtype in (rows[weight].dtype, reference.dtypes[weight], coarsest))
        norm, floor = np.linalg.norm(found[weight]), noise * whole
        tolerance = relative * norm + floor
        total_error = np.linalg.norm(found[weight].sum(0) - total)
        row_error = np.linalg.norm(found[weight][: len(alone)] - expected)
        if not total_error <= tolerance:  # also where it is NaN
            wrong[weight] = f"per-example gradients do not sum to the batch gradient (off by {total_error:.2g})"
        elif not row_error <= tolerance:
            wrong[weight] = f"gradients differ from those of single examples (by {row_error:.2g})"
        elif norm > 100 * floor and (expected != expected[0]).any():
            proved.add(weight)
    return Verdict(frozenset(proved), {weight: reason for weight, reason in wrong.items() if weight in weights})


def _wrong_products(
    factors: GradientFactors, layout: Layout, rows: Sequence[np.ndarray], coarsest: tf.DType
) -> dict[int, str]:
    """By weight: in what way the products that it is in are not those of its gradients `rows`, (n, size) each."""
    occurrences = Counter(weight for weights in (*layout.formed, *layout.outers) for weight in weights)
    wrong = {weight: "it is in the products twice" for weight, count in occurrences.items() if count > 1}
    for weights, block in zip(layout.formed, factors.formed, strict=True):
        if np.any(block[:, sum(layout.sizes[weight] for weight in weights) :]):
            wrong |= dict.fromkeys(weights, "its products hold more than its gradients")
    if not layout.outers:  # the lengths of formed gradients are sums of their own squares
        return wrong
    scales = factors.scales.numpy().astype(np.float64)[:, None]
    grams = [sum((rows[weight] * scales) @ (rows[weight] * scales).T for weight in part) for part in layout.outers]
    lengths = sum(np.diag(gram) for gram in grams)
    lengths += sum((block.numpy().astype(np.float64) ** 2).sum(1) for block in factors.formed)
    if not np.isfinite(lengths).all():  # the comparison with batch and single gradients tells of these
        return wrong
    dtypes = {coarsest, factors.losses.dtype, *(columns.dtype for _, columns in factors.outers)}
    relative, noise = max(_TOLERANCE[dtype] for dtype in dtypes)
    floor = noise * lengths.sum()
    for weights, outer, gram in zip(layout.outers, factors.outers, grams, strict=True):
        difference = np.linalg.norm(products(((), (outer,)), ((), (outer,))).numpy() - gram)
        if not difference <= relative * np.trace(gram) + floor:
            wrong |= dict.fromkeys(weights, f"products differ from those of the gradients (by {difference:.2g})")
    difference = np.linalg.norm(factors.squared_norms.numpy() - lengths)
    if not difference <= relative * lengths.sum() + floor:
        reason = f"squared lengths differ from those of the gradients (by {difference:.2g})"
        wrong = dict.fromkeys(occurrences, reason) | wrong
    return wrong
