"""Which distribution strategies a model can be trained under with measurements."""

from __future__ import annotations

from typing import Any

from tfstiff.errors import UnsupportedModel

_OF_SEVERAL_PROCESSES = ("MultiWorkerMirroredStrategy", "CollectiveAllReduceStrategy", "ParameterServerStrategy")


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
