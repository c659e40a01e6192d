"""What a run found, in sentences: numbers with their intervals, and no more than these support.

A difference is stated only where its 95 % interval excludes 0. Intervals are over the draw of the probe's examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tfstiff.analysis.contrast import Contrast, paired_contrast
from tfstiff.analysis.readings import reading
from tfstiff.analysis.reservations import gradient_reservations, reservations_of
from tfstiff.analysis.source import Source
from tfstiff.errors import InvalidInput
from tfstiff.records import Measurement
from tfstiff.records.words import (
    METRICS_IN_WORDS,
    PAIRS_IN_WORDS,
    has_interval,
    length_in_words,
    moment,
    number,
    status_of_length,
    with_interval,
)
from tfstiff.report.cells import cells_of, lowest_and_highest
from tfstiff.report.directions import direction_findings
from tfstiff.report.turning_points import turning_point_findings
from tfstiff.stiffness.intervals import interval

_KINDS = {"within": "examples of one class", "between": "examples of different classes"}
_ENDED = {
    "running": "The run was not over when this was written.",
    "failed": "The run failed; what follows is what it measured before.",
    "interrupted": "The run was interrupted; what follows is what it measured before.",
    "diverged": "The training diverged: its loss became NaN or infinite.",
    "unknown": "How the run ended is not known.",
}


def findings(source: Source) -> list[tuple[str, list[str]]]:
    """Headings, each with its sentences, for a run with at least one measurement.

    Args:
        source: The run.
    """
    measured = source.having(source.main_pair_set)
    sections = [("Training", list(_training(source)))]
    if source.has_classes:
        sections.append(("Within and between classes", list(_by_class(source, measured))))
        sections.append(("Single classes", list(_cells(source, measured[-1]))))
    else:
        sections.append(("Stiffness", list(_overall(source, measured))))
    sections.append(("Critical length", list(_length(source, measured))))
    sections.append(("Steps", list(direction_findings(source))))
    sections.append(("Turning points", list(turning_point_findings(source))))
    sections.append(("Reservations", list(_reservations(source))))
    return [(heading, sentences) for heading, sentences in sections if sentences]


def difference_sentence(what: str, contrast: Contrast, verbs: tuple[str, str] = ("rose", "fell")) -> str:
    """A sentence on a difference: which way where its interval excludes 0, else that it cannot be told.

    Args:
        what: The subject of the sentence.
        contrast: The difference.
        verbs: For an increase and for a decrease, before `by`.
    """
    numbers = with_interval(contrast.value, contrast.low, contrast.high)
    if not has_interval(contrast.low, contrast.high):
        return f"{what}: the difference is {numbers}; no more can be told."
    if contrast.low > 0:
        return f"{what} {verbs[0]} by {numbers}."
    if contrast.high < 0:
        size = with_interval(-contrast.value, -contrast.high, -contrast.low)
        return f"{what} {verbs[1]} by {size}."
    return f"{what}: whether there is a difference cannot be told; it is {numbers}."


def against_zero(low: float, high: float) -> str:
    """Which side of 0 an interval lies on."""
    if not has_interval(low, high):
        return ""
    return "above 0" if low > 0 else "below 0" if high < 0 else "which cannot be told from 0"


def _training(source: Source) -> Iterator[str]:
    if source.status in _ENDED:
        yield _ENDED[source.status]
    first, last = source.measurements[0], source.measurements[-1]
    if len(source.measurements) == 1:
        yield (
            f"There is one measurement, at {moment(last)}: a loss of {number(last.train.loss)} on the training half of "
            f"the probe and {number(last.validation.loss)} on the validation half{_accuracy(last)}."
        )
        return
    yield (
        f"Of {len(source.measurements)} measurements the first was at {moment(first)}, the last at {moment(last)}. In "
        f"between the loss on the probe went from {number(first.train.loss)} to {number(last.train.loss)} on training "
        f"and from {number(first.validation.loss)} to {number(last.validation.loss)} on validation "
        f"examples{_accuracy(last)}."
    )


def _accuracy(measurement: Measurement) -> str:
    found = measurement.train.accuracy, measurement.validation.accuracy
    if any(math.isnan(one) for one in found):
        return ""
    return f", with an accuracy of {number(100 * found[0], 1)} % and {number(100 * found[1], 1)} %"


def _by_class(source: Source, measured: list[Measurement]) -> Iterator[str]:
    pair_set, first, last = source.main_pair_set, measured[0], measured[-1]
    for metric in source.metrics:
        parts = []
        for kind, pairs in _KINDS.items():
            found = reading(last, f"{metric}_{kind}_{pair_set}")
            side = against_zero(found.low, found.high)
            parts.append(f"{with_interval(found.value, found.low, found.high)} for {pairs}" + f", {side}" * bool(side))
        yield (
            f"At {moment(last)} the mean {METRICS_IN_WORDS[metric]} of {PAIRS_IN_WORDS[pair_set]} was "
            f"{parts[0]}, and {parts[1]}."
        )
        contrast = reading(last, f"{metric}_contrast_{pair_set}")
        between = Contrast(contrast.value, contrast.se, math.nan, contrast.low, contrast.high)
        verbs = ("was higher than between classes", "was lower than between classes")
        yield difference_sentence(f"Within classes the {metric}", between, verbs)
        if len(measured) > 1:
            for kind in _KINDS:
                change = contrast_of(first, last, kind, metric, pair_set)
                yield difference_sentence(f"Since {moment(first)} the {metric} {kind} classes", change)
    halves = {"train_train", "val_val"} & set(last.pair_sets)
    if len(halves) == 2:
        gap = contrast_of(last, last, "within", source.metrics[-1], "train_train", "val_val")
        subject = f"The {source.metrics[-1]} within classes of pairs of validation examples"
        verbs = ("was higher than that of training examples", "was lower than that of training examples")
        yield difference_sentence(subject, gap, verbs)


def contrast_of(
    first: Measurement, second: Measurement, kind: str, metric: str, pair_set: str, other: str | None = None
) -> Contrast:
    """The paired contrast; NaN where the two are not of one probe, or lack the pair set."""
    try:
        return paired_contrast(first, second, kind, metric=metric, pair_set=pair_set, second_pair_set=other)
    except (InvalidInput, ValueError):  # another probe: it was not the same training
        return Contrast(math.nan, math.nan, math.nan, math.nan, math.nan)


def _cells(source: Source, last: Measurement) -> Iterator[str]:
    """On single cells of the class matrix; with many of them some stand out by chance."""
    for metric in source.metrics:
        cells = cells_of(source, last, metric)
        if not cells:
            continue
        above, below = sum(cell.low > 0 for cell in cells), sum(cell.high < 0 for cell in cells)
        yield (
            f"By the {metric} at {moment(last)}, {above} of {len(cells)} cells of two different classes have a "
            f"95\u00a0% interval above 0, and {below} below 0; were all of them 0, about {0.05 * len(cells):.3g} "
            "would lie to one side or the other by chance."
        )
        words = [f"{cell.row} with {cell.column}, {cell}" for cell in lowest_and_highest(cells)]
        yield (
            f"The lowest is {words[0]}; the highest is {words[1]}. Extremes of many cells, they are likely to be less "
            "extreme than they look."
        )


def _overall(source: Source, measured: list[Measurement]) -> Iterator[str]:
    """Of targets without classes: no influences are kept, so a change is judged by the sum of the two errors."""
    pair_set, first, last = source.main_pair_set, measured[0], measured[-1]
    for metric in source.metrics:
        before, after = (reading(one, f"{metric}_mean_{pair_set}") for one in (first, last))
        yield (
            f"At {moment(last)} the mean {METRICS_IN_WORDS[metric]} of {PAIRS_IN_WORDS[pair_set]} was "
            f"{with_interval(after.value, after.low, after.high)}, over all pairs; the targets have no classes."
        )
        if len(measured) > 1:
            value, bound = after.value - before.value, before.se + after.se
            low, high = interval(value, bound)
            change = Contrast(value, bound, math.nan, float(low), float(high))
            yield difference_sentence(f"Since {moment(first)} the mean {metric}", change)


def _length(source: Source, measured: list[Measurement]) -> Iterator[str]:
    pair_set, first, last = source.main_pair_set, measured[0], measured[-1]
    distance = str(source.spec.get("distance", "cosine"))
    for space in last[pair_set].spaces:
        length = last[pair_set].spaces[space].critical_length
        where = "" if space == "input" else f" in the space of “{space}”"
        yield (
            f"At {moment(last)}, by the {length.metric} of {PAIRS_IN_WORDS[pair_set]}{where} ({length.num_pairs:,} "
            f"pairs): {length_in_words(length, distance)}."
        )
        if len(measured) < 2 or space not in first[pair_set].spaces:
            continue
        before = first[pair_set].spaces[space].critical_length
        if not all(status_of_length(one.status).has_length for one in (before, length)):
            yield f"At {moment(first)}{where}: {length_in_words(before, distance)}. No change of ξ can be told."
        elif before.interval == length.interval == "bounded" and (before.high < length.low or length.high < before.low):
            verb = "longer" if length.low > before.high else "shorter"
            yield (
                f"That is {verb} than at {moment(first)}{where}, where {length_in_words(before, distance)}; the "
                "intervals do not overlap."
            )
        else:
            yield (
                f"At {moment(first)}{where}: {length_in_words(before, distance)}. Whether ξ has changed cannot be told "
                "from these intervals."
            )


def _reservations(source: Source) -> Iterator[str]:
    yield (
        "All intervals are of the draw of the probe's examples, within this one training. What another seed would "
        "give is another question; it takes other trainings."
    )
    if source.spec.get("permute_labels"):
        yield "The training labels were permuted: classes of training examples mean nothing, by intention."
    yield from reservations_of(source.measurements)
    yield from gradient_reservations(source.measurements)
    for pair_set in source.pair_sets:
        measured = source.having(pair_set)
        worst = measured[int(np.argmax([one[pair_set].num_uncertain_signs for one in measured]))]
        found = worst[pair_set]
        pairs = 0 if found.pair_counts is None else int(found.pair_counts.sum())
        if found.num_uncertain_signs * 100 > pairs > 0:
            share = 100 * found.num_uncertain_signs / pairs
            yield (
                f"At {moment(worst)} {number(share, 1)} % of the pairs of {PAIRS_IN_WORDS[pair_set]} have a cosine so "
                "near 0 that single precision cannot tell its sign."
            )
