"""When a run began to overfit, in sentences: by the rules of `tfstiff.analysis.overfitting`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfstiff.analysis.overfitting import OverfittingOnset, overfitting_onset
from tfstiff.analysis.turning_points import Onset
from tfstiff.errors import InvalidInput
from tfstiff.records.words import number
from tfstiff.report.source import Source

_FEWEST_FOR_ONSET = 3


def onset_of(source: Source) -> OverfittingOnset | None:
    """The onset of overfitting by the cosine of the main pair set; None where it cannot be looked for."""
    measured = source.having(source.main_pair_set)
    if len(measured) < _FEWEST_FOR_ONSET:
        return None
    try:
        kind = "within" if source.has_classes else "mean"
        return overfitting_onset(measured, f"stiffness_cosine_{kind}_{source.main_pair_set}")
    except (InvalidInput, ValueError):  # the values are not all of one probe
        return None


def overfitting_findings(source: Source) -> list[str]:
    """Sentences on when the run began to overfit, by its losses and by its stiffness."""
    return list(_overfitting(source))


def _overfitting(source: Source) -> Iterator[str]:
    onset = onset_of(source)
    if onset is None:
        yield (
            f"The onset of overfitting was not looked for: it takes at least {_FEWEST_FOR_ONSET} measurements of "
            "one probe."
        )
        return
    yield _turn("The validation loss", "lowest", "risen", onset.validation_minimum, onset.unit)
    yield _turn("Stiffness (the cosine)", "highest", "fallen", onset.stiffness_drop, onset.unit)
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
            f"{onset.confirmed_time:.3g}, by three measurements in a row beyond 3 standard errors."
        )
    return f"{what} shows no turn that its errors would confirm."


def _at(onset: Onset, unit: str) -> str:
    return f"{unit} {onset.time:.3g}"
