"""Tables on the terminal: of a run's measurements, as `show` prints it and `run` ends with it, and of anything else."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import IO, Any

from rich.console import Console
from rich.measure import Measurement as Extent
from rich.padding import PaddingDimensions
from rich.table import Table

from tfstiff.analysis.measured_rows import (
    NARROW,
    accuracies_in_words,
    main_pair_set,
    measurement_columns,
    status_legend,
    with_half_width,
)
from tfstiff.analysis.readings import reading_of_blocks
from tfstiff.analysis.reservations import reservations_of
from tfstiff.records import METRICS, Measurement, PairSetStiffness
from tfstiff.records.words import ABSENT, number
from tfstiff.runs.progress import describe_event

from .encoding import writable

_CLOSE = (0, 0, 0, 1)  # the padding of a table on a narrow terminal
plain_number = partial(number, minus="-")  # as other programs read it


def measurement_table(
    measurements: Sequence[Measurement],
    pair_set: str = "train_val",
    metrics: Sequence[str] = METRICS,
    *,
    is_narrow: bool = False,
) -> Table:
    """A row a measurement, as `measurement_columns` makes them.

    The narrow form has no step, shorter losses, and the marks of ξ right behind it.
    """
    columns = measurement_columns(measurements, pair_set, metrics, digits=3 if is_narrow else 4)
    if is_narrow:
        lengths, marks = columns["ξ"], columns.pop("")
        widest = max(map(len, lengths), default=0)
        columns["ξ"] = [f"{length:>{widest}}{mark}" for length, mark in zip(lengths, marks, strict=True)]
        columns = {name: cells for name, cells in columns.items() if name not in NARROW}
    table = Table(box=None, pad_edge=False, padding=_CLOSE if is_narrow else (0, 1))
    for header in columns:
        table.add_column(
            header, justify="left" if header in ("", "ξ")[: 1 + is_narrow] else "right", no_wrap=True, vertical="bottom"
        )
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def print_measurements(
    measurements: Sequence[Measurement],
    pair_set: str | None = None,
    file: IO[str] | None = None,
    metrics: Sequence[str] = METRICS,
) -> None:
    """Prints the table and its legend, never truncated. Without colours or bold where `file` is no terminal.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`; None chooses one that was measured.
        file: Standard output where None.
        metrics: Which of `sign` and `cosine`.
    """
    pair_set = pair_set or main_pair_set(measurements)
    notes = [*status_legend(measurements, pair_set), *gradient_notes(measurements, pair_set)]
    notes += [line for last in measurements[-1:] for line in accuracies_in_words(last)]
    notes += [f"Warning: {text}" for text in reservations_of(measurements)]
    table = measurement_table(measurements, pair_set, metrics)
    has_epochs = all(math.isfinite(m.epoch) for m in measurements)
    if has_epochs and _width(table) > Console(file=file or sys.stdout).width:
        table = measurement_table(measurements, pair_set, metrics, is_narrow=True)
    print_whole(table, notes, file)


def plain_table(first: str, *others: str) -> Table:
    """An empty table as all of ours look: no lines, the first column to the left, the other headers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    return table


def print_whole(
    table: Table, notes: Sequence[str] = (), file: IO[str] | None = None, *, title: str | None = None
) -> None:
    """Prints a table and a line for each note below it. Nothing is cut off or wrapped.

    Where the terminal is narrower than the table (80 columns where there is no terminal, or what COLUMNS says), the
    columns that have no room come below, behind the first one again.

    Args:
        table: Its first column says what a row is of.
        notes: Lines of text.
        file: Standard output where None.
        title: A line above it, with an empty one before.
    """
    console = Console(file=file or sys.stdout, highlight=False, markup=False)
    encoding = getattr(console.file, "encoding", None)  # substitutes may be longer than what they stand for
    written = _with_columns(table, range(len(table.columns)), change=lambda text: writable(text, encoding))
    parts = fitting(written, console.width)
    console.width = max(console.width, *(_width(part) for part in parts))  # a first column may be wider than all
    if title is not None:
        console.print(f"\n{title}")
    for index, part in enumerate(parts):
        if index:
            console.print()
        console.print(part)
    for line in notes:
        console.print(line, markup=False, soft_wrap=True)


def fits(table: Table) -> bool:
    """Whether a table has room on standard output."""
    return _width(table) <= Console().width


def fitting(table: Table, width: int) -> list[Table]:
    """The table; where it is too wide, closer together; else several, each with the first column and some others."""
    if _width(table) <= width:
        return [table]
    table = _with_columns(table, range(len(table.columns)), padding=_CLOSE)
    if _width(table) <= width:
        return [table]
    parts, chosen = [], [0]
    for index in range(1, len(table.columns)):
        if len(chosen) > 1 and _width(_with_columns(table, [*chosen, index])) > width:
            parts.append(_with_columns(table, chosen))
            chosen = [0]
        chosen.append(index)
    return [*parts, _with_columns(table, chosen)]


def _with_columns(
    table: Table,
    chosen: Iterable[int],
    *,
    padding: PaddingDimensions | None = None,
    change: Callable[[str], str] = str,
) -> Table:
    """The table with some of its columns, and each text changed."""
    part = Table(box=table.box, pad_edge=table.pad_edge, padding=padding or table.padding)
    columns = [table.columns[index] for index in chosen]
    for one in columns:
        part.add_column(change(str(one.header)), justify=one.justify, no_wrap=one.no_wrap, vertical=one.vertical)
    for row in zip(*(one.cells for one in columns), strict=True):
        part.add_row(*(change(str(cell)) for cell in row))
    return part


def _width(table: Table) -> int:
    """What a table needs."""
    console = Console(width=10_000, markup=False)
    return Extent.get(console, console.options, table).maximum


def print_blocks(
    measurements: Sequence[Measurement],
    pair_set: str | None = None,
    metrics: Sequence[str] = METRICS,
    file: IO[str] | None = None,
) -> None:
    """Prints a row a measurement of classes of one group against classes of different groups; nothing without groups.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`; None chooses one that was measured.
        metrics: Which of `sign` and `cosine`.
        file: Standard output where None.
    """
    pair_set = pair_set or main_pair_set(measurements)
    grouped = [m for m in measurements if has_blocks(m, pair_set, metrics)]
    if not grouped:
        return
    kinds = ("same\ngroup", "different\ngroups", "contrast", "p")
    table = plain_table("epoch", "step", *(f"{metric}\n{kind}" for metric in metrics for kind in kinds))
    for m in grouped:
        cells = [f"{m.epoch:.3g}" if math.isfinite(m.epoch) else ABSENT, str(m.step) if m.step >= 0 else ABSENT]
        for metric in metrics:
            blocks = getattr(m[pair_set], metric).blocks
            for kind in ("same_group", "different_group", "contrast"):
                cells.append(with_half_width(reading_of_blocks(blocks, kind)))
            cells.append(plain_number(blocks.p_value))
        table.add_row(*cells)
    last = grouped[-1]
    test = getattr(last[pair_set], metrics[0]).blocks
    which = "all" if test.is_exact else "drawn"
    note = f"p: share of the {test.num_groupings:,} groupings of this shape ({which}) with at least that contrast"
    notes = [note] if test.num_groupings else []
    names = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in last.groups.items())
    print_whole(table, [*notes, names], file, title=f"Blocks of classes, {pair_set}")


def has_blocks(measurement: Measurement, pair_set: str, metrics: Sequence[str] = METRICS) -> bool:
    """Whether groups of classes were compared."""
    found = measurement.pair_sets.get(pair_set)
    return bool(measurement.groups) and all(
        getattr(getattr(found, metric, None), "blocks", None) is not None for metric in metrics
    )


def event_notes(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each event that the run waited for: a training loss reached, a drop of stiffness."""
    return [text for event in events if event.get("event") != "turn_confirmed" and (text := describe_event(event))]


def gradient_notes(measurements: Sequence[Measurement], pair_set: str) -> list[str]:
    """A line for each measurement with gradients that are zero or not finite, or signs too close to call."""
    lines = []
    for measurement in measurements:
        halves = (measurement.train, measurement.validation)
        stiffness = measurement.pair_sets.get(pair_set)
        counts = {
            "zero gradients": sum(half.num_zero_gradients for half in halves),
            "gradients that are not finite, left out": sum(half.num_nonfinite for half in halves),
            "pairs whose sign is too close to call": _worth_telling(stiffness),
        }
        found = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        if found:
            lines.append(f"step {measurement.step}: {found}")
    return lines


def _worth_telling(stiffness: PairSetStiffness | None) -> int:
    """The pairs of uncertain sign, where they are more than one in a hundred."""
    if stiffness is None or stiffness.pair_counts is None:
        return 0
    count = stiffness.num_uncertain_signs
    return count if 100 * count > stiffness.pair_counts.sum() else 0
