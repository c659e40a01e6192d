"""The statistics of the probe's halves at one measurement, as `show` prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tfstiff.records import Measurement
from tfstiff.records.words import ABSENT, HALF_NAMES
from tfstiff.stiffness.statistics import STATISTICS, Statistic

from .tables import plain_table, print_whole

_HALVES = {f"{half}_{half}": words for half, words in HALF_NAMES.items()}  # by the pair set within them


def print_statistics(measurement: Measurement) -> None:
    """Prints a line a statistic, a column a half; nothing where none were recorded."""
    halves = [name for name in _HALVES if name in measurement.pair_sets and measurement[name].statistics]
    if not halves:
        return
    table = plain_table("", *(_HALVES[name] for name in halves))
    table.add_column("", no_wrap=True)  # units
    for statistic in STATISTICS:
        cells = (_cell(statistic, measurement[name].statistics) for name in halves)
        table.add_row(statistic.name.replace("_", " "), *cells, "" if statistic.unit == "1" else statistic.unit)
    print_whole(table, title=f"Statistics of the probe's halves at step {measurement.step}:")


def _cell(statistic: Statistic, found: Mapping[str, float]) -> str:
    value, *beside = (found.get(name, math.nan) for name, _ in statistic.columns())
    if math.isnan(value):  # as without classes
        return ABSENT
    if statistic.beside == ("se",):
        return f"{value:.4g} (se {beside[0]:.2g})"
    if statistic.beside:
        return f"{value:.4g} ({beside[0]:.3g} to {beside[1]:.3g})"
    return f"{value:.4g}"


def statistics_row(measurement: Measurement) -> dict[str, float]:
    """Every number of them under its name and pair set, for JSON."""
    return {
        f"{name}_{pair_set}": value
        for pair_set, found in measurement.pair_sets.items()
        for name, value in found.statistics.items()
    }
