"""What measurements, and a comparison, show of themselves where they are printed, and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfstiff.analysis.measured_rows import (
    accuracies_in_words,
    has_classes,
    main_pair_set,
    measurement_columns,
    status_legend,
    stiffness_cell,
    stiffness_columns,
)
from tfstiff.records import Measurement
from tfstiff.records.measurement import ALL_WEIGHTS
from tfstiff.records.shown import Showing
from tfstiff.records.words import PAIR_SET_NAMES, mark_of_length, moment, number, quantity_in_words, shown_length

if TYPE_CHECKING:
    from tfstiff.analysis.comparison import Comparison

_INTERVALS = "± is half the width of the 95 % interval over the draw of the probe's examples."
_MOST = 12  # rows of a table


def of_measurement(measurement: Measurement) -> Showing:
    """When, losses and the stiffness of the main pair set in a line; a row a pair set."""
    by_class = has_classes([measurement])
    names = stiffness_columns(by_class)
    rows = []
    for pair_set, found in measurement.pair_sets.items():
        cells = [stiffness_cell(found, name) for name in names]
        length = found.critical_length
        mark = mark_of_length(length)
        rows.append(
            [PAIR_SET_NAMES.get(pair_set, pair_set), *cells, f"{mark} {number(shown_length(length), minus='-')}"]
        )
    main = main_pair_set([measurement])
    stiffness = measurement.pair_sets.get(main)
    said = [f"{name.replace('_', ' ')} {stiffness_cell(stiffness, name)}" for name in names[-2:] if stiffness]
    halves = (measurement.train, measurement.validation)
    losses = " and ".join(number(half.loss, 4, minus="-") for half in halves if half.num_examples)
    accuracies = [half.accuracy for half in halves if half.num_examples and not math.isnan(half.accuracy)]
    line = [_when(measurement), f"loss {losses}", *[f"{main} {', '.join(said)}"] * bool(said)]
    notes = [f"accuracy {' and '.join(f'{accuracy:.3f}' for accuracy in accuracies)}"] * bool(accuracies)
    notes += accuracies_in_words(measurement)
    notes += [f"weights: {measurement.weights}"] * (measurement.weights != ALL_WEIGHTS)
    notes += [f"layers: {', '.join(measurement.layers)}"] * bool(measurement.layers)
    header = ["pairs", *(name.replace("_", " ") for name in names), "ξ"]
    return Showing("; ".join(line), header, rows, [*notes, _INTERVALS, *status_legend([measurement], main)])


def of_measurements(
    line: str, measurements: Sequence[Measurement], metrics: Sequence[str] = ("sign", "cosine")
) -> Showing:
    """A row a measurement, as `tfstiff show` has them, of one pair set; of many those at the ends alone."""
    if not measurements:
        return Showing(line)
    pair_set = main_pair_set(measurements)
    shown = list(measurements)
    if len(shown) > _MOST:
        shown = [*shown[: _MOST // 2], *shown[-_MOST // 2 :]]
    columns = measurement_columns(shown, pair_set, metrics)
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    if len(shown) < len(measurements):
        rows.insert(_MOST // 2, ["…"] * len(columns))
    header = [name.replace("\n", " ") for name in columns]
    notes = [f"Stiffness of {PAIR_SET_NAMES.get(pair_set, pair_set)} pairs. {_INTERVALS}"]
    return Showing(line, header, rows, [*notes, *status_legend(shown, pair_set)])


def of_comparison(found: Comparison) -> Showing:
    """A row a quantity and group, a column a milestone."""
    from tfstiff.analysis.comparison.words import summary_in_words

    num_runs = sum(len(group.runs) for group in found.groups)
    line = f"{num_runs} runs in {len(found.groups)} groups, {len(found.quantities)} quantities"
    line += f", at {', '.join(milestone.label for milestone in found.milestones)}" * bool(found.milestones)
    rows = [
        [
            quantity_in_words(quantity),
            group.label,
            str(len(group.runs)),
            *(summary_in_words(found.summary(quantity, milestone, index)) for milestone in found.milestones),
        ]
        for quantity in found.quantities
        for index, group in enumerate(found.groups)
    ]
    notes = ["Mean over seeds [its 95 % interval] ± half of the 95 % interval over the draw of the probe's examples."]
    header = ["quantity", "group", "seeds", *(milestone.label for milestone in found.milestones)]
    return Showing(line, header, rows, notes)


def _when(measurement: Measurement) -> str:
    known = measurement.step >= 0 or math.isfinite(measurement.epoch)
    return moment(measurement) if known else "of a model as it stands"
