"""When a curve turns: rules on its measurements so far, with errors of paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tfstiff.analysis.curve import ERRORS, INFLUENCE, NOTHING, Curve, Point
from tfstiff.analysis.turn_rules import Departure, GeneralizationLoss, Rule, Turn, TurningPoint


def turning_point(
    curve: Curve, name: str = "turning_point", *, patience: int = 3, z: float = 3.0, min_change: float = 0.0
) -> Turn:
    """Where a curve turns down: the maximum of the smoothed curve, confirmed by what follows.

    It is confirmed at the last of the first `patience` measurements in a row after it that all lie below it by more
    than `z` standard errors of the paired difference, and by more than `min_change`. Measurements without a value
    neither confirm nor interrupt. The height of the maximum is the smoothed one, since a maximum of noisy values is too
    high; it still is a little, and many measurements are tested. Of simulated level curves of 39 measurements with
    independent errors, 0.7 % are confirmed with 3 standard errors, 18 % with 2.

    Of a validation loss, turn the curve over (`-curve`). A later, higher maximum takes the place of an earlier one,
    however clearly that was confirmed: to stop at the first, watch the curve as it grows (`TurnWatch`).

    Args:
        curve: The values.
        name: Rule that the result is said to be of.
        patience: Measurements in a row.
        z: Standard errors.
        min_change: In units of the value.
    """
    return _applied(TurningPoint, curve, name=name, patience=patience, z=z, min_change=min_change)


def departure(
    curve: Curve, name: str = "departure", *, patience: int = 3, z: float = 3.0, min_change: float = 0.0
) -> Turn:
    """When a curve first leaves the highest level that it had, downwards, for good measure `patience` times in a row.

    Each measurement is compared with the highest smoothed value before it, as in `turning_point`, but the turn is the
    first of those that confirm it, not the maximum: the rule for curves that are level at first, such as the gap
    between the losses turned over (`-curve`). What comes later does not change it.

    Args:
        curve: The values.
        name: Rule that the result is said to be of.
        patience: Measurements in a row.
        z: Standard errors.
        min_change: In units of the value.
    """
    return _applied(Departure, curve, name=name, patience=patience, z=z, min_change=min_change)


def generalization_loss(curve: Curve, name: str = "generalization_loss", *, alpha: float = 5.0) -> Turn:
    """GL_α of Prechelt (1998, "Early stopping — but when?"): when the validation loss is first α % above its lowest.

    GL(t) = 100 (E(t) / min_{t' ≤ t} E(t') − 1) > α. It needs no smoothing and no errors. It is confirmed at once. The
    loss must be above 0.

    Args:
        curve: The validation loss.
        name: Rule that the result is said to be of.
        alpha: Per cent, above 0.

    Raises:
        InvalidInput: `alpha` is not above 0.
    """
    return _applied(GeneralizationLoss, curve, name=name, alpha=alpha)


def log_lag(later: Turn, earlier: Turn) -> float:
    """log10 of the ratio of two turns' times: 0 where they coincide, 1 where the first comes ten times as late.

    NaN unless both are confirmed, at times above 0.
    """
    both = (later, earlier)
    if any(turn.status != "confirmed" or not turn.time > 0 for turn in both):
        return math.nan
    return math.log10(later.time / earlier.time)


class TurnWatch:
    """Applies a rule to a curve as it grows, and keeps the first turn that is confirmed.

    Args:
        rule: `turning_point`, `departure` or `generalization_loss`.
        goes_on: Whether a confirmed turn may yet give way to a later one, as in the whole curve.
        **options: Of the rule.
    """

    def __init__(self, rule: Callable[..., Turn] = turning_point, *, goes_on: bool = False, **options: Any) -> None:
        self._goes_on = goes_on
        self._kind, self._options = _RULES[rule], {**(rule.__kwdefaults__ or {}), "name": rule.__name__, **options}
        self._points: list[Point] = []
        self._has_influence, self._has_errors = True, False
        self._num_examples: int | None = None
        self._known = INFLUENCE
        self._rule = self._kind(self._known, **self._options)

    @property
    def turn(self) -> Turn:
        """As it is known now."""
        return self._rule.turn

    def add(self, time: float, value: float, se: float = math.nan, influence: np.ndarray | None = None) -> Turn:
        """Takes one more measurement, and returns the turn as it is known now.

        Args:
            time: After that of the one before.
            value: NaN where there is none.
            se: Its standard error; NaN where it is not known.
            influence: (E,) as in `Curve`; of no use unless all values have one of the same E examples.

        Raises:
            InvalidInput: Time does not increase.
        """
        if self.turn.status == "confirmed" and not self._goes_on:
            return self.turn
        point = Point(float(time), float(value), float(se), influence)
        if math.isfinite(value):
            size = None if influence is None else len(influence)
            self._num_examples = size if self._num_examples is None else self._num_examples
            self._has_influence &= size is not None and size == self._num_examples
        self._has_errors |= math.isfinite(se)
        known = INFLUENCE if self._has_influence else ERRORS if self._has_errors else NOTHING
        if known == self._known:
            self._rule.add(point)
            self._points.append(point)
            return self.turn
        self._points.append(point)  # with less, or more, known of all errors everything is looked at again
        self._known, self._rule = known, self._kind(known, **self._options)
        for one in self._points:
            self._rule.add(one)
        return self.turn


_RULES: dict[Callable[..., Turn], type[Any]] = {
    turning_point: TurningPoint,
    departure: Departure,
    generalization_loss: GeneralizationLoss,
}


def _applied(kind: type[Any], curve: Curve, **options: Any) -> Turn:
    """What a rule finds in a whole curve."""
    rule: Rule = kind(curve.known, **options)
    for point in curve:
        rule.add(point)
    return rule.turn
