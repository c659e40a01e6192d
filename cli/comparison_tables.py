"""A comparison of runs as tables: for each quantity a row for each group of runs, a column for each milestone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import click

from tfstiff.analysis.comparison import LEAST_SEEDS, Comparison, Milestone
from tfstiff.analysis.comparison.words import difference_in_words, summary_in_words, trend_in_words
from tfstiff.records.words import quantity_in_words, settings_in_words

from .tables import fits, plain_table, print_whole


def print_comparison(found: Comparison) -> None:
    """Prints a table for each quantity and way to compare, and what the numbers are."""
    tests = 0
    for quantity in found.quantities:
        for by in ("epoch", "train_loss"):
            milestones = [milestone for milestone in found.milestones if milestone.by == by]
            if milestones:
                tests += _print_table(found, quantity, milestones)
    for line in _notes(found, tests):
        click.echo(line)


def _print_table(found: Comparison, quantity: str, milestones: Sequence[Milestone]) -> int:
    """Prints one, and returns how many trends were tested in it."""
    title = quantity_in_words(quantity)
    table = plain_table(title, "seeds", *(milestone.label for milestone in milestones))
    for index, group in enumerate(found.groups):
        cells = [summary_in_words(found.summary(quantity, milestone, index), minus="-") for milestone in milestones]
        table.add_row(group.label, str(len(group.runs)), *cells)
    differences = [one for milestone in milestones if (one := found.difference(quantity, milestone)) is not None]
    if any(one.status == "ok" for *_, one in differences):
        table.add_row("difference", "", *(difference_in_words(one, minus="-") for *_, one in differences))
    tests = 0
    for rows in zip(*(found.trends(quantity, milestone) for milestone in milestones), strict=True):
        label = settings_in_words(rows[0][0].items())
        seeds = max(one.num_seeds + one.num_incomplete for _, one in rows)
        cells = [trend_in_words(one, minus="-") for _, one in rows]
        table.add_row(f"trend{', ' if label else ''}{label}", str(seeds), *cells)
        tests += sum(math.isfinite(one.p_value) for _, one in rows)
    if not fits(table):  # the first column has room for the groups alone
        click.echo(title)
        table.columns[0].header = ""
    print_whole(table)
    click.echo()
    return tests


def _notes(found: Comparison, tests: int) -> list[str]:
    summaries = [found.summary(*key) for key in found.observations]
    lines = [
        "Mean over seeds [its 95 % interval, by Student's t] ± half of the 95 % interval over the draw of the probe's "
        "examples (median of the seeds)."
    ]
    if max(len(group.runs) for group in found.groups) == 1:
        lines.append("One seed each: nothing here says what another seed would give.")
    censored = [one for one in summaries if one.num_censored]
    if censored:
        lines.append(
            "censored: ξ lies beyond the distances observed there, and enters as a bound; --extrapolate-xi takes the "
            "zero of the straight line instead. Such cells have the median [from one order statistic to another]."
        )
        coverage = sorted({(one.num_seeds, one.coverage) for one in censored if one.num_seeds > 1})
        listed = ", ".join(f"{100 * share:.3g} % of {seeds} seeds" for seeds, share in coverage)
        lines += [f"These intervals cover the median with a probability of {listed}."] * bool(listed)
    if any(one.num_missing for one in summaries):
        lines.append("n: fewer seeds, since a run was not measured there, did not come down to the loss, or has no ξ.")
    if any(row["status"] == "ok" for row in found.difference_rows()):
        ends = found.difference_rows()[0]
        lines.append(f"difference: {ends['second']} less {ends['first']} [its 95 % interval over seeds, by Welch's t].")
    if found.trend_rows():
        lines.append(
            "trend: Kendall's τ with the learning rate, mean over seeds; p two-sided, Page's test with the seeds as "
            + f"blocks, from {LEAST_SEEDS} seeds on"
            + (f"; not corrected for there being {tests} tests." if tests > 1 else ".")
        )
    lines += [f"{run.folder} is left out: another run has its settings and seed." for run in found.repeated]
    return lines
