"""The report's tables: header and rows of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfstiff.analysis.comparison import Comparison, Milestone, separating_settings
from tfstiff.analysis.comparison.words import observation_in_words, summary_in_words
from tfstiff.analysis.measured_rows import (
    EFFECTS_IN_WORDS,
    directions_without_effects,
    effect_columns,
    effect_rows,
)
from tfstiff.analysis.readings import reading_of_length, reading_of_pairs
from tfstiff.analysis.source import Source
from tfstiff.records import CriticalLength, Measurement, PairSetStiffness
from tfstiff.records.settings import SEED
from tfstiff.records.words import (
    ABSENT,
    BENT,
    HALVES_IN_WORDS,
    PAIR_SET_NAMES,
    has_interval,
    in_brackets,
    number,
    quantity_in_words,
    readings_of_length,
    setting_in_words,
)
from tfstiff.stiffness.statistics import STATISTICS


class ReportTable(NamedTuple):
    """A table.

    Attributes:
        caption: What it is of.
        header: Names of the columns.
        rows: A text a cell; the first of a row names it.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]


def measurement_table(source: Source, pair_set: str) -> ReportTable:
    """A row a measurement that has this pair set: when, losses, accuracies, stiffness, ξ with interval and status."""
    kinds = ("within", "between") if source.has_classes else ("mean",)
    columns = [(metric, kind) for metric in source.metrics for kind in kinds]
    header = ["epoch", "step", "training loss", "validation loss"]
    header += ["training accuracy", "validation accuracy"] * source.has_classes
    header += [*(f"{metric} {kind}" for metric, kind in columns), "ξ", "status of ξ"]
    rows = []
    for m in source.having(pair_set):
        found = m[pair_set]
        length = found.critical_length
        row = [*_when(m), number(m.train.loss, 4), number(m.validation.loss, 4)]
        if source.has_classes:
            row += [number(m.train.accuracy), number(m.validation.accuracy)]
        row += [_mean(found, f"{metric}_{kind}") for metric, kind in columns]
        rows.append([*row, _length(length), _status(length)])
    return ReportTable(
        f"Measurements, {PAIR_SET_NAMES[pair_set]} pairs; ± and brackets: 95\u00a0% intervals", header, rows
    )


def statistics_table(source: Source, pair_set: str) -> ReportTable | None:
    """A row a measurement, a column a number of a statistic; None where none were recorded."""
    measured = [m for m in source.having(pair_set) if m[pair_set].statistics]
    if not measured:
        return None
    names = [name for statistic in STATISTICS for name, _ in statistic.columns()]
    rows = [
        [*_when(m), *(_four_digits(m[pair_set].statistics.get(name, math.nan)) for name in names)] for m in measured
    ]
    caption = f"Statistics of the gradients, {PAIR_SET_NAMES[pair_set]} pairs"
    return ReportTable(caption, ["epoch", "step", *(name.replace("_", " ") for name in names)], rows)


def layer_table(source: Source, pair_set: str) -> ReportTable | None:
    """A row a layer that was measured by itself, at the last measurement; None where there is none."""
    last = source.measurements[-1]
    layers = {path: sets[pair_set] for path, sets in last.layers.items() if pair_set in sets}
    if not layers:
        return None
    kinds = ("within", "between") if source.has_classes else ("mean",)
    columns = [(metric, kind) for metric in source.metrics for kind in kinds]
    rows = []
    for path, found in layers.items():
        length = found.critical_length
        cells = [_mean(found, f"{metric}_{kind}") for metric, kind in columns]
        rows.append([path, *cells, _length(length), _status(length)])
    caption = f"Layers by themselves at the last measurement, {PAIR_SET_NAMES[pair_set]} pairs"
    return ReportTable(caption, ["layer", *(f"{metric} {kind}" for metric, kind in columns), "ξ", "status of ξ"], rows)


def direction_tables(source: Source) -> list[ReportTable]:
    """Whether steps along directions help each class, a row a class, at the last measurement; none without directions.

    Directions that could not be had stand in the caption, with the reason.
    """
    last = source.measurements[-1]
    tables = []
    for quantity, words in EFFECTS_IN_WORDS.items() if last.directions else ():
        columns = effect_columns(last, quantity, minus="−")
        header = ["class", *(f"{name.replace('_', ' ')}, {HALVES_IN_WORDS[half]} half" for name, half in columns)]
        rows = [list(row) for row in zip(effect_rows(last), *columns.values(), strict=True)] if columns else []
        absent = "; ".join(directions_without_effects(last))
        caption = f"{words}, at the last measurement" + f" (not measured: {absent})" * bool(absent)
        tables.append(ReportTable(caption, header, rows))
    return tables


