"""Feeding `model.fit` fast and reproducibly, with a stop at exactly the steps where something is to be measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.records import RunWriter
from tfstiff.runs.progress import Progress, describe_event

# Steps that Keras runs in one call. Small batches are bound by dispatch: from 1 to 8 to 32 the fully connected network
# trained 1.3 and 1.5 times faster, a small convolutional one 1.2 and 1.3 times; more brought nothing.
STEPS_PER_EXECUTION = 32


def steps_per_execution(interval: int | None = None) -> int:
    """How many steps Keras runs in one call, where something is looked at after every `interval` steps of an epoch.

    Keras can stop training only where an execution ends, so every look must come there: the number is the largest
    divisor of `interval` that brings anything.
    """
    if interval is None:
        return STEPS_PER_EXECUTION
    return next(count for count in range(STEPS_PER_EXECUTION, 0, -1) if interval % count == 0)


class Batches(keras.callbacks.Callback):
    """Shuffled batches for `model.fit`, whose order in an epoch is a function of the seed and the epoch alone.

    Pass `dataset` to `fit` and this callback among its callbacks.

    Args:
        x: (n, ...) inputs.
        y: (n,) labels.
        batch_size: Examples of a batch; the last of an epoch may be smaller.
        seed: Of the order.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, batch_size: int, seed: int) -> None:
        super().__init__()
        self.num_steps = -(-len(x) // batch_size)
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        inputs, labels = tf.constant(x), tf.constant(y)

        def order(_: tf.Tensor) -> tf.data.Dataset:
            indices = tf.random.experimental.stateless_shuffle(tf.range(len(x)), seed=[seed, self._epoch])
            return tf.data.Dataset.from_tensor_slices(indices)

        def gather(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.gather(inputs, indices), tf.gather(labels, indices)

        shuffled = tf.data.Dataset.range(1).flat_map(order).batch(batch_size).map(gather)
        self.dataset = shuffled.apply(tf.data.experimental.assert_cardinality(self.num_steps)).prefetch(4)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch before its iterator is made."""
        self._epoch.assign(epoch)


class ExactSteps(keras.callbacks.Callback):
    """Lets `fit` run many steps in one call and still stop after given ones.

    Keras calls batch hooks once per `steps_per_execution` steps. An execution inside which one of `steps` lies is run
    step by step instead, and `reached` is called after each of those that are given, except after the last step of the
    execution, where Keras calls its hooks. The weights trained are the same.

    Args:
        steps: Numbers of steps since the beginning of training.
        reached: Called with the number of steps done in the current epoch.
        trained: Steps that were trained by an earlier process, up to the end of an execution. Their batches are taken
            from the data, to come to the place in its order, and not trained on.
        logs: What that process' last execution returned.
    """

    def __init__(
        self,
        steps: Iterable[int],
        reached: Callable[[int], None],
        *,
        trained: int = 0,
        logs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._steps = frozenset(steps)
        self._reached = reached
        self._trained = trained
        self._logs = dict(logs or {})
        self._begun = 0  # steps done before the current epoch
        self._done = 0  # steps done in it

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Takes the place of Keras' function for one execution; `on_train_end` gives it back."""
        self._together = self.model.steps_per_execution
        self._functions = {1: self._single_step_function(), self._together: self.model.train_function}
        self.model.train_function = self._execute

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts steps anew."""
        self._begun, self._done = epoch * self.params["steps"], 0

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Gives Keras' own function back."""
        self.model.train_function = self._functions[self._together]

    def _single_step_function(self) -> Callable[..., Any]:
        kept = self.model.train_function
        self.model.make_train_function(force=True)
        single, self.model.train_function = self.model.train_function, kept
        return single

    def _execute(self, iterator: Any) -> Any:
        count = min(self._together, self.params["steps"] - self._done)
        last = self._begun + self._done + count
        if last <= self._trained:
            for _ in range(count):
                next(iterator)
            self._done += count
            return self._logs
        if not any(step in self._steps for step in range(last - count + 1, last)):
            self._done += count
            return self._call(self._together, iterator)
        for _ in range(count):
            logs = self._call(1, iterator)
            self._done += 1
            if self._begun + self._done in self._steps and self._begun + self._done < last:
                self._reached(self._done)
        return logs

    def _call(self, count: int, iterator: Any) -> Any:
        self.model.steps_per_execution = count  # read when Keras traces the function, at its first call
        try:
            return self._functions[count](iterator)
        finally:
            self.model.steps_per_execution = self._together


class Reporter(keras.callbacks.Callback):
    """Tells a `Progress` what happens, and stops training where the loss is no longer finite.

    Args:
        stiffness: The callback whose measurements are told; it comes before this one.
        progress: Is told.
        writer: Keeps each epoch's logs.

    Attributes:
        steps: Batches trained on.
        diverged: Whether training was stopped because the loss was NaN or infinite.
    """

    def __init__(self, stiffness: StiffnessCallback, progress: Progress, writer: RunWriter) -> None:
        super().__init__()
        self.steps = 0
        self.diverged = False
        self._stiffness = stiffness
        self._progress = progress
        self._writer = writer
        self._reported = 0
        self._events_reported = 0

    def state(self) -> dict[str, Any]:
        """How far it is, for `restore` in another process."""
        return {
            "epoch": self._epoch,
            "began": self._began,
            "steps": self.steps,
            "seconds": time.perf_counter() - self._clock,
            "diverged": self.diverged,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where another process was, whose measurements and events `stiffness` has."""
        self._epoch, self._began, self.steps = state["epoch"], state["began"], state["steps"]
        self._clock = time.perf_counter() - state["seconds"]
        self.diverged = state["diverged"]
        self._reported, self._events_reported = len(self._stiffness.history), len(self._stiffness.events)

    def report(self) -> None:
        """Tells the measurements made, and what happened beside them, since the last call."""
        for event in self._stiffness.events[self._events_reported :]:
            if text := describe_event(event):
                self._progress.say(text)
        self._events_reported = len(self._stiffness.events)
        for index in range(self._reported, len(self._stiffness.history)):
            self._progress.measured(self._stiffness.history[index], self._stiffness.seconds[index])
        self._reported = len(self._stiffness.history)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the measurement of initialisation."""
        self._epoch, self._began, self._clock = epoch, self.steps, time.perf_counter()
        self.report()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells how far the epoch is."""
        done = min(batch + 1, self.params["steps"])
        self.steps = self._began + done
        self.report()
        logs = logs or {}
        self._progress.stepped(self._epoch, done, logs)
        if not math.isfinite(logs.get("loss", 0.0)):
            self.diverged = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps and tells the epoch's logs."""
        self.report()
        logs = logs or {}
        self._writer.add_epoch(epoch, logs)
        kept = {name: value for name, value in logs.items() if not name.startswith("stiffness_")}
        self._progress.epoch_ended(epoch, kept, time.perf_counter() - self._clock)
