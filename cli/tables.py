"""The table of a run's measurements, as `tfstiff show` prints it and `tfstiff run` ends with it."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.measure import Measurement as Extent
from rich.table import Table

from tfstiff.records import METRICS, Measurement, PairSetStiffness

# Status of a critical length -> its mark in the table, and what the mark means.
_MARKS = {
    "extrapolated": (">", "ξ lies beyond the largest distance observed"),
    "beyond": (">>", "ξ lies beyond 2, the largest distance there is"),
    "all_nonpositive": ("<", "ξ lies below the smallest distance observed"),
    "no_decay": ("=", "no ξ: stiffness does not fall with distance"),
    "too_few_pairs": ("?", "no ξ: too few pairs"),
}
_ABSENT = "–"


def measurement_table(measurements: Sequence[Measurement], pair_set: str = "train_val") -> Table:
    """A row a measurement: when, losses, accuracy, stiffness of one pair set, ξ with a mark for its status.

    Targets without classes have mean stiffness in place of within and between, and no accuracy.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`.
    """
    has_classes = not any(s.sign is None for m in measurements for s in m.pair_sets.values())
    kinds = [(metric, kind) for metric in METRICS for kind in (("within", "between") if has_classes else ("mean",))]
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    headers = ["epoch", "step", "train\nloss", "val\nloss", *["val\nacc."] * has_classes]
    for header in [*headers, *(f"{metric}\n{kind}" for metric, kind in kinds), "ξ"]:
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("", no_wrap=True)
    for m in measurements:
        stiffness = m.pair_sets.get(pair_set)
        cells = [f"{m.epoch:.3g}" if math.isfinite(m.epoch) else _ABSENT, str(m.step) if m.step >= 0 else _ABSENT]
        cells += [_number(m.train.loss, 4), _number(m.validation.loss, 4)]
        if has_classes:
            cells.append(_number(m.validation.accuracy))
        cells += [_number(_scalar(stiffness, metric, kind)) for metric, kind in kinds]
        length = stiffness.critical_length if stiffness else None
        cells += [_number(length.value if length else math.nan), _mark(length.status) if length else ""]
        table.add_row(*cells)
    return table


def status_legend(measurements: Sequence[Measurement], pair_set: str = "train_val") -> list[str]:
    """A line for each mark that the table of these measurements has."""
    occurring = {m[pair_set].critical_length.status for m in measurements if pair_set in m.pair_sets}
    return [f"{mark:<2} {meaning}" for status, (mark, meaning) in _MARKS.items() if status in occurring]


def print_measurements(
    measurements: Sequence[Measurement], pair_set: str = "train_val", file: IO[str] | None = None
) -> None:
    """Prints the table and its legend, never truncated. Without colours or bold where `file` is no terminal.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`.
        file: Standard output where None.
    """
    console = Console(file=file or sys.stdout, highlight=False)
    table = measurement_table(measurements, pair_set)
    widest = Extent.get(console, console.options.update(max_width=10_000), table).maximum
    console.width = max(widest, console.width)
    console.print(table)
    for line in (*status_legend(measurements, pair_set), *gradient_notes(measurements, pair_set)):
        console.print(line, markup=False, soft_wrap=True)


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


def _scalar(stiffness: PairSetStiffness | None, metric: str, kind: str) -> float:
    if stiffness is None:
        return math.nan
    if kind == "mean":
        return getattr(stiffness, f"mean_{metric}")
    return getattr(getattr(stiffness, metric), kind)


def _mark(status: str) -> str:
    return "" if status == "ok" else _MARKS.get(status, (status, ""))[0]


def _number(value: float, digits: int = 3) -> str:
    if math.isnan(value):
        return _ABSENT
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.3g}"
