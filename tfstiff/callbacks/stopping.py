"""`StopWhenStiffnessDrops`: ends training where stiffness has passed its maximum for sure."""

from __future__ import annotations

import math
from typing import Any

from tfstiff.analysis.readings import reading
from tfstiff.analysis.training_watch import StiffnessTurnsLate
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turning_points import TurnWatch, turning_point
from tfstiff.analysis.turns_of_training import DROPPED as EVENT
from tfstiff.analysis.turns_of_training import chosen_monitor
from tfstiff.callbacks.resumable import Resumable
from tfstiff.callbacks.stiffness import StiffnessCallback
from tfstiff.errors import InvalidInput
from tfstiff.records import Measurement


class StopWhenStiffnessDrops(Resumable):
    """Stops training when stiffness has turned down, by more than the noise of its measurement.

    The paper suggests it for early stopping (section 4.1): what is learnt on one example helps others until overfitting
    sets in. Tried on clean and on wrong labels, with few and with many examples, no rule of stiffness came near the
    validation loss: most stop far too early or never (docs/reproduction.md). It is for experiments on stiffness; to
    train a network, take `keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True)`.

    With `monitor="cosine_within_train_train"` no validation data is needed. `EarlyStopping` can monitor the same values
    in the logs; it looks at epochs' ends only and knows no errors, while this callback sees every measurement and tests
    each drop on the differences between the same examples (see `tfstiff.analysis.turning_points.turning_point`).

    What counts is a maximum that comes after the training loss has fallen by a quarter: the within-class cosine of
    small networks on Fashion-MNIST is highest in the first fraction of an epoch, and such a training is not stopped. A
    drop that is sure need not be large, nor come when the validation loss turns up. Look at complete runs first, with
    `tfstiff.analysis.turns_of_training.turning_points`, to choose `monitor` and `min_drop`.

    When the drop is confirmed, an event "stiffness_dropped" is kept in `stiffness.events` and, where there is a
    `log_dir`, in events.jsonl: the `step` and `epoch` of the confirmation, and those of the maximum as `peak_step` and
    `peak_epoch`. Another `fit` begins anew.

    Args:
        stiffness: Measures, and comes before this callback in the list.
        monitor: A name in `Measurement.scalars()`, with or without `stiffness_` before it. None is the cosine within
            classes, where there are any, of `train_val`, where it is measured.
        patience: Measurements in a row that have to be below the maximum.
        z: Standard errors of the paired difference by which they have to be.
        min_drop: In units of the value, by which they have to be besides.

    Raises:
        InvalidInput: The name is unknown, a number is out of range; when training begins: `stiffness` comes later in
            the list.

    Example:
    ```python
    stiffness = tfstiff.StiffnessCallback(probe, schedule="log")
    stop = tfstiff.StopWhenStiffnessDrops(stiffness)
    model.fit(x_train, y_train, epochs=100, callbacks=[stiffness, stop])
    ```
    """

    resumed = ("_has_stopped",)

    def __init__(
        self,
        stiffness: StiffnessCallback,
        monitor: str | None = None,
        *,
        patience: int = 3,
        z: float = 3.0,
        min_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.monitor = chosen_monitor(monitor, stiffness.scalars)
        self._stiffness = stiffness
        self._options: dict[str, Any] = {"patience": patience, "z": z, "min_change": min_drop}
        self._begin()

    @property
    def turn(self) -> Turn:
        """The turning point as it is known so far: times are steps, indices those of this fit's measurements."""
        return self._watch.turn

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins anew."""
        self._begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reads what was measured before the first batch."""
        if not self._stiffness.has_begun:
            raise InvalidInput(
                "StopWhenStiffnessDrops comes before its StiffnessCallback, or that is not among the callbacks of fit.",
                expected="callbacks=[stiffness, stop]",
            )
        self._read()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Reads what was measured after this batch."""
        self._read()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reads what was measured at the end of the epoch."""
        self._read()

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where another process was; `stiffness` has its measurements."""
        self._begin()
        self._known = 0
        self._has_stopped = True  # while it reads what it read before
        self._read()
        super().restore(state)

    def _begin(self) -> None:
        self._watch = TurnWatch(turning_point, name="stiffness_drop", **self._options)
        self._measurements: list[Measurement] = []
        self._is_late = StiffnessTurnsLate()
        self._has_stopped = False
        self._known = len(self._stiffness.history)

    def _read(self) -> None:
        new = self._stiffness.history[self._known :]
        self._known += len(new)
        for measurement in new:
            self._measurements.append(measurement)
            found = reading(measurement, self.monitor)
            value = found.value if self._is_late.add(found.value, measurement.train.loss) else math.nan
            # Steps are always known, and increase; in logarithms they are epochs but for a constant.
            self._watch.add(measurement.step, value, found.se, found.influence)
        if not self._has_stopped and self.turn.status == "confirmed":
            self._has_stopped = True
            peak = self._measurements[self.turn.index]
            self._stiffness.note(
                EVENT,
                monitor=self.monitor,
                value=self._measurements[-1].scalars()[self.monitor],
                peak_step=peak.step,
                peak_epoch=peak.epoch,
                peak_value=peak.scalars()[self.monitor],
            )
            self.model.stop_training = True
