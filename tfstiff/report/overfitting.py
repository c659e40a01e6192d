"""When a training turned, in sentences: by the rules of `tfstiff.analysis.overfitting`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfstiff.analysis.onset_rules import Onset
from tfstiff.analysis.overfitting import FEWEST_MEASUREMENTS, OverfittingOnset, onsets_of
from tfstiff.analysis.source import Source
from tfstiff.records.words import number, quantity_in_words


def onset_of(source: Source) -> OverfittingOnset | None:
    """The turning points of a run; None where it has too few measurements."""
    return onsets_of(source.measurements, source.spec, source.events)


def overfitting_findings(source: Source) -> Iterator[str]:
    """Sentences on when the run turned, by its losses and by its stiffness."""
    onset = onset_of(source)
    if onset is None:
        yield f"Turning points were not looked for: it takes at least {FEWEST_MEASUREMENTS} measurements."
        return
    yield _turn("The validation loss", "lowest", "risen", onset.validation_minimum, onset.unit)
    yield _turn(
        f"Stiffness ({quantity_in_words(onset.monitor)})", "highest", "fallen", onset.stiffness_drop, onset.unit
    )
    if math.isfinite(onset.lag):
        when = "after" if onset.lag > 0 else "before"
        times = f"{number(10 ** abs(onset.lag), 2)}-fold the {onset.unit}"
        yield f"Stiffness turned {when} the validation loss: the later one came at {times} of the earlier one."
    if onset.gap_growth.status == "confirmed":
        since = _at(onset.gap_growth, onset.unit)
        yield f"The gap between validation and training loss grew for certain from {since} on."
    elif onset.gap_growth.status == "none":
        yield "The gap between validation and training loss did not grow for certain."
    if onset.generalization_loss.status == "confirmed":
        yield (
            f"The validation loss was first more than 5 % above its lowest at "
            f"{_at(onset.generalization_loss, onset.unit)} (Prechelt's rule, which knows no errors)."
        )


def _turn(what: str, extreme: str, moved: str, onset: Onset, unit: str) -> str:
    if onset.status == "confirmed":
        return (
            f"{what} was {extreme} at {_at(onset, unit)}, and has {moved} for certain since: confirmed at {unit} "
            f"{onset.confirmed_time:.3g}, by measurements in a row beyond 3 standard errors."
        )
    return f"{what} shows no turn that its errors would confirm."


def _at(onset: Onset, unit: str) -> str:
    return f"{unit} {onset.time:.3g}"
