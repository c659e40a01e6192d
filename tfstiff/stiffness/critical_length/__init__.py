"""The dynamical critical length ξ: the distance at which stiffness falls to 0, by one of several rules, a file each.

A line in `RULES` is all that it takes for a rule to be an option of `measure`, of runs, of sweeps and of the commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.records.pair_set import METRICS, CriticalLength
from tfstiff.stiffness.critical_length.curve import SCALES, Curve, Scale
from tfstiff.stiffness.critical_length.first_crossing import first_crossing
from tfstiff.stiffness.critical_length.linear import fixed_effects, linear
from tfstiff.stiffness.critical_length.linear_binned import linear_binned

__all__ = ["RULES", "SCALES", "CriticalLengthRule", "Curve", "Scale"]

RULES: dict[str, Callable[[Curve], CriticalLength]] = {
    "linear": linear,
    "fixed_effects": fixed_effects,
    "linear_binned": linear_binned,
    "first_crossing": first_crossing,
}
_BY_CLASS = (fixed_effects,)  # rules for pairs that are compared class by class


@dataclass(frozen=True)
class CriticalLengthRule:
    """How the critical length is found.

    Attributes:
        method: A name in `RULES`.
        metric: The stiffness that falls to 0: `sign` or `cosine`.
        distance: Kind of the distances: `cosine`, `cosine_similarity`, `l1` or `l2`.

    Raises:
        InvalidInput: One is unknown.
    """

    method: str = "linear"
    metric: str = "cosine"
    distance: str = "cosine"

    def __post_init__(self) -> None:
        for name, known in (("method", RULES), ("metric", METRICS), ("distance", SCALES)):
            if (value := getattr(self, name)) not in known:
                raise unknown_name(f"Unknown {name} of a critical length.", value, known)

    @property
    def scale(self) -> Scale:
        """What the distances say."""
        return SCALES[self.distance]

    def check(self, compared: str) -> None:
        """Checks that the rule suits the pairs that are compared: `within`, `between` or `all`.

        Raises:
            InvalidInput: It does not.
        """
        if RULES[self.method] in _BY_CLASS and compared != "within":
            raise InvalidInput(
                "Critical lengths with fixed effects of classes compare pairs of the same class.",
                expected='distance_pairs="within", and two classes or more',
                received=compared,
                remedy="Compare these pairs, or choose another method for critical lengths.",
            )

    def length(self, curve: Curve) -> CriticalLength:
        """The critical length of a curve."""
        return RULES[self.method](curve)
