"""Measurements as rows of text: the one table of them, whoever shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tfstiff.analysis.readings import Reading, reading_of_pairs, readings_of_effects
from tfstiff.records import METRICS, Measurement, PairSetStiffness
from tfstiff.records.measurement import HALVES
from tfstiff.records.words import (
    ABSENT,
    BENT,
    DIRECTION_STATUSES,
    LENGTH_STATUSES,
    default_pair_set,
    mark_of_length,
    number,
    readings_of_length,
    shown_length,
)

NARROW = ("step",)  # left out where there is no room, since the epoch says the same


def has_classes(measurements: Sequence[Measurement]) -> bool:
    """Whether all stiffness is by class."""
    return not any(found.sign is None for m in measurements for found in m.pair_sets.values())


def main_pair_set(measurements: Sequence[Measurement]) -> str:
    """The pair set that a table is of where none is asked for."""
    return default_pair_set(measurements[0].pair_sets if measurements else ())


def measurement_columns(
    measurements: Sequence[Measurement],
    pair_set: str,
    metrics: Sequence[str] = METRICS,
    *,
    digits: int = 4,
    minus: str = "-",
) -> dict[str, list[str]]:
    """The columns of the table, by their headers, a cell a measurement.

    When, losses, accuracy, stiffness of one pair set with half the width of its 95 % interval behind ±, ξ, and, without
    a header, the mark of its status. Targets without classes have mean stiffness in place of within and between, and
    no accuracy.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`.
        metrics: Which of `sign` and `cosine`.
        digits: Of losses, behind the point.
        minus: The sign of negative numbers; other programs read a hyphen.
    """
    columns = {
        "epoch": [f"{m.epoch:.3g}" if math.isfinite(m.epoch) else ABSENT for m in measurements],
        "step": [str(m.step) if m.step >= 0 else ABSENT for m in measurements],
        "train\nloss": [number(m.train.loss, digits, minus=minus) for m in measurements],
        "val\nloss": [number(m.validation.loss, digits, minus=minus) for m in measurements],
    }
    if has_classes(measurements):
        columns["val\nacc."] = [number(m.validation.accuracy, minus=minus) for m in measurements]
    found = [m.pair_sets.get(pair_set) for m in measurements]
    for name in stiffness_columns(has_classes(measurements), metrics):
        columns[name.replace("_", "\n")] = [stiffness_cell(one, name, minus=minus) for one in found]
    lengths = [one.critical_length if one else None for one in found]
    columns["ξ"] = [number(shown_length(one) if one else math.nan, minus=minus) for one in lengths]
    columns[""] = [mark_of_length(one) if one else "" for one in lengths]
    return columns


def stiffness_columns(by_class: bool, metrics: Sequence[str] = METRICS) -> list[str]:
    """What a table shows of the stiffness of a pair set: `sign_within`, …"""
    return [f"{metric}_{kind}" for metric in metrics for kind in (("within", "between") if by_class else ("mean",))]


def stiffness_cell(found: PairSetStiffness | None, name: str, *, minus: str = "-") -> str:
    """One mean over the pairs of a pair set, with half the width of its 95 % interval."""
    return with_half_width(reading_of_pairs(found, name), minus=minus)


def with_half_width(found: Reading | None, *, minus: str = "-") -> str:
    """`0.741±.024`: a mean and half the width of its 95 % interval; the mean alone where that is not known."""
    if found is None:
        return ABSENT
    if math.isnan(found.value) or math.isnan(found.half_width):
        return number(found.value, minus=minus)
    return f"{number(found.value, minus=minus)}±{number(found.half_width).removeprefix('0')}"


def status_legend(measurements: Sequence[Measurement], pair_set: str = "train_val") -> list[str]:
    """A line for each mark that the table of these measurements has."""
    lengths = [m[pair_set].critical_length for m in measurements if pair_set in m.pair_sets]
    occurring = {reading for length in lengths for reading in readings_of_length(length)}
    known = (*LENGTH_STATUSES.values(), BENT)
    return [f"{one.mark:<2} {one.words}" for one in known if one in occurring and one.mark]


def accuracies_in_words(measurement: Measurement, *, minus: str = "-") -> list[str]:
    """A line for each output of a model of several that has an accuracy of its own."""
    halves = [half for half in (measurement.train, measurement.validation) if half.num_examples]
    return [
        f"accuracy of {name}: {' and '.join(number(half.accuracies[name], minus=minus) for half in halves)}"
        for name in measurement.train.accuracies
        if all(name in half.accuracies for half in halves)
    ]


EFFECTS_IN_WORDS = {
    "helped": "Share of examples that a step along the direction helps",
    "cosine": "Cosine with the direction; below 0, a step along it helps",
}


def effect_columns(measurement: Measurement, quantity: str, *, minus: str = "-") -> dict[tuple[str, str], list[str]]:
    """What steps do to each class, and in the last row to their mean, by direction and half of the probe.

    Args:
        measurement: The measurement.
        quantity: A key of `EFFECTS_IN_WORDS`.
        minus: As for `measurement_columns`.

    Returns:
        Columns as long as `effect_rows`; none of directions and halves of which nothing is known.
    """
    known = {(name, half): getattr(of, half) for name, of in measurement.directions.items() for half in HALVES}
    read = {place: readings_of_effects(effects, quantity) for place, effects in known.items() if effects is not None}
    return {place: [with_half_width(one, minus=minus) for one in found] for place, found in read.items()}


def effect_rows(measurement: Measurement) -> list[str]:
    """What the rows of `effect_columns` are of."""
    names = measurement.class_names
    return [*names, *(["mean"] if len(names) > 1 else [])] or ["all"]


def directions_without_effects(measurement: Measurement) -> list[str]:
    """A line for each direction that was asked for and could not be had: `update: the weights have not moved`."""
    return [
        f"{name}: {DIRECTION_STATUSES.get(of.status, of.status)}"
        for name, of in measurement.directions.items()
        if of.train is None and of.validation is None
    ]
