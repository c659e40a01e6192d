"""What to bear in mind of a run: what its records say that is unusual, each once."""

from __future__ import annotations

from collections.abc import Sequence

from tfstiff.records import HalfSummary, Measurement
from tfstiff.records.words import moment

_OF_GRADIENTS = {
    "num_zero_gradients": "exactly zero, so that their stiffness counts as 0",
    "num_nonfinite": "NaN or infinite, so that their pairs are left out",
}


def reservations_of(measurements: Sequence[Measurement]) -> list[str]:
    """The sentences that the measurements hold, each once, in the order in which they came."""
    return list(dict.fromkeys(text for measurement in measurements for text in measurement.reservations))


def gradient_reservations(measurements: Sequence[Measurement], *, least: float = 0.0) -> list[str]:
    """A sentence for each half and kind of gradient that is zero or not finite, where the most were.

    Args:
        measurements: In order of time.
        least: The share of the half's gradients that is worth a sentence; 0 is any.
    """
    found = []
    for half, name in (("train", "training"), ("validation", "validation")):
        for attribute, words in _OF_GRADIENTS.items():
            counts = [_count(getattr(one, half), attribute, least) for one in measurements]
            largest = max(counts, default=0)
            if largest:
                most = f"{largest} at {moment(measurements[counts.index(largest)])}, the most at a time"
                found.append(f"Gradients of {name} examples that were {words}: {most}.")
    return found


def _count(half: HalfSummary, attribute: str, least: float) -> int:
    count = int(getattr(half, attribute))
    return count if count > least * half.num_examples else 0
