"""`StopAtTrainingLoss`: measure, and at last stop, where the loss of fixed training examples reaches given values."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import quietly_traced
from tfstiff.analysis.loss_level import checked_levels
from tfstiff.callbacks.resumable import Resumable
from tfstiff.callbacks.steps import known_steps, num_updates, steps_done
from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss import predict, resolve_loss
from tfstiff.gradients.objective import check_model, check_separable
from tfstiff.gradients.tracing import compiled

EVENT = "training_loss_reached"
_STREAM = 2  # of the seed; the draws of subset, permutation and probe are of others
_CHUNK = 256  # examples evaluated in one call


class LossReached(NamedTuple):
    """A threshold that the training loss reached.

    Attributes:
        threshold: The loss that was waited for.
        loss: The loss found, at most `threshold`.
        step: Batches trained on in this `fit`.
    """

    threshold: float
    loss: float
    step: int


class StopAtTrainingLoss(Resumable):
    """Measures stiffness each time the training loss reaches a threshold, and stops training at the last one.

    Runs with different learning rates are compared fairly where they have reached the same training loss (section 3.3
    of the paper). Keras' own training loss does not do for that: it is a running mean over an epoch in which the
    weights change, in training mode. Here the loss is the mean over a fixed sample of the training examples, each with
    the weights of that moment, in inference mode, without regularisation and sample weights.

    It is evaluated before training, after every `interval` batches of an epoch and at the epoch's end; with
    `steps_per_execution > 1`, at the first opportunity after that. A threshold is reached at the first evaluation that
    finds a loss of at most that value. Several reached at once share a measurement. The evaluation changes nothing of
    the training: weights, optimizer, metrics and random state are those of a training without it, until it stops. Where
    the loss is below all thresholds before training, Keras trains one execution still. Another `fit` begins anew.

    Args:
        x: Training inputs as `fit` takes them; first axis the examples.
        y: Their targets.
        thresholds: One or several losses.
        stiffness: Measures at each threshold reached, and comes before this callback in the list. None only stops.
        interval: Batches between evaluations.
        size: Examples of the sample; all of them where there are no more.
        seed: Of the sample.

    Attributes:
        thresholds: From the largest to the smallest.
        evaluations: (step, loss) of every evaluation of this fit.
        reached: The thresholds reached so far, in order.
        num_examples: Examples that the loss is of.

    Raises:
        InvalidInput: A threshold is no finite number, there is none, one occurs twice, `interval`, `size` or `seed`
            is out of range, or the arrays differ in length; when training begins: `stiffness` comes later in the list.
        UnsupportedModel: When training begins: the model has no loss of single examples.

    Example:
    ```python
    stiffness = tfstiff.StiffnessCallback(probe)
    stop = tfstiff.StopAtTrainingLoss(x_train, y_train, [1.0, 0.3, 0.1], stiffness=stiffness)
    model.fit(x_train, y_train, epochs=100, callbacks=[stiffness, stop])
    ```
    """

    resumed = ("_step", "_epoch_began", "_done", "_updates_then", "evaluations", "reached")

    def __init__(
        self,
        x: Any,
        y: Any,
        thresholds: float | Sequence[float],
        *,
        stiffness: StiffnessCallback | None = None,
        interval: int = 16,
        size: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.thresholds = checked_levels(thresholds)
        if not self.thresholds:
            raise InvalidInput("There is no training loss to stop at.", expected="one number or several", received=())
        for name, value, least in (("interval", interval, 1), ("size", size, 1), ("seed", seed, 0)):
            if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
                raise InvalidInput(f"{name} must be a whole number.", expected=f"{least} or more", received=value)
        arrays = keras.tree.map_structure(np.asarray, (x, y))
        lengths = {array.shape[:1] for array in keras.tree.flatten(arrays)}
        if len(lengths) != 1 or lengths == {()} or lengths == {(0,)}:
            raise InvalidInput(
                "The inputs and targets must have one row for each training example.",
                expected="the same number everywhere, at least 1",
                received=sorted(lengths),
            )
        ((count,),) = lengths
        random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
        chosen = np.sort(random.choice(count, min(size, count), replace=False))
        self.num_examples = len(chosen)
        self._chunks = [
            keras.tree.map_structure(lambda array, part=chosen[start : start + _CHUNK]: array[part], arrays)
            for start in range(0, len(chosen), _CHUNK)
        ]
        self._stiffness = stiffness
        self._interval = int(interval)
        self.evaluations: list[tuple[int, float]] = []
        self.reached: list[LossReached] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sees that the model has a loss, and begins anew."""
        self._loss = resolve_loss(self.model)
        self._function: Any = None
        self._step = 0
        self.evaluations, self.reached = [], []

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where another process was."""
        self.on_train_begin()
        super().restore(state)
        self._function = self._traced()
        self.evaluations = [(step, loss) for step, loss in self.evaluations]
        self.reached = [LossReached(*one) for one in self.reached]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates before the first batch."""
        if self._function is None:
            if self._stiffness is not None and not self._stiffness.has_begun:
                raise InvalidInput(
                    "StopAtTrainingLoss comes before its StiffnessCallback, or that is not among the callbacks of fit.",
                    expected="callbacks=[stiffness, stop]",
                )
            x, y = self._chunks[0]
            check_model(self.model, x)
            check_separable(self.model, self._loss, x, y)
            self._function = self._traced()
            self._evaluate()
        self._epoch_began, self._done = self._step, 0
        self._updates_then = num_updates(self.model)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates where that fell due since the last opportunity."""
        before, self._done = self._done, steps_done(self, batch, self._updates_then)
        self._step = self._epoch_began + self._done
        if self._done // self._interval > before // self._interval or self._done == known_steps(self):
            self._evaluate()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Evaluates at the end of an epoch of which Keras did not know that it ends."""
        if known_steps(self) is None:
            self._evaluate()

    def _evaluate(self) -> None:
        if self.evaluations and self.evaluations[-1][0] == self._step:
            return
        loss = self._training_loss()
        self.evaluations.append((self._step, loss))
        found = [LossReached(value, loss, self._step) for value in self.waiting if loss <= value]
        for one in found:
            self.reached.append(one)
            if self._stiffness is not None:
                self._stiffness.measure_now(EVENT, threshold=one.threshold, training_loss=one.loss)
        if found and not self.waiting:
            self.model.stop_training = True

    @property
    def waiting(self) -> tuple[float, ...]:
        """The thresholds not reached so far."""
        return self.thresholds[len(self.reached) :]

    def _traced(self) -> Any:
        return quietly_traced(self._losses, reduce_retracing=True)

    @compiled()
    def _training_loss(self) -> float:
        losses = [self._function(*chunk).numpy() for chunk in self._chunks]
        return float(np.concatenate(losses).mean(dtype=np.float64))

    def _losses(self, x: Any, y: Any) -> tf.Tensor:
        """(n,) the loss of each example. What layers assign to their variables meanwhile is dropped."""
        with keras.StatelessScope():
            return self._loss(y, predict(self.model, x))
