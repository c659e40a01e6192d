"""Checks of the numbers in a run's specification. Imports no TensorFlow."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING

from tfstiff.analysis.turns_of_training import chosen_monitor
from tfstiff.errors import InvalidInput
from tfstiff.records import scalar_names

if TYPE_CHECKING:
    from tfstiff.runs.spec import RunSpec

_LARGEST = 2**31 - 1  # of counts


def check_numbers(spec: RunSpec) -> None:
    """Checks the learning rate and all counts of a `RunSpec`.

    Raises:
        InvalidInput: One is out of range.
    """
    rate = spec.learning_rate
    if not (isinstance(rate, numbers.Real) and math.isfinite(rate) and rate > 0):
        raise InvalidInput("The learning rate must be a number above 0.", expected="such as 8e-4", received=rate)
    counts = {name: getattr(spec, name) for name in ("epochs", "batch_size", "stop_interval", "stop_examples")}
    counts |= {f"probe_size[{index}]": size for index, size in enumerate(spec.probe_size)}
    counts |= {f"hidden[{index}]": width for index, width in enumerate(spec.hidden or ())}
    counts |= {"sequence_length": spec.sequence_length, "vocabulary_size": spec.vocabulary_size}
    for name, count in counts.items():
        if not isinstance(count, int) or not 1 <= count <= _LARGEST:
            what = f"{name} must be a whole number above 0."
            raise InvalidInput(what, expected=f"1 to {_LARGEST}", received=count)


def check_stiffness_drop(spec: RunSpec) -> None:
    """Checks when a `RunSpec` has its training stop by stiffness.

    Raises:
        InvalidInput: A number is out of range, or what is monitored is not measured.
    """
    patience, least = spec.stop_when_stiffness_drops, spec.min_stiffness_drop
    if not isinstance(patience, int) or isinstance(patience, bool) or patience < 0:
        raise InvalidInput(
            "The patience with a drop of stiffness must be a whole number of measurements.",
            expected="1 or more, or 0 to go on training",
            received=patience,
        )
    if not (isinstance(least, numbers.Real) and 0 <= least < math.inf):
        raise InvalidInput("The least drop of stiffness must be a number from 0 on.", received=least)
    of_classes = scalar_names(True, spec.pair_sets, has_groups=spec.groups != "none")
    chosen_monitor(spec.stiffness_monitor, (*of_classes, *scalar_names(False, spec.pair_sets)))
