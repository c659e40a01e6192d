"""Training on several devices of one machine. Imports TensorFlow late."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

STRATEGIES = ("none", "mirrored")


def strategy_scope(name: str) -> AbstractContextManager[Any]:
    """The scope in which a model is to be built and compiled.

    Args:
        name: One of `STRATEGIES`. `mirrored` trains a copy on each GPU of this machine, or, where there is none, on
            each of its logical CPU devices, with a batch divided between them.
    """
    if name == "none":
        return nullcontext()
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices]).scope()
