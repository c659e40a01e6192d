"""When a training turned, in sentences: by the rules of `tfstiff.analysis.turns_of_training`."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfstiff.analysis.source import Source
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turns_of_training import FEWEST_MEASUREMENTS, TurningPoints, turns_of
from tfstiff.records.words import number, quantity_in_words


def turns_in(source: Source) -> TurningPoints | None:
    """The turning points of a run; None where it has too few measurements."""
    return turns_of(source.measurements, source.spec, source.events)


def turning_point_findings(source: Source) -> Iterator[str]:
    """Sentences on when the run turned, by its losses and by its stiffness."""
    turn = turns_in(source)
    if turn is None:
        yield f"Turning points were not looked for: it takes at least {FEWEST_MEASUREMENTS} measurements."
        return
    yield _turn("The validation loss", "lowest", "risen", turn.validation_minimum, turn.unit)
    yield _turn(f"Stiffness ({quantity_in_words(turn.monitor)})", "highest", "fallen", turn.stiffness_drop, turn.unit)
    if math.isfinite(turn.lag):
        when = "after" if turn.lag > 0 else "before"
        times = f"{number(10 ** abs(turn.lag), 2)}-fold the {turn.unit}"
        yield f"Stiffness turned {when} the validation loss: the later one came at {times} of the earlier one."
    if turn.gap_growth.status == "confirmed":
        since = _at(turn.gap_growth, turn.unit)
        yield f"The gap between validation and training loss grew for certain from {since} on."
    elif turn.gap_growth.status == "none":
        yield "The gap between validation and training loss did not grow for certain."
    if turn.generalization_loss.status == "confirmed":
        yield (
            f"The validation loss was first more than 5 % above its lowest at "
            f"{_at(turn.generalization_loss, turn.unit)} (Prechelt's rule, which knows no errors)."
        )


def _turn(what: str, extreme: str, moved: str, turn: Turn, unit: str) -> str:
    if turn.status == "confirmed":
        return (
            f"{what} was {extreme} at {_at(turn, unit)}, and has {moved} for certain since: confirmed at {unit} "
            f"{turn.confirmed_time:.3g}, by measurements in a row beyond 3 standard errors."
        )
    return f"{what} shows no turn that its errors would confirm."


def _at(turn: Turn, unit: str) -> str:
    return f"{unit} {turn.time:.3g}"
