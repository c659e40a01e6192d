"""Epochs that are trained in parts, so that `fit` stops at exactly the steps where something is to be measured.

Keras calls callbacks, and can stop, only where an execution of many steps ends; but an execution ends where the data
does. So `fit` is called for a part of an epoch at a time, with data up to the next step that is to be measured, and
nothing of Keras' own is changed. The callbacks see whole epochs. A training that goes on after a kill begins with the
part that had not been trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras

from tfstiff.callbacks.resumable import Resumable
from tfstiff.errors import InvalidInput
from tfstiff.runs.batches import Batches
from tfstiff.runs.checkpoints.store import Checkpoint
from tfstiff.runs.checkpoints.training_state import metric_values, put_back_metrics


class Segment(NamedTuple):
    """A part of an epoch, trained in one call of `fit`.

    Attributes:
        epoch: Counted from 0.
        first: Steps of the epoch before it.
        last: Steps of the epoch when it ends.
    """

    epoch: int
    first: int
    last: int


def segments(
    epochs: int, steps: int, stops: Iterable[int], steps_per_execution: int, *, trained: int = 0
) -> Iterator[Segment]:
    """The parts of a training, in order, each up to a stop, or an epoch's end.

    Executions begin at the multiples of `steps_per_execution` in an epoch whatever the stops are, so that what is
    looked at where they end (a loss that is no longer finite, say) does not depend on what is measured: so a part ends
    at the next such multiple after a stop too.

    Args:
        epochs: In all.
        steps: Of an epoch.
        stops: Numbers of steps since the beginning of training.
        steps_per_execution: Of the model. Where it is 1, callbacks are called after every step anyway.
        trained: Steps that were trained before.
    """
    wanted = set(stops) if steps_per_execution > 1 else set()
    for epoch in range(trained // steps, epochs):
        stopped = {step - epoch * steps for step in wanted if epoch * steps < step < (epoch + 1) * steps}
        aligned = {-(-step // steps_per_execution) * steps_per_execution for step in stopped}
        first = max(trained - epoch * steps, 0)
        for last in sorted(step for step in {*stopped, *aligned, steps} if first < step <= steps):
            yield Segment(epoch, first, last)
            first = last


class EpochCallbacks(keras.callbacks.CallbackList):
    """Tells callbacks of whole epochs, while `fit` is called for parts of them.

    Args:
        callbacks: Who is told.
        model: What is trained.
        **params: `epochs` and `steps`, of all epochs and of an epoch.

    Attributes:
        segment: The part that `fit` is called for.
        done: Steps of its epoch that are trained.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, **params: int) -> None:
        super().__init__([*callbacks], add_history=True, model=model, **params)
        self.callbacks: list[keras.callbacks.Callback]
        self._metrics: list[Any] = []  # of the epoch, where its last part ended; Keras resets them for each part

    def begin(self, restored: Checkpoint | None = None, epoch: int = 0) -> None:
        """Training begins.

        Args:
            restored: Where training goes on from, with the states of callbacks; those that have none are told that
                training, and the epoch, begin.
            epoch: In which it goes on.
        """
        everyone = self.callbacks
        if restored is not None:
            self.callbacks = [one for one in everyone if not isinstance(one, Resumable)]
        super().on_train_begin()
        if restored is not None:
            super().on_epoch_begin(epoch)
            self.callbacks = everyone
            for one in everyone:
                if isinstance(one, Resumable):
                    name = type(one).__name__
                    one.restore(restored.state["callbacks"][name])
                    one.put_back(restored.arrays_of(name))

    def begin_part(self, segment: Segment) -> None:
        """`fit` is about to be called for a part."""
        self.segment, self.done = segment, segment.first
        if segment.first > 0:
            self._metrics = metric_values(self.model)

    def end_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        """An epoch has ended, or training in it."""
        super().on_epoch_end(epoch, logs)

    def end(self) -> None:
        """Training has ended."""
        super().on_train_end()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """A call of `fit` begins, which nobody is told."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """A call of `fit` ends, which nobody is told."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells of the epoch where it begins; elsewhere its metrics go on."""
        if self.segment.first == 0:
            super().on_epoch_begin(self.segment.epoch, logs)
        else:
            put_back_metrics(self.model, self._metrics)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells of the epoch's end where it is one, or where training ends in it."""
        if self.done == self.params["steps"] or self.model.stop_training:
            self.end_epoch(self.segment.epoch, logs or {})

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the place in the epoch."""
        super().on_train_batch_begin(self.segment.first + batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the place in the epoch."""
        self.done = min(self.segment.first + batch + 1, self.segment.last)
        super().on_train_batch_end(self.done - 1, logs)


def fit_in_segments(
    model: keras.Model, batches: Batches, callbacks: EpochCallbacks, stops: Iterable[int], *, trained: int = 0
) -> None:
    """Trains, calling `fit` for one part after the other; callbacks are called after each of the steps `stops`.

    Weights, metrics and logs are those of one `fit` over all epochs.

    Args:
        model: Compiled. Where some steps are trained already, with the metrics of their epoch.
        batches: Of the training.
        callbacks: Their beginning was told already.
        stops: Numbers of steps since the beginning of training.
        trained: Steps that are trained already.

    Raises:
        InvalidInput: Keras trained fewer steps than it was asked for.
    """
    epochs, steps = callbacks.params["epochs"], callbacks.params["steps"]
    for segment in segments(epochs, steps, stops, model.steps_per_execution, trained=trained):
        batches.place(*segment)
        callbacks.begin_part(segment)
        model.fit(
            batches.dataset,
            steps_per_epoch=segment.last - segment.first,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
        if model.stop_training:
            break
        if callbacks.done != segment.last:
            raise InvalidInput(
                "Keras ended an epoch before its last step.",
                expected=f"{segment.last} steps",
                received=f"{callbacks.done}",
                remedy="Is KERAS_MAX_STEPS_PER_EPOCH set? Unset it.",
            )
    callbacks.end()
