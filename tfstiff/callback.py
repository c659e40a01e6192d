"""`StiffnessCallback`: stiffness during any `model.fit`."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
import math
import time
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss import check_model, resolve_loss
from tfstiff.measuring import check_labels, check_options, measure
from tfstiff.probe import Probe
from tfstiff.records import PAIR_SETS, Measurement, RunWriter, scalar_names
from tfstiff.schedules import Moment, as_schedule
from tfstiff.steps import num_updates, steps_done
from tfstiff.summation.representations import INPUT, check_space

_PUBLISHED = {  # by whether there are classes
    True: ("cosine_within", "sign_between", "critical_length"),
    False: ("cosine_mean", "sign_mean", "critical_length"),
}
_START = Moment(0, 0.0)


class StiffnessCallback(keras.callbacks.Callback):
    """Measures stiffness on a fixed probe while `model.fit` trains, and changes nothing of the training.

    At every epoch's end the latest values are put into `logs` as Python floats, under the names of
    `Measurement.scalars()`, so that callbacks that come later in the list, and `History`, see them. Put this callback
    before those that read its values. Keras cannot guess the direction of these values: pass `mode="max"` to a callback
    that monitors one.

    Args:
        probe: The examples to measure on.
        schedule: When: `"epoch"` (initialisation and every epoch), `"log"` (initialisation, log-spaced fractions of the
            first epoch from 0.01 on, then every epoch), a number of steps, a list of epochs, or `tfstiff.schedules`
            combined with `|`. With `steps_per_execution > 1` a measurement comes at the first opportunity after it
            falls due, and its record holds the step at which it was made.
        log_dir: Folder to write records to; None keeps them in memory only. Deep copies of the callback, as tuners make
            them for each trial, write to `log_dir`, `log_dir-2`, `log_dir-3`, …
        publish: Names of the scalars that go into `logs`, or `"all"`. By default the within-class cosine, the
            between-class sign and the critical length of `train_val`.
        **options: `loss`, `method`, `precision`, `per_layer` and `keep_gram`, as for `measure`.

    Attributes:
        history: The measurements so far, in order. A second `fit` of the same model continues it, that of another
            model begins anew.
        seconds: The time that each took.
        events: What `measure_now` was told of, each with its step and epoch, in order. Kept as long as `history`.

    Raises:
        InvalidInput: The schedule or a published name is unknown; on the first use, a label has no output, or `log_dir`
            holds records of another run.
        UnsupportedModel: On the first use: the model cannot be measured.

    Example:
    ```python
    probe = tfstiff.Probe.from_arrays(train=(x_train, y_train), validation=(x_val, y_val))
    stiffness = tfstiff.StiffnessCallback(probe)
    stop = keras.callbacks.EarlyStopping("stiffness_cosine_within_train_val", mode="max", patience=5)
    model.fit(x_train, y_train, epochs=20, callbacks=[stiffness, stop])
    ```
    """

    def __init__(
        self,
        probe: Probe,
        schedule: Any = "epoch",
        *,
        log_dir: str | Path | None = None,
        publish: Sequence[str] | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.probe = probe
        self.schedule = as_schedule(schedule)
        self.log_dir = None if log_dir is None else Path(log_dir)
        self.options = options
        unknown = options.keys() - inspect.signature(measure).parameters.keys()
        if unknown:
            known = list(inspect.signature(measure).parameters)[2:]
            raise InvalidInput("Unknown options.", expected=", ".join(known), received=sorted(unknown))
        check_options(**options)
        self.publish = _published_names(publish, probe, tuple(options.get("pair_sets", PAIR_SETS)))
        self.history: list[Measurement] = []
        self.seconds: list[float] = []
        self.events: list[dict[str, Any]] = []
        self._writer: RunWriter | None = None
        self._is_copy = False  # then records go beside those of the original
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
            log_dir=self.log_dir,
            publish=self.publish,
            **self.options,
        )
        copied._is_copy = True
        memo[id(self)] = copied
        return copied

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sees, before any training, that the loss is there and that the log folder can take records."""
        resolve_loss(self.model, self.options.get("loss"))
        self._steps_per_epoch = None
        if self._measured_model is not None and self._measured_model() is self.model:
            self._begin_at = self._now  # a second fit of the same model continues the history
            return
        if self.log_dir is not None:
            folder = _free_sibling(self.log_dir) if self._is_copy else self.log_dir
            if _holds_records(folder):
                raise InvalidInput(
                    "The log folder holds the records of another run.",
                    expected="a folder that does not exist, or is empty",
                    received=str(self.log_dir),
                    remedy="Give each model that you train a log_dir of its own.",
                )
            self._writer = RunWriter(folder)
            self._writer.write_probe(**self.probe.members())
        self._measured_model = weakref.ref(self.model)
        self._begin_at = self._now = _START
        self.history, self.seconds, self.events = [], [], []

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
        steps = self.params.get("steps") or self._steps_per_epoch
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
            self.events.append({"event": event, **self._now._asdict(), **details})
            if self._writer is not None:
                self._writer.add_event(self.events[-1])
        return found

    def _begin_fit(self, epoch: int, begin_at: Moment) -> None:
        check_model(self.model, self.probe.train.x)
        check_labels(self.model, self.probe)
        check_space(self.model, self.options.get("space", INPUT))
        steps = self.params.get("steps")
        if steps is None and self.schedule.needs_batches():
            warnings.warn(
                "How many steps an epoch has is not known before the first has ended, so nothing is measured inside it "
                "at fractions of an epoch.",
                stacklevel=2,
            )
        if begin_at is _START:
            self._epochs_before = 0.0
            self._now = Moment(epoch * steps if steps else 0, float(epoch))
            if self.schedule.due(None, self._now):
                self._measure()
        else:  # epochs are counted on, unless the caller does so with initial_epoch
            before = begin_at.epoch
            if math.isnan(before):  # interrupted inside an epoch of unknown length, which does not count then
                before = self._epochs_before + self._epoch
                self._now = Moment(begin_at.step, before)
            self._epochs_before = 0.0 if epoch >= before else before

    def _advance(self, now: Moment) -> None:
        previous, self._now = self._now, now
        if self.schedule.due(previous, now) and not (self.history and self.history[-1].step == now.step):
            self._measure()

    def _measure(self) -> Measurement:
        start = time.perf_counter()
        found = measure(self.model, self.probe, **self.options)
        step, epoch = self._now
        found = dataclasses.replace(
            found, step=step, epoch=epoch, updates=num_updates(self.model), learning_rate=_learning_rate(self.model)
        )
        seconds = time.perf_counter() - start
        if self._writer is not None:
            self._writer.add(found, seconds)
        self.history.append(found)
        self.seconds.append(seconds)
        return found


def _published_names(publish: Sequence[str] | str | None, probe: Probe, pair_sets: tuple[str, ...]) -> tuple[str, ...]:
    has_classes = probe.num_classes is not None
    if publish is None:
        pair_set = "train_val" if "train_val" in pair_sets else pair_sets[0]
        return tuple(f"stiffness_{name}_{pair_set}" for name in _PUBLISHED[has_classes])
    known = scalar_names(has_classes, pair_sets)
    names = known if publish == "all" else (publish,) if isinstance(publish, str) else tuple(publish)
    for name in names:
        if name not in known:
            raise InvalidInput("Unknown scalar to publish.", expected=", ".join(known), received=name)
    return names


def _holds_records(folder: Path) -> bool:
    return any((folder / "records").glob("step-*.npz"))


def _free_sibling(folder: Path) -> Path:
    """`folder`, or the first of `folder-2`, `folder-3`, … that holds no records."""
    candidates = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return folder if not _holds_records(folder) else next(found for found in candidates if not _holds_records(found))


def _learning_rate(model: keras.Model) -> float:
    try:
        return float(model.optimizer.learning_rate)
    except (AttributeError, TypeError, ValueError):  # no optimizer, or one with several learning rates
        return math.nan
