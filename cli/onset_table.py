"""When overfitting began, by each rule, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import IO, Any

from tfstiff.analysis.overfitting import OverfittingOnset, onset_details, overfitting_onset
from tfstiff.errors import InvalidInput
from tfstiff.records import Measurement

from .tables import plain_table, print_whole

_MEANINGS = {
    "stiffness_drop": "{monitor} turns down",
    "validation_minimum": "validation loss is lowest",
    "generalization_loss": "validation loss 5 % above its lowest",
    "gap_growth": "gap between the losses grows",
}


def print_onsets(measurements: Sequence[Measurement], monitor: str | None = None, file: IO[str] | None = None) -> None:
    """Prints what each rule finds, and the lag; nothing for fewer than two measurements.

    Args:
        measurements: In order of time.
        monitor: The stiffness looked at; None means the usual one.
        file: Standard output where None.
    """
    found = _found(measurements, monitor)
    if found is None:
        return
    table = plain_table("", "epoch", "step", "", "sure at epoch")
    for rule, onset in found.rules.items():
        details = onset_details(onset, measurements)
        cells = (details["onset_epoch"], details["onset_step"], onset.status, details["confirmed_epoch"])
        words = _MEANINGS[rule].format(monitor=found.monitor.removeprefix("stiffness_").replace("_", " "))
        table.add_row(words, *("–" if cell is None else _text(cell) for cell in cells))
    notes = []
    if math.isfinite(found.lag):
        order = "later" if found.lag > 0 else "earlier"
        notes = [f"Stiffness turns {abs(found.lag):.2f} decades {order} than the validation loss."]
    print_whole(table, notes, file, title="Onset of overfitting")


def onsets_document(measurements: Sequence[Measurement], monitor: str | None = None) -> dict[str, Any]:
    """The same as JSON can hold it; empty for fewer than two measurements."""
    found = _found(measurements, monitor)
    if found is None:
        return {}
    rules = {rule: onset_details(onset, measurements) for rule, onset in found.rules.items()}
    return {"monitor": found.monitor, "rules": rules, "lag": found.lag}


def _found(measurements: Sequence[Measurement], monitor: str | None) -> OverfittingOnset | None:
    if len(measurements) < 2:
        return None
    try:
        return overfitting_onset(measurements, monitor)
    except InvalidInput:  # records of other settings than the config tells
        return overfitting_onset(measurements)


def _text(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
