"""Whether the losses that are differentiated are the model's own, and each example's own.

Gradients can be right and yet be those of something else than the model that is trained: a trace lays out loops anew
and runs the code of compiled functions. So its losses and outputs are compared with those of the model as its user
calls it. Losses are continuous in the weights; unlike gradients, rounding does not make them jump where a unit stands
at the kink of its ReLU.

An example has a gradient of its own only where its loss depends on no other example. That is shown the other way round
too: examples are said to interact only after changing the others changed the loss of one that stayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff.errors import UnsupportedModel

# Largest difference accepted, by precision: relative to the largest entry, and of losses besides: a loss near zero is
# the rounded difference of numbers that are not small.
_TOLERANCE = {tf.float64: (1e-5, 1e-8), tf.float32: (1e-3, 1e-5), tf.bfloat16: (1e-1, 1e-2), tf.float16: (3e-2, 1e-2)}


@dataclass(frozen=True)
class Outcome:
    """What a model computes for n examples.

    Attributes:
        losses: (n,) per-example losses.
        outputs: The outputs of floating-point numbers whose first axis is the examples.
    """

    losses: np.ndarray
    outputs: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, losses: tf.Tensor, predictions: Any) -> Outcome:
        """From per-example losses and the model's output or outputs."""
        found = [np.asarray(output) for output in tf.nest.flatten(predictions) if tf.is_tensor(output)]
        outputs = [output for output in found if output.shape[:1] == losses.shape and output.dtype.kind not in "biuOSU"]
        return cls(np.asarray(losses, np.float64), tuple(output.astype(np.float64) for output in outputs))

    def rows(self, index: np.ndarray) -> Outcome:
        """Of some of the examples."""
        return Outcome(self.losses[index], tuple(output[index] for output in self.outputs))

    def difference(self, other: Outcome, precision: tf.DType) -> float:
        """The largest difference between losses, or between outputs relative to the largest; 0 if within rounding."""
        relative, floor = _TOLERANCE[precision]
        worst = 0.0
        pairs = [(self.losses, other.losses, floor)]
        pairs += [(mine, others, 0.0) for mine, others in zip(self.outputs, other.outputs, strict=True)]
        for mine, others, more in pairs:
            is_finite = np.isfinite(mine)
            if (is_finite != np.isfinite(others)).any():
                return np.inf
            if not is_finite.any():  # a diverged model shows nothing either way
                continue
            error, size = np.abs(mine - others)[is_finite].max(), np.abs(others[is_finite]).max()
            if error > relative * size + more:
                worst = max(worst, error if more else error / size)
        return float(worst)


Call = Callable[[Any, Any], Outcome]


def others_changed(x: Any, y: Any, seed: int) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """Batches in which some of at least two examples stay, and others of these stand in place of the rest.

    Each example stays in one of them.

    Yields:
        x, y, and the indices of those that stay.
    """
    rng = np.random.default_rng(seed)
    count = len(tf.nest.flatten(x)[0])
    halves = np.array_split(rng.permutation(count), 2)
    for kept, changed in (halves, halves[::-1]):
        index = np.arange(count)
        index[changed] = rng.choice(kept, len(changed))
        yield *tf.nest.map_structure(lambda array, index=index: tf.gather(array, index), (x, y)), np.sort(kept)


def interaction(call: Call, x: Any, y: Any, seed: int, precision: tf.DType, before: Outcome | None = None) -> float:
    """By how much the losses (or outputs) of examples change with the other examples of a batch; 0 if they do not.

    Args:
        call: Computes them.
        x: At least two examples.
        y: Their targets.
        seed: Of the choice of others.
        precision: In which `call` computes.
        before: `call(x, y)`, where it is known.
    """
    before = before or call(x, y)
    return max(
        call(other_x, other_y).rows(kept).difference(before.rows(kept), precision)
        for other_x, other_y, kept in others_changed(x, y, seed)
    )


def refuse_shared_losses(call: Call, x: Any, y: Any, seed: int, precision: tf.DType) -> None:
    """Checks, on the model as its user calls it, that an example's loss is a function of the example.

    Raises:
        UnsupportedModel: It differs from call to call, or with the other examples of the batch.
    """
    before = call(x, y)
    drawn = call(x, y).difference(before, precision)
    if drawn:
        raise UnsupportedModel(
            f"The model is random in inference: the same examples have other losses at every call (by {drawn:.2g}).",
            expected="a model that computes the same from the same examples",
            remedy="Draw with keras.random and a keras.random.SeedGenerator, whose numbers are held fixed while "
            "gradients are taken; or draw in training mode alone.",
        )
    if len(before.losses) < 2:
        return
    shared = interaction(call, x, y, seed, precision, before)
    if shared:
        raise UnsupportedModel(
            "The examples of a batch interact: changing the other examples of a batch changes the loss of an example "
            f"(by {shared:.2g}).",
            expected="a model and a loss in which no example's loss depends on another example",
            remedy="Batch statistics in training mode, contrastive losses and the like cannot be measured.",
        )


def depends_on_place(call: Call, x: Any, y: Any, precision: tf.DType) -> bool:
    """Whether an example's loss changes with its place in the batch, as random numbers drawn for each place do."""
    reverse_x, reverse_y = tf.nest.map_structure(lambda array: tf.reverse(array, [0]), (x, y))
    turned = call(reverse_x, reverse_y)
    return turned.rows(np.arange(len(turned.losses))[::-1]).difference(call(x, y), precision) > 0
