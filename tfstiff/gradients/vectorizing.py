"""TensorFlow's vectorisation over examples, kept from what corrupts memory on CPU.

Every use of `tf.vectorized_map`, and of `GradientTape.jacobian`, which is one, goes through here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from tfstiff.errors import UnsupportedModel

# Its kernel corrupts the heap for one example, a 1x1 kernel, stride 2 and few channels (TensorFlow 2.21), not for two.
_UNSAFE_ALONE = "Conv2DBackpropFilter"


@contextmanager
def checked_vectorization() -> Iterator[None]:
    """Within it, what is added to the graph being traced must hold no product that corrupts memory.

    Raises:
        UnsupportedModel: It does: a matrix product that broadcasts (tensorflow issue 117700).
    """
    graph = tf.compat.v1.get_default_graph()
    count = len(graph.get_operations())
    logger = tf.get_logger()
    level = logger.level
    # Where vectorising fails, TensorFlow logs the whole graph; the error says enough.
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
    for operation in graph.get_operations()[count:]:
        if operation.type.startswith("BatchMatMul") and _broadcasts(*(tensor.shape for tensor in operation.inputs)):
            raise UnsupportedModel(
                "Vectorising this model over examples creates a broadcasting matrix product, which corrupts memory "
                "in TensorFlow on CPU (tensorflow issue 117700).",
                remedy='Use method="auto" or method="loop".',
            )


def vectorized_map(function: Callable[[Any], Any], elements: Any, may_loop: bool = False) -> Any:
    """`tf.vectorized_map`, to be called while tracing.

    Args:
        function: As for `tf.vectorized_map`.
        elements: As for `tf.vectorized_map`.
        may_loop: Whether operations that cannot be vectorised are run in a loop.

    Raises:
        UnsupportedModel: The vectorised graph holds an operation that corrupts memory.
        ValueError: An operation cannot be vectorised.
    """
    with checked_vectorization():
        return tf.vectorized_map(function, elements, fallback_to_while_loop=may_loop)


def copies_of_one(graph: tf.Graph) -> int:
    """How many times to take a single example in the batch that `graph` computes gradients of."""
    return 2 if any(operation.type == _UNSAFE_ALONE for operation in graph.get_operations()) else 1


def _broadcasts(first: tf.TensorShape, second: tf.TensorShape) -> bool:
    if first.rank is None or second.rank is None:
        return True
    return max(first.rank, second.rank) >= 4 and first[:-2].as_list() != second[:-2].as_list()
