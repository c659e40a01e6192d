"""When checkpoints are made, and the callback that makes them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfstiff.callbacks.resumable import Resumable
from tfstiff.runs.checkpoints import training_state
from tfstiff.runs.checkpoints.interval import CheckpointInterval
from tfstiff.runs.checkpoints.store import OF_CALLBACKS, Checkpoint, CheckpointStore
from tfstiff.runs.interruption import Interruption


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves a checkpoint when it is time, and where the process was asked to end. Comes last in the list of callbacks.

    A checkpoint is made only where Keras tells of a batch's end, after all other callbacks have done what they do then.

    Args:
        store: Where to.
        interval: When it is time.
        interruption: Says whether the process was asked to end.
        others: The callbacks before it.
        more: What else to keep, asked for at each checkpoint; JSON-able.
        say: Is told of what goes wrong.
        last: A step after which one is made in any case, from which an ended run can be extended; None for none.
        clock: Seconds.
    """

    def __init__(
        self,
        store: CheckpointStore,
        interval: CheckpointInterval,
        interruption: Interruption,
        others: Sequence[keras.callbacks.Callback],
        more: Callable[[], dict[str, Any]],
        say: Callable[[str], object],
        *,
        last: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._store = store
        self._interval = interval
        self._interruption = interruption
        self._others = list(others)
        self._more = more
        self._say = say
        self._last = last
        self._clock = clock
        self._cost = 0.0  # seconds that the last one took

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins to count."""
        self._last_time, self._last_step = self._clock(), -1

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where training began."""
        if self._last_step < 0:
            self._last_step = self._begun + batch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where it is."""
        self._begun = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves where it is time; ends where that was asked for."""
        step = self._begun + min(batch + 1, self.params["steps"])
        is_asked = self._interruption.requested is not None
        is_due = self._interval.is_due(step - self._last_step, self._clock() - self._last_time, self._cost)
        if is_asked or is_due or step == self._last:
            self._save(step, logs or {})
        if is_asked:
            self._interruption.end()

    def _save(self, step: int, logs: dict[str, Any]) -> None:
        start = self._clock()
        plain, arrays = training_state.take(self.model)
        resumable = {type(one).__name__: one for one in self._others if isinstance(one, Resumable)}
        states = {name: one.state() for name, one in resumable.items()}
        for name, one in resumable.items():
            arrays |= {f"{OF_CALLBACKS}{name}/{key}": array for key, array in one.arrays().items()}
        try:
            state = {"training": plain, "callbacks": states, "logs": logs, **self._more()}
            self._store.save(Checkpoint(step, state, arrays))
        except OSError as error:  # a run whose disk is full should not end for want of what it may never need
            self._say(f"Warning: the checkpoint at step {step} could not be saved: {error}")
        self._last_time, self._last_step = self._clock(), step
        self._cost = self._last_time - start
