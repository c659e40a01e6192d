"""What a reader is to know first of a run: how far it learnt, what classes do to each other, where it turned."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from tfstiff.analysis.source import Source
from tfstiff.analysis.turns_of_training import TurningPoints
from tfstiff.records import Measurement
from tfstiff.records.words import METRICS_IN_WORDS, moment, number, turn_in_words
from tfstiff.report.cells import Cell, cells_of, lowest_and_highest
from tfstiff.report.turning_points import turns_in

_ALWAYS = 0.9995  # a mean sign that tables show as 1.000


class Summary(NamedTuple):
    """What comes first in a report.

    Attributes:
        sentences: Three, or fewer where there are no classes.
        next_steps: What to do next.
    """

    sentences: list[str]
    next_steps: list[str]


def summary(source: Source, *, has_examples: bool) -> Summary:
    """Sums up a run.

    Args:
        source: With at least one measurement.
        has_examples: Whether the report shows single examples.
    """
    turned = turns_in(source)
    last = source.having(source.main_pair_set)[-1]
    ends, classes = None, ""
    if source.has_classes:
        cells = cells_of(source, last, source.metrics[0])
        ends = lowest_and_highest(cells) if cells else None
        classes = _classes(source, last, ends)
    sentences = [text for text in (_learnt(source), classes, _turned(turned)) if text]
    steps = list(_next_steps(source, turned, None if ends is None else ends[0]))
    return Summary(sentences, [*steps, *(["Look at the examples below, and at their labels."] if has_examples else [])])


def _next_steps(source: Source, turned: TurningPoints | None, worst: Cell | None) -> Iterator[str]:
    if turned is not None:
        minimum = turned.validation_minimum
        if minimum.status == "confirmed":
            yield (
                f"Keep the weights of {turned.unit} {minimum.time:.3g}, where the validation loss was lowest: "
                "EarlyStopping('val_loss', restore_best_weights=True) does."
            )
        elif minimum.index == len(source.measurements) - 1:
            yield "Train for more epochs: the validation loss was lowest at the end."
    if worst is not None and worst.high < 0:
        yield f"Look at {worst.row} and {worst.column}: what is learnt of the one harms the other."


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


def _classes(source: Source, last: Measurement, ends: tuple[Cell, Cell] | None) -> str:
    metric, parts = source.metrics[0], []
    if metric == "sign" and getattr(last[source.main_pair_set], metric).within >= _ALWAYS:
        parts.append("A step on one example helps nearly every other of its class (sign 1.000).")
    if ends is not None:
        lowest, highest = ends
        harms = "harm each other most" if lowest.high < 0 else "help each other least"
        helps = "help each other most" if highest.low > 0 else "harm each other least"
        parts.append(f"By the mean {METRICS_IN_WORDS[metric]}, {lowest.row} and {lowest.column} {harms}: {lowest};")
        parts.append(f"{highest.row} and {highest.column} {helps}: {highest}.")
    return " ".join(parts)


def _turned(found: TurningPoints | None) -> str:
    if found is None:
        return ""
    minimum, stiffness = found.validation_minimum, found.stiffness_drop
    told = ["the validation loss did not turn"] if minimum.status != "confirmed" else []
    for turn in (minimum, stiffness):
        if turn.status == "confirmed":
            told.append(turn_in_words(turn.rule, found.monitor, turn.time, turn.confirmed_time, found.unit))
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}."
