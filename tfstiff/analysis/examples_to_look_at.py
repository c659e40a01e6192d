"""All lists of examples that are worth a look, of one half of a run's probe at one of its measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfstiff.analysis.example_histories import forgotten, opposed_duplicates
from tfstiff.analysis.example_lists import (
    ExampleList,
    ExamplesAt,
    examples_at,
    fighting_their_class,
    in_doubt_of_their_label,
    most_helpful,
)
from tfstiff.analysis.from_gram import gram_of_half
from tfstiff.errors import InvalidInput, Unavailable
from tfstiff.records import Measurement

LISTS = ("fight", "label", "duplicates", "helpful", "forgotten")


def examples_to_look_at(
    measurements: Sequence[Measurement], probe: Mapping[str, np.ndarray], half: str = "train", step: int | None = None
) -> tuple[ExamplesAt, list[ExampleList]]:
    """The examples, and the lists in the order of `LISTS`.

    Args:
        measurements: Of a run, in order of time.
        probe: Ids and inputs of the probe's examples, as in the run's `probe.npz`.
        half: `train` or `validation`.
        step: Of the measurement; None means the last. What happened over time is told up to it.

    Raises:
        InvalidInput: There is no such half, or no measurement at that step.
        Unavailable: There is no measurement, or its record, of an older version, holds no scores of examples.
    """
    if not measurements:
        raise Unavailable("The run has no measurement.", remedy="Wait for the first one.")
    steps = [m.step for m in measurements]
    if step is not None and step not in steps:
        raise InvalidInput(
            f"There is no measurement at step {step}.", expected=", ".join(map(str, steps)), received=step
        )
    until = measurements[: len(steps) if step is None else steps.index(step) + 1]
    found = examples_at(until[-1], probe, half)
    history = [examples_at(m, probe, half) for m in until if m.half(half).scores and m.half(half).scores.stiffness]  # type: ignore[union-attr]
    gram = None if until[-1].gram is None else gram_of_half(until[-1], half)
    lists = [
        *lists_at(found),
        opposed_duplicates(found, gram, _flat(probe.get(f"{half}_x"))),
        forgotten(history),
    ]
    return found, sorted(lists, key=lambda one: LISTS.index(one.name))


def lists_at(examples: ExamplesAt) -> list[ExampleList]:
    """The lists that one look at the examples gives: those of `LISTS` without duplicates and forgotten ones."""
    return [fighting_their_class(examples), in_doubt_of_their_label(examples), most_helpful(examples)]


def _flat(inputs: np.ndarray | None) -> np.ndarray | None:
    if inputs is None or inputs.dtype.kind not in "biuf":
        return None
    return inputs.reshape(len(inputs), -1).astype(np.float64)
