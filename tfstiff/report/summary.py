"""What a reader is to know first of a run: how far it learnt, what classes do to each other, where it turned."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tfstiff.analysis.overfitting import OverfittingOnset
from tfstiff.analysis.source import Source
from tfstiff.records import ClassStiffness, Measurement
from tfstiff.records.words import METRICS_IN_WORDS, moment, number, turn_in_words, with_interval
from tfstiff.report.overfitting import onset_of
from tfstiff.stiffness.intervals import interval

_ALWAYS = 0.9995  # a mean sign that tables show as 1.000


def summary(source: Source) -> list[str]:
    """Three sentences, or fewer where there are no classes.

    Args:
        source: A run with at least one measurement.
    """
    classes = _classes(source, source.having(source.main_pair_set)[-1]) if source.has_classes else ""
    return [text for text in (_learnt(source), classes, _turned(onset_of(source))) if text]


def next_steps(source: Source, *, has_examples: bool) -> Iterator[str]:
    """What to do next.

    Args:
        source: A run with at least one measurement.
        has_examples: Whether the report shows single examples.
    """
    found = onset_of(source)
    if found is not None:
        minimum = found.validation_minimum
        if minimum.status == "confirmed":
            yield (
                f"Keep the weights of {found.unit} {minimum.time:.3g}, where the validation loss was lowest: "
                "EarlyStopping('val_loss', restore_best_weights=True) does."
            )
        elif minimum.index == len(source.measurements) - 1:
            yield "Train for more epochs: the validation loss was lowest at the end."
    if source.has_classes:
        last = source.having(source.main_pair_set)[-1]
        worst = _extremes(source, last)
        if worst is not None and worst[0].high < 0:
            yield f"Look at {worst[0].names}: what is learnt of the one harms the other."
    if has_examples:
        yield "Look at the examples below, and at their labels."


def _learnt(source: Source) -> str:
    first, last = source.measurements[0], source.measurements[-1]
    text = f"At {moment(last)} the loss was {number(last.train.loss)} on the training examples of the probe"
    if first is not last:
        text += f", down from {number(first.train.loss)}," if last.train.loss < first.train.loss else ""
    text += f" and {number(last.validation.loss)} on its validation examples" if _has_validation(last) else ""
    accuracy = [one for one in (last.train.accuracy, last.validation.accuracy) if math.isfinite(one)]
    right = " and ".join(f"{number(100 * one, 1)}\u00a0%" for one in accuracy)
    return text + (f"; {right} of them were classified right." if right else ".")


def _has_validation(measurement: Measurement) -> bool:
    return math.isfinite(measurement.validation.loss)


class _Cell:
    """Of the class matrix, with its 95 % interval."""

    def __init__(self, found: ClassStiffness, row: int, column: int, names: tuple[str, ...]) -> None:
        self.value = float(found.matrix[row, column])
        low, high = interval(self.value, found.matrix_se[row, column], found.matrix_df[row, column])
        self.low, self.high = float(max(low, -1)), float(min(high, 1))
        self.names = " and ".join(f"“{names[k]}”" if k < len(names) else f"class {k}" for k in (row, column))

    def __str__(self) -> str:
        return with_interval(self.value, self.low, self.high)


def _extremes(source: Source, last: Measurement) -> tuple[_Cell, ...] | None:
    """The cells of two different classes that are lowest and highest; None where fewer than two are known."""
    found = getattr(last[source.main_pair_set], source.metrics[0])
    known = ~np.eye(len(found.matrix), dtype=bool) & np.isfinite(found.matrix) & np.isfinite(found.matrix_se)
    if known.sum() < 2:
        return None
    places, values = np.argwhere(known).tolist(), found.matrix[known]
    lowest, highest = places[int(np.argmin(values))], places[int(np.argmax(values))]
    return tuple(_Cell(found, row, column, last.class_names) for row, column in (lowest, highest))


def _classes(source: Source, last: Measurement) -> str:
    metric = source.metrics[0]
    found = getattr(last[source.main_pair_set], metric)
    ends = _extremes(source, last)
    parts = []
    if found.within >= _ALWAYS and metric == "sign":
        parts.append("A step on one example helps nearly every other of its class (sign 1.000).")
    if ends is not None:
        lowest, highest = ends
        harms = "harm each other most" if lowest.high < 0 else "help each other least"
        helps = "help each other most" if highest.low > 0 else "harm each other least"
        parts.append(f"By the mean {METRICS_IN_WORDS[metric]}, {lowest.names} {harms}: {lowest};")
        parts.append(f"{highest.names} {helps}: {highest}.")
    return " ".join(parts)


def _turned(found: OverfittingOnset | None) -> str:
    if found is None:
        return ""
    minimum, stiffness = found.validation_minimum, found.stiffness_drop
    told = ["the validation loss did not turn"] if minimum.status != "confirmed" else []
    for onset in (minimum, stiffness):
        if onset.status == "confirmed":
            told.append(turn_in_words(onset.rule, found.monitor, onset.time, onset.confirmed_time, found.unit))
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."
