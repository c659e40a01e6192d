"""What a comparison of runs found, in sentences.

A difference between groups of runs is stated only where the 95 % interval of Welch's t over their seeds excludes 0: the
error of the probe says nothing on another training.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfstiff.analysis.source import Source
from tfstiff.records.words import has_interval, number, with_interval
from tfstiff.report.comparison import Point, Value, at_epoch, common_epoch, group_names, group_rows
from tfstiff.report.findings import contrast_of, difference
from tfstiff.stiffness.intervals import LEVEL

_FEWEST_SEEDS, _SAFE_SEEDS = 2, 3


def comparison_findings(
    sources: Sequence[Source], points: Sequence[Point], names: Mapping[str, str], pair_set: str
) -> list[tuple[str, list[str]]]:
    """Headings, each with its sentences, on runs with at least one measurement each.

    Args:
        sources: The runs.
        points: Where they are compared.
        names: The quantities compared, and what they are called.
        pair_set: That they are of.
    """
    if len(sources) < 2:
        return [("Comparison", ["Only one of the runs has a measurement, so nothing can be compared."])]
    if not points:
        reason = "The runs share no epoch at which all were measured, and no training loss: nothing can be compared."
        return [("Comparison", [reason])]
    ends, reason = _groups_to_compare(sources)
    if reason:
        found = [("Over seeds", [reason])]
    else:
        found = [(point.title, _at_point(sources, point, names, ends)) for point in points]
    same_probe = _same_probe(sources, pair_set)
    return [*found, ("On the same probe", same_probe)] if same_probe else found


def difference_of_means(first: np.ndarray, second: np.ndarray) -> Value:
    """The difference of two means, second less first, with its 95 % interval by Welch's t.

    Args:
        first: (n,) at least two values.
        second: (m,) at least two values.
    """
    from scipy.stats import ttest_ind  # not above: it takes a second, and one run does without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are all alike
        limits = ttest_ind(second, first, equal_var=False).confidence_interval(LEVEL)
    return Value(float(second.mean() - first.mean()), float(limits.low), float(limits.high))


def _groups_to_compare(sources: Sequence[Source]) -> tuple[list[str], str]:
    """The groups of the smallest and the largest learning rate, or the only two; else why there are none."""
    groups = group_names(sources)
    ends = list(dict.fromkeys(groups))
    if len(ends) < 2:
        return [], "The runs have the same settings but for their seed: there are no groups to compare."
    rates: list[Any] = [source.spec.get("learning_rate") for source in sources]
    if all(isinstance(rate, int | float) for rate in rates) and len(set(rates)) == len(ends):
        by_rate = sorted(zip(rates, groups, strict=True))
        return [by_rate[0][1], by_rate[-1][1]], ""
    if len(ends) > 2:
        return [], "The runs differ in more than their learning rate: the tables show them, and nothing is tested."
    return ends, ""


def _at_point(sources: Sequence[Source], point: Point, names: Mapping[str, str], ends: list[str]) -> list[str]:
    groups = group_names(sources)
    sizes = [groups.count(name) for name in ends]
    if min(sizes) < _FEWEST_SEEDS:
        numbers = " and ".join(f"{name} ({_runs(size)})" for name, size in zip(ends, sizes, strict=True))
        return [f"Whether {numbers} differ cannot be told without two seeds of each; the table below has the values."]
    sentences = []
    for name, title in names.items():
        rows = {group: (found, mean) for group, found, mean in group_rows(groups, point.values[name])}
        noted = any(value.note for group, value in zip(groups, point.values[name], strict=True) if group in ends)
        sentences.append(_compared(title, ends, [rows[end] for end in ends], noted))
    return sentences


def _compared(title: str, ends: list[str], rows: Sequence[tuple[np.ndarray, Value]], noted: bool) -> str:
    (first, _), (second, _) = rows
    if min(len(first), len(second)) < _FEWEST_SEEDS:
        return f"{_capital(title)} has too few values in one of the groups; nothing can be told."
    counts = ", ".join(
        f"{number(mean.value)} for {name} ({_runs(len(found))})" for name, (found, mean) in zip(ends, rows, strict=True)
    )
    intro = f"{_capital(title)}: {counts}."
    if noted:
        return f"{intro} Some of these lie outside the distances observed, or have no value: they are not compared."
    change = difference_of_means(first, second)
    if not has_interval(change.low, change.high):
        return f"{intro} Nothing varies over the seeds, so that there is no interval."
    numbers = with_interval(change.value, change.low, change.high)
    if change.low <= 0 <= change.high:
        return f"{intro} Whether they differ cannot be told: the difference over seeds is {numbers}."
    few = " Three to five seeds of each would be safer." if min(len(first), len(second)) < _SAFE_SEEDS else ""
    side = "higher" if change.low > 0 else "lower"
    return f"{intro} The second is {side}: the difference over seeds is {numbers}.{few}"


def _same_probe(sources: Sequence[Source], pair_set: str) -> list[str]:
    """Of two runs with the same probe: how they differ at the last epoch that both measured, by the probe's errors."""
    probes = [source.meta.get("probe") for source in sources]
    hashes = [probe.get("sha256") if isinstance(probe, Mapping) else None for probe in probes]
    epoch = common_epoch(sources)
    if len(sources) != 2 or hashes[0] is None or hashes[0] != hashes[1] or epoch is None:
        return []
    if not all(source.has_classes for source in sources):
        return []
    first, second = (at_epoch(source, epoch) for source in sources)
    sentences = []
    for metric in ("cosine", "sign"):
        for kind in ("within", "between"):
            contrast = contrast_of(first, second, kind, metric, pair_set)
            subject = f"At epoch {epoch:.3g}, from {sources[0].name} to {sources[1].name}, the {metric} {kind} classes"
            sentences.append(difference(subject, contrast, ("is higher", "is lower")))
    caution = (
        "Both runs were measured on the same examples. What follows are differences of these two trainings; another "
        "seed may move them as much."
    )
    return [caution, *sentences]


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
