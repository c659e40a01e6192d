"""What a statistic is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tfstiff.stiffness.half_sums import HalfSums


class Estimate(NamedTuple):
    """A value with its standard error, or with the ends of its 95 % interval; NaN where there is no such thing."""

    value: float
    se: float = math.nan
    low: float = math.nan
    high: float = math.nan


_WORDS = {  # what stands beside a value, by the end of its name
    "": "{}",
    "_se": "{}: standard error, of drawing the probe's examples anew",
    "_low": "lower end of the 95 % interval of the {}",
    "_high": "upper end of the 95 % interval of the {}",
}


@dataclass(frozen=True)
class Statistic:
    """One quantity that the sums over the pairs of one half of the probe tell besides its stiffness.

    Attributes:
        name: In records, tables and files.
        words: What it is, in a few words that go on from "the".
        unit: As in the UDUNITS convention; `1` where it has none.
        compute: From the sums: its value, or an `Estimate`. NaN where it does not exist.
        source: Where it is from.
        needs_classes: Whether it compares classes, so that it does not exist for regression targets.
        of_sample: Whether it is the same in expectation where only some of the pairs are summed; else NaN there.
        beside: What an estimate has beside its value: `se`, `low`, `high`.
    """

    name: str
    words: str
    unit: str
    compute: Callable[[HalfSums], float | Estimate]
    source: str = ""
    needs_classes: bool = False
    of_sample: bool = False
    beside: tuple[str, ...] = ()

    def columns(self) -> Iterator[tuple[str, str]]:
        """The name under which each of its numbers is recorded, and what that is in words."""
        for end in ("", *(f"_{kind}" for kind in self.beside)):
            yield f"{self.name}{end}", _WORDS[end].format(self.words)

    def values(self, half: HalfSums) -> dict[str, float]:
        """Its numbers, by those names; NaN where it needs classes and there is one, or pairs that are not summed."""
        exists = not self.needs_classes or half.sums.num_classes > 1
        exists &= self.of_sample or not half.sums.is_sample
        found = self.compute(half) if exists else math.nan
        numbers = found if isinstance(found, Estimate) else Estimate(found)
        return {self.name: numbers.value} | {f"{self.name}_{kind}": getattr(numbers, kind) for kind in self.beside}
