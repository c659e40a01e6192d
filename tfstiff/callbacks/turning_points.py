"""`TurnEvents`: notes turning points, as they are found while training and as the whole training shows them."""

from __future__ import annotations

from typing import Any

import keras

from tfstiff.analysis.training_watch import TrainingWatch
from tfstiff.analysis.turns_of_training import (
    FEWEST_MEASUREMENTS,
    TurningPoints,
    chosen_monitor,
    found_by,
    turn_details,
)
from tfstiff.callbacks.stiffness import StiffnessCallback

FOUND, SUMMARY = "turn_confirmed", "turning_points"


class TurnEvents(keras.callbacks.Callback):
    """Notes the turning points, by each rule of `turning_points`, in the events of a `StiffnessCallback`.

    At the end of an epoch an event "turn_confirmed" is noted for each `rule` that the measurements so far confirm for
    the first time: `step` and `epoch` say when that was, `turn_step` and `turn_epoch` when the curve turned. A
    later, higher maximum may take the place of that turning point; so at the end of training one event
    "turning_points" tells what each rule finds in the whole of it, and the lag.

    Args:
        stiffness: Measures, and comes before this callback in the list.
        monitor: The stiffness looked at: a name in `Measurement.scalars()`, with or without `stiffness_` before it.
            None is the cosine within classes, where there are any, of `train_val`, where it is measured.

    Raises:
        InvalidInput: The name is unknown.
    """

    def __init__(self, stiffness: StiffnessCallback, monitor: str | None = None) -> None:
        super().__init__()
        self.monitor = chosen_monitor(monitor, stiffness.scalars)
        self._stiffness = stiffness
        self._watch = TrainingWatch(self.monitor)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the rules that are newly confirmed."""
        found = self._turns()
        if found is None:
            return
        told = {event["rule"] for event in self._stiffness.events if event["event"] == FOUND}
        for rule, turn in found.rules.items():
            if turn.status == "confirmed" and rule not in told:
                details = turn_details(turn, self._stiffness.history)
                self._stiffness.note(FOUND, rule=rule, monitor=self.monitor, **details)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Notes what each rule finds in the end."""
        found = self._turns()
        if found is not None:
            rules = {rule: turn_details(turn, self._stiffness.history) for rule, turn in found.rules.items()}
            self._stiffness.note(SUMMARY, monitor=self.monitor, rules=rules, lag=found.lag)

    def _turns(self) -> TurningPoints | None:
        history, known = self._stiffness.history, self._watch.measurements
        if len(history) < len(known) or (known and history[len(known) - 1] is not known[-1]):  # another history
            self._watch = TrainingWatch(self.monitor)
        for measurement in history[len(self._watch.measurements) :]:
            self._watch.add(measurement)
        return found_by(self._watch, self._stiffness.events) if len(history) >= FEWEST_MEASUREMENTS else None
