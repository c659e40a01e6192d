"""The proof, at run time and for each weight, that per-example gradients are right.

(a) Every weight is in the comparison, whether or not a use of it was found. For a few random examples, (b) the
per-example gradients must sum to the ordinary batch gradient and (c) the first of them must equal the gradients of
one-example tapes. (b) alone does not do: rows given to the wrong example still sum right. (c) alone does not do either:
where examples interact, one-example tapes are not the gradients of the batch. A weight is proved once the gradients of
the examples compared were not all the same; at initialisation behind a gate that is zero, or with one example, any
rule passes; and a gradient that is all rounding noise proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff.gradients.features import gradients_by_weight

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
    rows = gradients_by_weight(candidate.compute(x, y), candidate.layout)
    batch = reference.gradients(x, y)
    alone = []
    for index in range(min(len(drawn), _NUM_ALONE)):
        one_x, one_y = tf.nest.map_structure(lambda tensor, i=index: tensor[i : i + 1], (x, y))
        alone.append(reference.gradients(one_x, one_y))
    found = [gradient.numpy().astype(np.float64) for gradient in rows]
    whole = np.sqrt(sum((gradient**2).sum() for gradient in found))
    proved, wrong = set(), {}
    for weight in weights:
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
    return Verdict(frozenset(proved), wrong)
