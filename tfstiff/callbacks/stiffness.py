"""`StiffnessCallback`: stiffness during any `model.fit`."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfstiff._options import takes
from tfstiff.callbacks.earlier_weights import EarlierWeights
from tfstiff.callbacks.live import LiveView
from tfstiff.callbacks.published import names_of_values
from tfstiff.callbacks.recorded import Recorded
from tfstiff.callbacks.recorder import OVERWRITE, RESUME, Recorder, if_taken
from tfstiff.callbacks.resumable import Resumable
from tfstiff.callbacks.schedules import Moment, as_schedule
from tfstiff.callbacks.steps import known_steps, learning_rate, num_updates, steps_done, warn_of_unknown_steps
from tfstiff.callbacks.strategies import check_strategy
from tfstiff.callbacks.weights_of_fit import warn_of_weights
from tfstiff.errors import InvalidInput
from tfstiff.gradients.objective import ObjectiveFunction, resolve_objective
from tfstiff.gradients.preconditioner import has_diagonal
from tfstiff.measuring.labels import as_read
from tfstiff.measuring.measure import MeasurementTask, measure
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.records import Measurement

_START = Moment(0, 0.0)


@takes(MeasureOptions)
class StiffnessCallback(Recorded, Resumable):
    """Measures stiffness on a fixed probe while `model.fit` trains, and changes nothing of the training.

    At every epoch's end the latest values are put into `logs` as Python floats, under the names of
    `Measurement.scalars()`, so that callbacks that come later in the list, and `History`, see them. Put this callback
    before those that read its values. Keras cannot guess the direction of these values: pass `mode="max"` to a callback
    that monitors one.

    Args:
        probe: The examples to measure on.
        schedule: When: `"epoch"` (initialisation and every epoch), `"log"` (initialisation, log-spaced fractions of the
            first epoch from 0.01 on, then every epoch), a number of steps, a list of epochs, or
            `tfstiff.schedules` combined with `|`. With `steps_per_execution > 1` a measurement comes at the
            first opportunity after it falls due, and its record holds the step at which it was made.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses; see `gradient_gram`.
        log_dir: Folder of the run to write, like `--out` of `tfstiff run`; None keeps records in memory only. Deep
            copies of the callback, as tuners make them for each trial, write to `log_dir`, `log_dir-2`, `log_dir-3`, …
        overwrite: Whether records of another run that `log_dir` holds are moved aside, to `log_dir.aside-TIME`.
        resume: Whether they are gone on with, as where a script that was killed is started again with
            `keras.callbacks.BackupAndRestore` beside this callback: what was recorded up to the step that training goes
            on from stays, what comes later is moved aside.
        publish: Names of the scalars that go into `logs`, or `"all"`. By default the within-class cosine, the
            between-class sign and the critical length of `train_val`.
        tensorboard: Whether to write TensorBoard events into `log_dir` too, or the folder to write them to: all
            scalars, and the class matrices as images, which take about a tenth of a second each. Copies of the callback
            write beside it, as they do beside `log_dir`. Needs `pip install 'tfstiff[tensorboard]'`.
        live: Whether to show, at each measurement, how training stands: losses, stiffness and the class matrix, drawn
            anew in the cell of a notebook; a line on a terminal.
        on_error: What happens where a record cannot be written, since the disk is full, say: `raise` ends training;
            `warn` goes on, and the measurement is in `history` alone. Files that are made from records, or could be
            done without, are always a warning.
        **options: Those of `MeasureOptions`.

    Attributes:
        scalars: Names of the values that each measurement has.

    Raises:
        InvalidInput: The schedule, an option or a published name is unknown, or an option does not suit the probe; on
            the first use, a label has no output, or `log_dir` holds records of another run.
        UnsupportedModel: On the first use: the model cannot be measured.

    Example:
    ```python
    probe = tfstiff.Probe.from_arrays(train=(x_train, y_train), validation=(x_val, y_val))
    stiffness = tfstiff.StiffnessCallback(probe)
    model.fit(x_train, y_train, epochs=20, callbacks=[stiffness])
    print(stiffness.history[-1]["train_val"].cosine.within)
    ```
    """

    resumed = ("_now", "_epochs_before", "_epoch", "_epoch_began", "_updates_then", "_steps_per_epoch")

    def __init__(  # noqa: PLR0913  # one for each choice
        self,
        probe: Probe,
        schedule: Any = "epoch",
        *,
        loss: Any = None,
        objective: ObjectiveFunction | None = None,
        log_dir: str | Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        publish: Sequence[str] | str | None = None,
        tensorboard: bool | str | Path = False,
        live: bool = False,
        on_error: str = "raise",
        **options: Any,
    ) -> None:
        super().__init__()
        self.probe = probe
        self.schedule = as_schedule(schedule)
        self.log_dir = None if log_dir is None else Path(log_dir)
        self.loss, self.objective, self.options = loss, objective, MeasureOptions(**options)
        self._chosen = publish
        self.scalars, self.publish = names_of_values(self.options, probe, publish)
        self.tensorboard = tensorboard
        self.on_error = on_error
        self.live = live
        self._view = LiveView() if live else None
        self._if_taken = if_taken(overwrite=overwrite, resume=resume)
        self._recorder = Recorder(self.log_dir, tensorboard, on_error, if_taken=self._if_taken)
        self._earlier = EarlierWeights(self.options.directions)
        self._measured_model: weakref.ref[keras.Model] | None = None
        self._now = _START
        self._begin_at: Moment | None = None  # set between the start of a fit and its first epoch
        self._epochs_before = 0.0  # by earlier fits
        self._epoch = 0
        self._epoch_began = 0  # step
        self._updates_then = 0
        self._steps_per_epoch: int | None = None  # learnt at an epoch's end where Keras does not know it

    def __deepcopy__(self, memo: dict[int, Any]) -> StiffnessCallback:
        """A fresh callback on the same probe: tuners copy callbacks for each trial."""
        copied = type(self)(
            self.probe,
            copy.deepcopy(self.schedule, memo),
            loss=self.loss,
            objective=self.objective,
            log_dir=self.log_dir,
            overwrite=self._if_taken == OVERWRITE,
            resume=self._if_taken == RESUME,
            publish=self._chosen,
            tensorboard=self.tensorboard,
            live=self.live,
            on_error=self.on_error,
            **vars(self.options),
        )
        copied._recorder = Recorder(self.log_dir, self.tensorboard, self.on_error, is_copy=True)
        memo[id(self)] = copied
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: a `fit` of the unpickled callback begins anew."""
        return {**self.__dict__, "_measured_model": None, "_view": LiveView() if self.live else None}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sees, before any training, that the model can be measured and that the log folder can take records."""
        check_strategy(self.model)
        warn_of_weights(self.model)
        probe = as_read(self.probe, resolve_objective(self.model, self.loss, self.objective))
        self.scalars, self.publish = names_of_values(self.options, probe, self._chosen)
        self._steps_per_epoch = None
        if self._view is not None:
            self._view.begin()
        task = MeasurementTask(self.model, self.probe, self.options, loss=self.loss, objective=self.objective)
        task.reservations()  # all that can be wrong is told before any training
        if self._measured_model is not None and self._measured_model() is self.model:
            self._recorder.claim()
            self._begin_at = self._now  # a second fit of the same model continues the history
            return
        self._recorder.begin(probe.members())
        self._measured_model = weakref.ref(self.model)
        self._begin_at = self._now = _START

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures before the first batch, where that is due.

        Not in `on_train_begin`: callbacks that restore weights do so there, in whatever order.
        """
        if self._begin_at is not None:
            self._begin_fit(epoch, self._begin_at)
            self._begin_at = None
        self._epoch = epoch
        self._epoch_began = self._now.step
        self._updates_then = num_updates(self.model)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures where something fell due since the last opportunity."""
        done = steps_done(self, batch, self._updates_then)
        steps = known_steps(self) or self._steps_per_epoch
        epoch = self._epochs_before + self._epoch + done / steps if steps else math.nan
        self._advance(Moment(self._epoch_began + done, epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures where it is due, and publishes the latest values into `logs`."""
        if math.isnan(self._now.epoch):
            self._steps_per_epoch = self._now.step - self._epoch_began
            self._advance(Moment(self._now.step, self._epochs_before + epoch + 1.0))
        if logs is not None:
            latest = self.history[-1].scalars() if self.history else {}
            logs.update({name: latest.get(name, math.nan) for name in self.publish})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Lets others write the log folder."""
        self._recorder.end()

    def state(self) -> dict[str, Any]:
        """How far training is, and what was measured; the measurements themselves are in `log_dir`."""
        return super().state() | self._recorder.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where another process was, with the measurements that it left in `log_dir`.

        Raises:
            InvalidInput: There is no `log_dir`.
        """
        super().restore(state)
        self._recorder.go_on(state)
        self._now = Moment(*state["_now"])
        self._begin_at = None
        self._measured_model = weakref.ref(self.model)

    @property
    def has_begun(self) -> bool:
        """Whether it has seen the first epoch of its latest fit begin."""
        return self._measured_model is not None and self._begin_at is None

    def measure_now(self, event: str | None = None, **details: Any) -> Measurement:
        """Measures the model as it stands, whatever the schedule says; at most once at a step.

        For callbacks that come later in the list, from within their hooks.

        Args:
            event: Why, such as "training_loss_reached". It is kept in `events` and, where there is a `log_dir`, as a
                line of events.jsonl.
            **details: More to keep with the event; JSON-able.

        Returns:
            The measurement, which stands in `history` too.

        Raises:
            InvalidInput: Training has not begun.
        """
        if not self.has_begun:
            raise InvalidInput(
                "StiffnessCallback was asked to measure before it saw training begin.",
                remedy="Put StiffnessCallback before the callbacks that make it measure.",
            )
        is_measured = bool(self.history) and self.history[-1].step == self._now.step
        found = self.history[-1] if is_measured else self._measure()
        if event is not None:
            self.note(event, **details)
        return found

    def note(self, event: str, **details: Any) -> None:
        """Keeps an event, as `measure_now` does, without measuring.

        Args:
            event: What happened.
            **details: More to keep with it; JSON-able.
        """
        self._recorder.note({"event": event, **self._now._asdict(), **details})

    def _begin_fit(self, epoch: int, begin_at: Moment) -> None:
        steps = known_steps(self)
        warn_of_unknown_steps(steps, self.schedule)
        if begin_at is _START:
            self._epochs_before = 0.0
            self._now = Moment(epoch * steps if steps else self._recorder.step_at(epoch), float(epoch))
            self._recorder.forget_after(self._now.step)
            is_gone_on_with = epoch > 0 or (self._if_taken == RESUME and num_updates(self.model) > 0)
            self._earlier.begin(self.model, is_initial=not is_gone_on_with)
            self._measure_if_due(None)
        else:  # epochs are counted on, unless the caller does so with initial_epoch
            before = begin_at.epoch
            if math.isnan(before):  # interrupted inside an epoch of unknown length, which does not count then
                before = self._epochs_before + self._epoch
                self._now = Moment(begin_at.step, before)
            self._epochs_before = 0.0 if epoch >= before else before

    def _advance(self, now: Moment) -> None:
        previous, self._now = self._now, now
        self._measure_if_due(previous)

    def _measure_if_due(self, previous: Moment | None) -> None:
        is_due = self.schedule.due(previous, self._now) and has_diagonal(self.model, self.options.preconditioner)
        if is_due and not (self.history and self.history[-1].step == self._now.step):
            self._measure()

    def _measure(self) -> Measurement:
        start = time.perf_counter()
        how = {"loss": self.loss, "objective": self.objective, "since": self._earlier.of(self.model)}
        found = measure(self.model, self.probe, **how, **vars(self.options))
        self._earlier.measured(self.model)
        updates, rate = num_updates(self.model), learning_rate(self.model)
        found = dataclasses.replace(found, **self._now._asdict(), updates=updates, learning_rate=rate)
        self._recorder.add(found, time.perf_counter() - start)
        if self._view is not None:
            self._view.measured(self.history)
        return found
