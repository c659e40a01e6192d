"""Is an example's loss, and its gradient, a function of the example alone, whatever batch it comes in?"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff.gradients.loss_checks import interaction, others_changed
from tfstiff.measuring.audit.checks import Found, check, failed, passed
from tfstiff.measuring.audit.subject import LOSS_BOUND, Subject

_FEW = 4  # examples that are tried one by one
_SEED = 0
_INDEPENDENT = "Batch statistics in inference, losses that compare examples and the like cannot be measured."


@check("batch size", "Is an example alone what it is in a batch?")
def batch_size(subject: Subject) -> Found:
    """Compares with batches of one, of two halves, and of each example twice."""
    few = range(min(_FEW, subject.count))
    halves = np.array_split(np.arange(subject.count), 2)
    for index in [*(np.array([place]) for place in few), *halves]:
        found = subject.outcome(*subject.tensors(index))
        if difference := subject.loss_difference(found, subject.base.rows(index)):
            return failed(
                f"In a batch of {len(index)} examples losses or outputs are others than in one of {subject.count} (by "
                f"{difference:.2g}, bound {LOSS_BOUND:g}).",
                _INDEPENDENT,
            )
    within = np.stack([subject.gradient(*subject.tensors(), [place]) for place in few])
    return _of_gradients(subject, within, subject.own_gradients[list(few)], "in a batch and away from it")


@check("order", "Does the order of the examples in a batch matter?")
def order(subject: Subject) -> Found:
    """Compares with the batch reversed, and permuted."""
    permuted = np.random.default_rng(_SEED).permutation(subject.count)
    for places in (np.arange(subject.count)[::-1], permuted):
        found = subject.outcome(*subject.tensors(places))
        if difference := subject.loss_difference(found, subject.base.rows(places)):
            return failed(
                f"In another order the same examples have other losses or outputs (by {difference:.2g}, bound "
                f"{LOSS_BOUND:g}).",
                "Random numbers, positions or weights that are drawn for places in a batch cannot be measured.",
            )
    few = range(min(_FEW, subject.count))
    turned = np.stack([subject.gradient(*subject.tensors(permuted), [place]) for place in few])
    before = np.stack([subject.gradient(*subject.tensors(), [permuted[place]]) for place in few])
    return _of_gradients(subject, turned, before, "in another order")


@check("neighbours", "Does an example depend on the others of its batch?")
def neighbours(subject: Subject) -> Found:
    """Changes the other examples of a batch, and looks at those that stay."""
    x, y = subject.tensors()
    difference = interaction(lambda *pair: subject.outcome(*pair), x, y, _SEED, tf.float32)
    if difference:
        return failed(
            f"Changing the other examples of a batch changes the loss or output of an example (by {difference:.2g}, "
            f"bound {LOSS_BOUND:g}).",
            _INDEPENDENT,
        )
    before, after = [], []
    for other_x, other_y, kept in others_changed(x, y, _SEED):
        before.append(subject.gradient(x, y, kept))
        after.append(subject.gradient(other_x, other_y, kept))
    return _of_gradients(subject, np.stack(after), np.stack(before), "when the other examples of a batch are changed")


@check("padding", "Do rows that fill up a batch matter?")
def padding(subject: Subject) -> Found:
    """Adds rows of zeros, and rows again, behind the examples."""
    for what, x, y in (
        ("zeros", *tf.nest.map_structure(_with_zeros, (subject.x, subject.y))),
        (
            "examples again",
            *tf.nest.map_structure(lambda array: np.concatenate([array, array[:3]]), (subject.x, subject.y)),
        ),
    ):
        found = subject.outcome(*subject.as_tensors(x, y)).rows(np.arange(subject.count))
        if difference := subject.loss_difference(found, subject.base):
            return failed(
                f"Rows that fill up a batch ({what}) change the losses or outputs of the examples before them (by "
                f"{difference:.2g}, bound {LOSS_BOUND:g}).",
                _INDEPENDENT,
            )
    return passed(f"Losses are the same behind which rows there are, within {LOSS_BOUND:g}.")


def _with_zeros(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.zeros((3, *array.shape[1:]), array.dtype)])


def _of_gradients(subject: Subject, found: Any, expected: Any, how: str) -> Found:
    difference = subject.differences(found, expected).max()
    if difference > subject.gradient_bound:
        return failed(
            f"Gradients differ {how} (by {difference:.2g} of their lengths, bound {subject.gradient_bound:g}), most at "
            f"{subject.worst_weight(found, expected)}, and losses do not.",
            "Look for gradients that are stopped, clipped or scaled by something of the batch.",
        )
    return passed(f"Losses and gradients are the same, within {LOSS_BOUND:g} and {subject.gradient_bound:g}.")
