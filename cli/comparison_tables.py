"""A comparison of runs as tables: for each quantity a row for each group of runs, a column for each place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import click

from tfstiff.analysis.comparison import LEAST_SEEDS, Comparison, OverSeeds, Place, Trend
from tfstiff.records.words import ABSENT, number, settings_in_words

from .tables import plain_table, print_whole

_number = partial(number, minus="-")


def print_comparison(found: Comparison) -> None:
    """Prints a table for each quantity and way to compare, and what the numbers are."""
    tests = 0
    for quantity in found.quantities:
        for by in ("epoch", "train_loss"):
            places = [place for place in found.places if place.by == by]
            if places:
                tests += _print_table(found, quantity, places)
    for line in _notes(found, tests):
        click.echo(line)


def _print_table(found: Comparison, quantity: str, places: Sequence[Place]) -> int:
    """Prints one, and returns how many trends were tested in it."""
    table = plain_table(_title(quantity), "seeds", *(place.label for place in places))
    for index, group in enumerate(found.groups):
        cells = [_cell(found.summary(quantity, place, index), len(group.runs)) for place in places]
        table.add_row(group.label, str(len(group.runs)), *cells)
    tests = 0
    for rows in zip(*(found.trends(quantity, place) for place in places), strict=True):
        settings = rows[0][0]
        label = settings_in_words(settings.items())
        seeds = max(one.num_seeds + one.num_incomplete for _, one in rows)
        cells = [_trend_cell(one, seeds) for _, one in rows]
        table.add_row(f"trend{', ' if label else ''}{label}", str(seeds), *cells)
        tests += sum(math.isfinite(one.p_value) for _, one in rows)
    print_whole(table)
    click.echo()
    return tests


def _title(quantity: str) -> str:
    return quantity.removeprefix("stiffness_").replace("_", " ").replace("critical length", "critical length ξ")


def _cell(found: OverSeeds, seeds: int) -> str:
    """`0.512 [0.498, 0.530] ±.012`, and how many seeds that is of where it is not of all."""
    if found.num_seeds == 0:
        return ABSENT
    text = _between(found.median_low, found.median_high)
    if found.num_seeds > 1:
        text += f" [{_number(found.low)}, {_number(found.high)}]"
    if math.isfinite(found.probe_se):
        text += f" ±{found.probe_se:.3f}".replace("±0.", "±.")
    marks = [f"n {found.num_seeds}"] if found.num_seeds < seeds else []
    marks += [f"{found.num_censored} censored"] if found.num_censored else []
    return f"{text} ({', '.join(marks)})" if marks else text


def _between(low: float, high: float) -> str:
    if low == high:
        return _number(low)
    if math.isinf(high):
        return ABSENT if math.isinf(low) else f">{_number(low)}"
    return f"<{_number(high)}" if math.isinf(low) else f"{_number(low)}…{_number(high)}"


def _trend_cell(found: Trend, seeds: int) -> str:
    if not found.num_seeds:
        return ABSENT
    p_value = f"{found.p_value:.2g}" if math.isfinite(found.p_value) else ABSENT
    return f"τ {found.tau:+.2f}, p {p_value}" + (f" (n {found.num_seeds})" if found.num_seeds < seeds else "")


def _notes(found: Comparison, tests: int) -> list[str]:
    sizes = {len(group.runs) for group in found.groups}
    summaries = [found.summary(*key) for key in found.observations]
    coverage = sorted({(one.num_seeds, one.coverage) for one in summaries if one.num_seeds > 1})
    lines = [
        "Median over seeds [interval of the median] ± standard error of drawing the probe's examples (their median)."
    ]
    if coverage:
        listed = ", ".join(f"{100 * share:.3g} % of {number} seeds" for number, share in coverage)
        lines.append(
            f"The interval, from one order statistic to another, covers the median with a probability of {listed}."
        )
    if max(sizes) == 1:
        lines.append("One seed each: nothing here says what another seed would give.")
    if any(one.num_censored for one in summaries):
        lines.append(
            "censored: ξ lies beyond the distances observed there, and enters as a bound; --extrapolate-xi takes the "
            "zero of the straight line instead."
        )
    if any(one.num_missing for one in summaries):
        lines.append("n: fewer seeds, since a run was not measured there, did not come down to the loss, or has no ξ.")
    if found.trends(found.quantities[0], found.places[0]) if found.quantities and found.places else False:
        lines.append(
            "trend: Kendall's τ with the learning rate, mean over seeds; p two-sided, Page's test with the seeds as "
            + f"blocks, from {LEAST_SEEDS} seeds on"
            + (f"; not corrected for there being {tests} tests." if tests > 1 else ".")
        )
    lines += [f"{run.folder} is left out: another run has its settings and seed." for run in found.repeated]
    return lines
