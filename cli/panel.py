"""The latest measurement in a small panel, each number with a sparkline of how it got there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement as Extent
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tfstiff.analysis.measured_rows import with_half_width
from tfstiff.analysis.readings import reading_of_pairs
from tfstiff.records import METRICS, CriticalLength, Measurement
from tfstiff.records.words import default_pair_set, number, readings_of_length, shown_length

_BLOCKS, _ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_SHORTEST, _LONGEST = 8, 40  # characters


class Sparkline:
    """Values as a row of bars, scaled to their own range, as wide as there is room for.

    Args:
        values: In order of time; what is not finite leaves a gap. Where there is no room for all, neighbours are
            averaged.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._values = np.asarray(values, np.float64)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Extent:
        """At least 8 characters, at most 40, and none without a value."""
        return Extent(min(_SHORTEST, len(self._values)), min(_LONGEST, len(self._values)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line."""
        blocks = _ASCII_BLOCKS if options.ascii_only else _BLOCKS
        yield Text(self.bars(min(options.max_width, _LONGEST), blocks), style="cyan", no_wrap=True)

    def bars(self, width: int, blocks: str = _BLOCKS) -> str:
        """At most `width` characters out of `blocks`, which rise."""
        values = np.where(np.isfinite(self._values), self._values, np.nan)
        parts = np.array_split(values, min(width, len(values)) or 1)
        means = [float(np.nanmean(part)) if np.isfinite(part).any() else math.nan for part in parts if len(part)]
        known = [mean for mean in means if not math.isnan(mean)]
        low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
        top = len(blocks) - 1
        heights = [top / 2 if span == 0 else (mean - low) / span * top for mean in means]
        return "".join(" " if math.isnan(height) else blocks[round(height)] for height in heights)


def measurement_panel(measurements: Sequence[Measurement], note: str = "", metrics: Sequence[str] = METRICS) -> Panel:
    """Losses, stiffness within and between classes with 95 % intervals, and ξ with its status, of one pair set.

    Args:
        measurements: In order of time; may be empty.
        note: Below, in the frame.
        metrics: Which of `sign` and `cosine`.
    """
    if not measurements:
        return Panel("No measurement yet.", subtitle=_plain(note), subtitle_align="left", expand=False)
    latest = measurements[-1]
    pair_set = default_pair_set(latest.pair_sets)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right", style="bold")
    table.add_column()  # sparklines, which alone become shorter on a narrow terminal
    table.add_column(no_wrap=True)
    losses = {"training loss": [m.train.loss for m in measurements]}
    losses["validation loss"] = [m.validation.loss for m in measurements]
    for name, values in losses.items():
        table.add_row(name, f"{values[-1]:.4f}", Sparkline(values), "")
    has_classes = latest[pair_set].sign is not None
    for metric in metrics:
        for kind in ("within", "between") if has_classes else ("mean",):
            found = [reading_of_pairs(m.pair_sets.get(pair_set), f"{metric}_{kind}") for m in measurements]
            values = [math.nan if one is None else one.value for one in found]
            table.add_row(f"{metric} {kind}", with_half_width(found[-1]), Sparkline(values), "")
    length = latest[pair_set].critical_length
    lengths = [m[pair_set].critical_length.value for m in measurements if pair_set in m.pair_sets]
    shown = number(shown_length(length))
    table.add_row("critical length ξ", shown, Sparkline(lengths), _interval_or_status(length))
    epoch = f"epoch {latest.epoch:.3g}, " if math.isfinite(latest.epoch) else ""
    title = Text(f"{epoch}step {latest.step}, pairs {pair_set}")
    return Panel(table, title=title, subtitle=_plain(note), title_align="left", subtitle_align="left", expand=False)


def _interval_or_status(length: CriticalLength) -> str:
    """The 95 % interval of ξ inside the distances observed and of pairs on a line; else what is to be said of it."""
    readings = readings_of_length(length)
    if length.status != "ok" or len(readings) > 1:
        return "; ".join(reading.words for reading in readings)
    return f"{length.low:.3g} to {length.high:.3g}" if length.interval == "bounded" else "ok"


def _plain(note: str) -> Text | None:
    return Text(note) if note else None
