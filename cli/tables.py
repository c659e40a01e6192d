"""Tables on the terminal: of a run's measurements, as `show` prints it and `run` ends with it, and of anything else."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import IO, Any

from rich.console import Console
from rich.measure import Measurement as Extent
from rich.table import Table

from tfstiff.analysis.readings import Reading, reading_of_blocks, reading_of_pairs
from tfstiff.records import METRICS, Measurement, PairSetStiffness
from tfstiff.records.words import ABSENT, LENGTH_STATUSES, default_pair_set, number, status_of_length
from tfstiff.runs.progress import describe_event

_number = partial(number, minus="-")  # as other programs read it


def measurement_table(
    measurements: Sequence[Measurement], pair_set: str = "train_val", metrics: Sequence[str] = METRICS
) -> Table:
    """A row a measurement: when, losses, accuracy, stiffness of one pair set, ξ with a mark for its status.

    Behind ± is half the width of the 95 % interval over the draw of the probe's examples.

    Targets without classes have mean stiffness in place of within and between, and no accuracy.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`.
        metrics: Which of `sign` and `cosine`.
    """
    has_classes = not any(s.sign is None for m in measurements for s in m.pair_sets.values())
    kinds = [(metric, kind) for metric in metrics for kind in (("within", "between") if has_classes else ("mean",))]
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    headers = ["epoch", "step", "train\nloss", "val\nloss", *["val\nacc."] * has_classes]
    for header in [*headers, *(f"{metric}\n{kind}" for metric, kind in kinds), "ξ"]:
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("", no_wrap=True)
    for m in measurements:
        stiffness = m.pair_sets.get(pair_set)
        cells = [f"{m.epoch:.3g}" if math.isfinite(m.epoch) else ABSENT, str(m.step) if m.step >= 0 else ABSENT]
        cells += [_number(m.train.loss, 4), _number(m.validation.loss, 4)]
        if has_classes:
            cells.append(_number(m.validation.accuracy))
        cells += [with_half_width(reading_of_pairs(stiffness, f"{metric}_{kind}")) for metric, kind in kinds]
        length = stiffness.critical_length if stiffness else None
        cells += [_number(length.value if length else math.nan), status_of_length(length.status).mark if length else ""]
        table.add_row(*cells)
    return table


def status_legend(measurements: Sequence[Measurement], pair_set: str = "train_val") -> list[str]:
    """A line for each mark that the table of these measurements has."""
    occurring = {m[pair_set].critical_length.status for m in measurements if pair_set in m.pair_sets}
    return [f"{one.mark:<2} {one.words}" for status, one in LENGTH_STATUSES.items() if status in occurring and one.mark]


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
    pair_set = pair_set or default_pair_set(measurements[0].pair_sets if measurements else ())
    notes = (*status_legend(measurements, pair_set), *gradient_notes(measurements, pair_set))
    print_whole(measurement_table(measurements, pair_set, metrics), notes, file)


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
    """Prints a table, never truncated, and a line for each note below it.

    Args:
        table: May be wider than the terminal.
        notes: Lines of text.
        file: Standard output where None.
        title: A line above it, with an empty one before.
    """
    console = Console(file=file or sys.stdout, highlight=False)
    widest = Extent.get(console, console.options.update(max_width=10_000), table).maximum
    console.width = max(widest, console.width)
    if title is not None:
        console.print(f"\n{title}", markup=False)
    console.print(table)
    for line in notes:
        console.print(line, markup=False, soft_wrap=True)


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
    pair_set = pair_set or default_pair_set(measurements[0].pair_sets if measurements else ())
    grouped = [m for m in measurements if m.groups and pair_set in m.pair_sets]
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
            cells.append(_number(blocks.p_value))
        table.add_row(*cells)
    last = grouped[-1]
    test = getattr(last[pair_set], metrics[0]).blocks
    which = "all" if test.is_exact else "drawn"
    note = f"p: share of the {test.num_groupings:,} groupings of this shape ({which}) with at least that contrast"
    notes = [note] if test.num_groupings else []
    names = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in last.groups.items())
    print_whole(table, [*notes, names], file, title=f"Blocks of classes, {pair_set}")


def event_notes(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each event that the run waited for: a training loss reached, a drop of stiffness."""
    return [text for event in events if event.get("event") != "onset_confirmed" and (text := describe_event(event))]


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


def with_half_width(found: Reading | None) -> str:
    """`0.741±.024`: a mean and half the width of its 95 % interval; the mean alone where that is not known."""
    if found is None:
        return ABSENT
    if math.isnan(found.value) or math.isnan(found.half_width):
        return _number(found.value)
    return f"{_number(found.value)}±{_number(found.half_width).removeprefix('0')}"
