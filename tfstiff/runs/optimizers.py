"""The optimizers of runs, by name, and how their learning rate goes. Imports Keras when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

OPTIMIZERS = ("adam", "adamw", "sgd", "momentum", "rmsprop")
RATE_SCHEDULES = ("constant", "cosine")
_MOMENTUM = 0.9


def make_optimizer(name: str, learning_rate: float, schedule: str, num_steps: int) -> keras.Optimizer:
    """An optimizer, with Keras' defaults for all that is not said.

    Args:
        name: One of `OPTIMIZERS`; `momentum` is SGD with a momentum of 0.9.
        learning_rate: At the beginning.
        schedule: One of `RATE_SCHEDULES`; `cosine` falls to 0 at the end (Loshchilov and Hutter 2017, arXiv 1608.03983,
            without restarts).
        num_steps: Of the whole training.
    """
    import keras

    rate: Any = learning_rate
    if schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, num_steps)
    made = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "momentum": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
    }[name]
    return made(rate, momentum=_MOMENTUM) if name == "momentum" else made(rate)
