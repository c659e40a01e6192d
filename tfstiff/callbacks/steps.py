"""How far training has come, told from what Keras tells its callbacks."""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras

from tfstiff.callbacks.schedules import Schedule


def num_updates(model: keras.Model) -> int:
    """Updates that the optimizer of `model` has applied; -1 where there is none."""
    optimizer = getattr(model, "optimizer", None)
    return -1 if optimizer is None else int(number_in(optimizer.iterations))


def number_in(value: Any) -> float:
    """The number in a variable, one of several mirrored devices too, or in a tensor, or the number itself."""
    value = value.value if isinstance(value, keras.Variable) else value
    return value.numpy() if hasattr(value, "numpy") else value


def learning_rate(model: keras.Model) -> float:
    """The learning rate of the optimizer of `model`; NaN where there is none, or several."""
    try:
        return float(number_in(model.optimizer.learning_rate))
    except (AttributeError, TypeError, ValueError):  # no optimizer, or one with several learning rates
        return math.nan


def known_steps(callback: keras.callbacks.Callback) -> int | None:
    """The steps of an epoch, where Keras knows them; in a loop of one's own it is told nothing."""
    return (callback.params or {}).get("steps")


def steps_done(callback: keras.callbacks.Callback, batch: int, updates_before: int) -> int:
    """Batches of the current epoch that are done when Keras calls `on_train_batch_end(batch)`.

    Where executions have several steps, Keras tells the end of an execution as if it had run in full, though the epoch
    may have cut it short. Where Keras does not know the epoch's length, the optimizer counts exactly, unless it skips
    or accumulates updates.

    Args:
        callback: The callback that was called.
        batch: What it was called with.
        updates_before: `num_updates` when the epoch began.
    """
    told = batch + 1
    known = known_steps(callback)
    if known:
        return min(told, known)
    counted = num_updates(callback.model) - updates_before
    return counted if told - callback.model.steps_per_execution < counted <= told else told


def warn_of_unknown_steps(steps: int | None, schedule: Schedule) -> None:
    """Says, where an epoch's number of steps is not known and a schedule asks for fractions of it, that none is due."""
    if steps is None and schedule.needs_batches():
        warnings.warn(
            "How many steps an epoch has is not known before the first has ended, so nothing is measured inside it "
            "at fractions of an epoch.",
            stacklevel=3,
        )
