"""`OnsetEvents`: notes turning points, as they are found while training and as the whole training shows them."""

from __future__ import annotations

from typing import Any

import keras

from tfstiff.analysis.overfitting import OverfittingOnset, chosen_monitor, onset_details, onsets_of
from tfstiff.callbacks.stiffness import StiffnessCallback

FOUND, SUMMARY = "onset_confirmed", "overfitting_onsets"


class OnsetEvents(keras.callbacks.Callback):
    """Notes the turning points, by each rule of `overfitting_onset`, in the events of a `StiffnessCallback`.

    At the end of an epoch an event "onset_confirmed" is noted for each `rule` that the measurements so far confirm for
    the first time: `step` and `epoch` say when that was, `onset_step` and `onset_epoch` when the curve turned. A
    later, higher maximum may take the place of that turning point; so at the end of training one event
    "overfitting_onsets" tells what each rule finds in the whole of it, and the lag.

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

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the rules that are newly confirmed."""
        found = self._onsets()
        if found is None:
            return
        told = {event["rule"] for event in self._stiffness.events if event["event"] == FOUND}
        for rule, onset in found.rules.items():
            if onset.status == "confirmed" and rule not in told:
                details = onset_details(onset, self._stiffness.history)
                self._stiffness.note(FOUND, rule=rule, monitor=self.monitor, **details)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Notes what each rule finds in the end."""
        found = self._onsets()
        if found is not None:
            rules = {rule: onset_details(onset, self._stiffness.history) for rule, onset in found.rules.items()}
            self._stiffness.note(SUMMARY, monitor=self.monitor, rules=rules, lag=found.lag)

    def _onsets(self) -> OverfittingOnset | None:
        return onsets_of(self._stiffness.history, {"stiffness_monitor": self.monitor}, self._stiffness.events)
