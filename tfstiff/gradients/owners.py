"""Which example owns each row of a tensor, measured on a few examples while the model is traced.

An output of an operation may hold the examples on any axis, among time steps, windows or nodes. Its owner shows in its
gradient δ: with Σ cᵢ Lᵢ in place of Σ Lᵢ for the losses Lᵢ, every entry is multiplied by the cᵢ of the example that
alone depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfstiff._keras import evaluate_while_tracing

_COUNT = 3  # examples of the sample
_MARKS = 1 + (np.arange(_COUNT) * 0.7548776662466927) % 1  # the c: far from each other and from their means
# The largest share of a gradient that may disagree. A wrong layout disagrees by about its whole size.
_TOLERANCE = {tf.float64: 1e-6, tf.float32: 1e-2, tf.bfloat16: 1e-1, tf.float16: 1e-1}


@dataclass(frozen=True)
class Place:
    """Where the examples are in a tensor: dimension `axis` has size `before · n · after`, in this order.

    Most tensors have (0, 1, 1). Time steps merged into the first axis make `after` larger; the blocks of a dilated
    convolution, and time-major layouts merged, make `before` larger.

    Attributes:
        axis: The dimension that holds the examples.
        before: Entries of it that run slower than the examples.
        after: Entries of it that run faster than the examples.
        is_measured: Whether this was measured; not where all gradients of the sample are zero, or rows are mixed.
    """

    axis: int
    before: int = 1
    after: int = 1
    is_measured: bool = True


class Sample:
    """A few examples, on which tensors of a graph are evaluated while it is traced.

    Args:
        arguments: The arguments of the function traced, flat; the last is (n,), what the losses are multiplied by.
        values: Examples for each of the others.
    """

    def __init__(self, arguments: Sequence[tf.Tensor], values: Sequence[Any]) -> None:
        self._graph = arguments[0].graph
        self._arguments = arguments
        self._values = values

    def evaluate(self, tensors: Sequence[tf.Tensor], *cases: np.ndarray) -> list[list[np.ndarray]]:
        """For each case the values of `tensors`, for as many examples; some over again where there are fewer.

        Args:
            tensors: Of the graph.
            *cases: What the losses of the examples are multiplied by, (count,).

        Raises:
            tf.errors.OpError: The model does not run on so few examples.
        """
        with tf.init_scope():
            given = [
                [*(tf.gather(value, np.arange(len(case)) % len(value)) for value in self._values), case]
                for case in cases
            ]
        return evaluate_while_tracing(self._graph, self._arguments, tensors, *given)

    def _of_two_sizes(self, tensors: Sequence[tf.Tensor]) -> list[list[np.ndarray]] | None:
        """The values of `tensors` for fewer examples and for more; None where the model does not run on so few."""
        try:
            return self.evaluate(tensors, np.ones(_COUNT - 1), np.ones(_COUNT))
        except tf.errors.OpError:
            return None

    def settle_shapes(self, tensors: Sequence[tf.Tensor]) -> None:
        """Gives the tensors the sizes that do not change with the number of examples."""
        for tensor, first, second in zip(tensors, *(self._of_two_sizes(tensors) or [[], []]), strict=False):
            if first.ndim == second.ndim:
                same = np.equal(first.shape, second.shape)
                tensor.set_shape([size if is_same else None for size, is_same in zip(first.shape, same, strict=True)])

    def are_the_same(self, tensors: Sequence[tf.Tensor]) -> list[bool]:
        """Of tensors that depend on the number of examples alone: whether they do not after all."""
        found = self._of_two_sizes(tensors)
        if found is None:
            return [False] * len(tensors)
        return [np.array_equal(first, second) for first, second in zip(*found, strict=True)]

    def places(self, gradients: Sequence[tf.Tensor]) -> list[Place | None]:
        """Where the examples are in tensors; None where no axis can hold them.

        Args:
            gradients: Of the losses, each multiplied by its coefficient, with respect to the tensors.
        """
        if not gradients:
            return []
        try:
            plain, marked = self.evaluate(gradients, np.ones(_COUNT), _MARKS)
        except tf.errors.OpError:
            plain = marked = [np.zeros([size or _COUNT for size in gradient.shape]) for gradient in gradients]
        return [
            _place(gradient.shape, _doubled(one), _doubled(other), _TOLERANCE[gradient.dtype.real_dtype])
            for gradient, one, other in zip(gradients, plain, marked, strict=True)
        ]


def _place(shape: tf.TensorShape, plain: np.ndarray, marked: np.ndarray, tolerance: float) -> Place | None:
    """The place by which `marked` is `plain` times the marks; where none is, the likeliest, for the proof to judge."""
    size, likeliest = np.linalg.norm(plain), None
    for axis, known in enumerate(shape):
        length = plain.shape[axis]
        if known is not None or length % _COUNT:
            continue
        per_example = length // _COUNT
        for after in range(per_example, 0, -1):
            if per_example % after:
                continue
            owners = np.arange(length) // after % _COUNT
            marks = np.expand_dims(_MARKS[owners], [other for other in range(plain.ndim) if other != axis])
            likeliest = likeliest or Place(axis, per_example // after, after, is_measured=False)
            if 0 < size < np.inf and np.linalg.norm(marked - marks * plain) <= tolerance * size:
                return Place(axis, per_example // after, after)
    return likeliest


def _doubled(values: np.ndarray) -> np.ndarray:
    """In double precision."""
    return values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)


def few(examples: Any) -> Any:
    """As many of the examples as a sample takes, copied: what holds them must not keep all."""
    return tf.nest.map_structure(lambda array: tf.identity(array[:_COUNT]), examples)


def is_ambiguous(tensor: tf.Tensor) -> bool:
    """Whether the trace leaves open more sizes of a tensor than that of the examples' axis."""
    if tensor.dtype in (tf.resource, tf.variant):
        return False
    return tensor.shape.rank is None or sum(size is None for size in tensor.shape) > 1
