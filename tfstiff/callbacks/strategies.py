"""Training on several devices of one machine, and what cannot be trained with measurements. Imports TensorFlow late."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tfstiff.errors import UnsupportedModel

STRATEGIES = ("none", "mirrored")
_OF_SEVERAL_PROCESSES = ("MultiWorkerMirroredStrategy", "CollectiveAllReduceStrategy", "ParameterServerStrategy")


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


def check_strategy(model: Any) -> None:
    """Sees that a model is not trained by several processes, each of which would hold a part of the measurement.

    Raises:
        UnsupportedModel: It is.
    """
    strategy = getattr(model, "distribute_strategy", None)
    kinds = {kind.__name__ for kind in type(strategy).__mro__}
    if not kinds.isdisjoint(_OF_SEVERAL_PROCESSES):
        raise UnsupportedModel(
            "The model is trained by several processes, which Keras 3 does not support in fit.",
            expected="one process: no strategy, or tf.distribute.MirroredStrategy",
            received=type(strategy).__name__,
            remedy="Use the GPUs of one machine (--strategy mirrored), and several machines for several runs "
            "(tfstiff sweep --ray), or for one large measurement (tfstiff measure --ray).",
        )