def event_table(events: Sequence[Mapping[str, Any]]) -> ReportTable | None:
    """A row an event; None where nothing happened beside the schedule."""
    if not events:
        return None
    rows = []
    for event in events:
        rest = {name: value for name, value in event.items() if name not in ("event", "step", "epoch")}
        what = "; ".join(f"{name} {text}" for name, text in _flat(rest))
        rows.append(
            [
                str(event.get("event", "")).replace("_", " "),
                setting_in_words(event.get("step")),
                setting_in_words(event.get("epoch")),
                what,
            ]
        )
    return ReportTable("Events", ["event", "step", "epoch", "details"], rows)


def named_values(values: Mapping[str, Any], caption: str) -> ReportTable | None:
    """A row a value, nested ones by their path, named in words; None where there are none."""
    rows = [[name, text] for name, text in _flat(values)]
    return ReportTable(caption, ["name", "value"], rows) if rows else None


def runs_table(sources: Sequence[Source]) -> ReportTable:
    """A row a run: what differs in its settings, how it ended, how far it came."""
    settings = separating_settings([source.spec for source in sources])
    settings += [SEED] * (len({source.spec.get(SEED) for source in sources}) > 1)
    rows = []
    for source in sources:
        row = [source.name, *(setting_in_words(source.spec.get(name)) for name in settings), source.status]
        last = source.measurements[-1] if source.measurements else None
        row += [str(len(source.measurements))]
        row += [number(last.train.loss, 4), number(last.validation.loss, 4)] if last else [ABSENT, ABSENT]
        rows.append(row)
    names = [name.replace("_", " ") for name in settings]
    header = ["run", *names, "status", "measurements", "last training loss", "last validation loss"]
    return ReportTable("The runs, and the settings in which they differ", header, rows)


def milestone_tables(found: Comparison, milestone: Milestone, names: Mapping[Path, str]) -> list[ReportTable]:
    """The runs at one milestone, a row a run; and their groups over seeds, where one has several.

    Args:
        found: The comparison.
        milestone: One of its.
        names: Of the runs, by their folders.
    """
    titles = [quantity_in_words(quantity, with_pairs=False) for quantity in found.quantities]
    runs, groups = [], []
    for index, group in enumerate(found.groups):
        each = [found.observations[quantity, milestone, index] for quantity in found.quantities]
        for seed, run in group.runs.items():
            runs.append([names[run.folder], group.label, *(observation_in_words(one[seed]) for one in each)])
        cells = [summary_in_words(found.summary(quantity, milestone, index)) for quantity in found.quantities]
        groups.append([group.label, str(len(group.runs)), *cells])
    caption = f"At {milestone.label}, each run with 95\u00a0% intervals over the draw of the probe's examples"
    tables = [ReportTable(caption, ["run", "group", *titles], runs)]
    if any(len(group.runs) > 1 for group in found.groups):
        tables.append(ReportTable(f"At {milestone.label}, over seeds", ["group", "seeds", *titles], groups))
    return tables


def _status(length: CriticalLength) -> str:
    return length.status.replace("_", " ") + ", bent" * (BENT in readings_of_length(length))


def _length(length: CriticalLength) -> str:
    read = reading_of_length(length)
    return in_brackets(read.value, read.low, read.high)


def _mean(found: PairSetStiffness, kind: str) -> str:
    """`0.741 ± 0.024`: a mean and half the width of its 95\u00a0% interval."""
    read = reading_of_pairs(found, kind)
    if read is None:
        return ABSENT
    return number(read.value) + (f" ± {number(read.half_width)}" if has_interval(read.low, read.high) else "")


def _when(measurement: Measurement) -> list[str]:
    epoch = f"{measurement.epoch:.3g}" if math.isfinite(measurement.epoch) else ABSENT
    return [epoch, str(measurement.step) if measurement.step >= 0 else ABSENT]


def _four_digits(value: float) -> str:
    return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else number(value)


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        name = str(name).replace("_", " ")
        path = f"{above} › {name}" if above else name
        found += _flat(value, path) if isinstance(value, Mapping) else [(path, setting_in_words(value))]
    return found
