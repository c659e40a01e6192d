"""A `fit` that goes on inside an epoch, as if the process had not ended there."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import keras

from tfstiff.runs.checkpoints import training_state
from tfstiff.runs.checkpoints.store import Checkpoint


@runtime_checkable
class Resumable(Protocol):
    """A callback with a state of its own that matters to what it does later."""

    def state(self) -> dict[str, Any]:
        """The state after the batch that has ended, as JSON can hold it."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Takes the state over, in place of `on_train_begin` and of the first `on_epoch_begin`."""
        ...


def states(callbacks: list[keras.callbacks.Callback]) -> dict[str, dict[str, Any]]:
    """The state of each callback that has one, by the name of its class."""
    return {type(one).__name__: one.state() for one in callbacks if isinstance(one, Resumable)}


class ResumedCallbacks(keras.callbacks.CallbackList):
    """The callbacks of a `fit` that goes on from a checkpoint.

    Keras can begin at an epoch only. So the epoch of the checkpoint is begun, but by `ExactSteps` no batch is trained
    that was trained before, and here no callback is told of one. Callbacks that are `Resumable` are restored where that
    epoch begins; the others are told that it begins.

    Args:
        callbacks: Those of the fit that the checkpoint is of, in the same order.
        checkpoint: Where it goes on.
        model: What is trained.
        **params: `epochs` and `steps`, of all epochs and of an epoch.
    """

    def __init__(
        self, callbacks: list[keras.callbacks.Callback], checkpoint: Checkpoint, model: keras.Model, **params: Any
    ) -> None:
        super().__init__(callbacks, add_history=True, model=model, verbose=0, **params)
        self.callbacks: list[keras.callbacks.Callback]
        self._checkpoint = checkpoint
        self._done = (checkpoint.step - 1) % params["steps"] + 1  # batches of that epoch
        self._is_first_epoch = True
        self._is_trained = False  # whether the batches at hand were trained before

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Tells those that are not restored."""
        everyone = self.callbacks
        self.callbacks = [one for one in everyone if not isinstance(one, Resumable)]
        super().on_train_begin(logs)
        self.callbacks = everyone

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores everything where the first epoch begins."""
        if not self._is_first_epoch:
            super().on_epoch_begin(epoch, logs)
            return
        state = self._checkpoint.state
        training_state.put_back(self.model, state["training"], self._checkpoint.arrays)
        for one in self.callbacks:
            if isinstance(one, Resumable):
                one.restore(state["callbacks"][type(one).__name__])
            else:
                one.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells everyone."""
        self._is_first_epoch = False
        super().on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells of batches that are to be trained."""
        self._is_trained = self._is_first_epoch and batch < self._done
        if not self._is_trained:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells of batches that have been trained."""
        if not self._is_trained:
            super().on_train_batch_end(batch, logs)
