"""The turning points of a run, by each rule, as a table and as JSON."""

from __future__ import annotations

import math
from typing import IO, Any

from tfstiff.analysis.source import Source
from tfstiff.analysis.turns_of_training import TurningPoints, turn_details, turns_of
from tfstiff.records import RunFolder
from tfstiff.records.words import ABSENT, TURNS_IN_WORDS, quantity_in_words

from .tables import plain_table, print_whole


def print_turns(run: RunFolder | Source, file: IO[str] | None = None) -> None:
    """Prints what each rule finds, and the lag; nothing for fewer than two measurements.

    Args:
        run: The run.
        file: Standard output where None.
    """
    found = _found(run)
    if found is None:
        return
    table = plain_table("", "epoch", "step", "", "sure at\nepoch")
    for rule, turn in found.rules.items():
        details = turn_details(turn, run.measurements)
        cells = (details["turn_epoch"], details["turn_step"], turn.status, details["confirmed_epoch"])
        table.add_row(TURNS_IN_WORDS[rule], *(ABSENT if cell is None else _text(cell) for cell in cells))
    notes = [f"Stiffness: {quantity_in_words(found.monitor)}."]
    if math.isfinite(found.lag):
        order = "later" if found.lag > 0 else "earlier"
        notes.append(f"Stiffness turns {abs(found.lag):.2f} decades {order} than the validation loss.")
    print_whole(table, notes, file, title="Turning points")


def turns_document(run: RunFolder | Source) -> dict[str, Any]:
    """The same as JSON can hold it; empty for fewer than two measurements."""
    found = _found(run)
    if found is None:
        return {}
    rules = {rule: turn_details(turn, run.measurements) for rule, turn in found.rules.items()}
    return {"monitor": found.monitor, "rules": rules, "lag": found.lag}


def _found(run: RunFolder | Source) -> TurningPoints | None:
    return turns_of(run.measurements, run.spec, run.events)


def _text(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
