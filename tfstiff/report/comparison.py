"""Several runs side by side, in sentences: what `tfstiff.analysis.comparison` found, and no more."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from tfstiff.analysis.comparison import Comparison, Milestone, measurement_at_epoch
from tfstiff.analysis.comparison.groups import extremes
from tfstiff.analysis.comparison.words import summary_in_words, trend_in_words
from tfstiff.analysis.source import Source
from tfstiff.records.words import has_interval, quantity_in_words, with_interval
from tfstiff.report.findings import contrast_of, difference_sentence

_FEWEST_SEEDS, _SAFE_SEEDS = 2, 3
_SIGNIFICANT = 0.05


def comparison_findings(
    sources: Sequence[Source], found: Comparison | None, pair_set: str
) -> list[tuple[str, list[str]]]:
    """Headings, each with its sentences.

    Args:
        sources: The runs with at least one measurement.
        found: They, compared; None where there is only one.
        pair_set: That sentences are of.
    """
    if found is None:
        return [("Comparison", ["Only one of the runs has a measurement, so nothing can be compared."])]
    if not found.milestones:
        reason = "The runs share no epoch at which all were measured, and no training loss: nothing can be compared."
        return [("Comparison", [reason])]
    reason = _why_not(found)
    sections = [("Over seeds", [reason])] if reason else []
    if not reason:
        sections = [(f"At {one.label}", list(_at(found, one))) for one in told_milestones(found)]
    left_out = [f"{run.folder.name} is left out: another run has its settings and seed." for run in found.repeated]
    sections += [("Left out", left_out)] if left_out else []
    same_probe = list(_same_probe(sources, found, pair_set))
    return [*sections, ("On the same probe", same_probe)] if same_probe else sections


def told_milestones(found: Comparison) -> list[Milestone]:
    """Those that have sentences: of the epochs the last one alone, and all training losses."""
    epochs = [one for one in found.milestones if one.by == "epoch"]
    return [*epochs[-1:], *(one for one in found.milestones if one.by != "epoch")]


def _why_not(found: Comparison) -> str:
    """Why no groups are set against one another; empty where some are."""
    ends = extremes(found.groups)
    if len(found.groups) < 2:
        return "The runs have the same settings but for their seed: there are no groups to compare."
    if ends is None:
        return "The runs differ in more than their learning rate: the tables show them, and nothing is tested."
    groups = [found.groups[end] for end in ends]
    if min(len(group.runs) for group in groups) < _FEWEST_SEEDS:
        numbers = " and ".join(f"{group.label} ({_runs(len(group.runs))})" for group in groups)
        return f"Whether {numbers} differ cannot be told without two seeds of each; the tables have the values."
    return ""


def _at(found: Comparison, milestone: Milestone) -> Iterator[str]:
    for quantity in found.quantities:
        compared = found.difference(quantity, milestone)
        if compared is None:
            continue
        *ends, change = compared
        title = quantity_in_words(quantity, with_pairs=False)
        sides = ", ".join(
            f"{summary_in_words(found.summary(quantity, milestone, end))} for {found.groups[end].label}" for end in ends
        )
        text = f"{title[0].upper()}{title[1:]}: {sides}."
        numbers = with_interval(change.value, change.low, change.high)
        if change.status == "censored":
            text += " Some of these are known by a bound only: they are not compared."
        elif change.status != "ok":
            text += " There are too few values in one of the groups; nothing can be told."
        elif not has_interval(change.low, change.high):
            text += " Nothing varies over the seeds, so that there is no interval."
        elif change.low <= 0 <= change.high:
            text += f" Whether they differ cannot be told: the difference over seeds is {numbers}."
        else:
            side = "higher" if change.low > 0 else "lower"
            text += f" The second is {side}: the difference over seeds is {numbers}."
            text += " Three to five seeds of each would be safer." * (change.num_seeds < _SAFE_SEEDS)
        yield text + "".join(_trend(found, quantity, milestone))


def _trend(found: Comparison, quantity: str, milestone: Milestone) -> Iterator[str]:
    for _, trend in found.trends(quantity, milestone):
        if math.isnan(trend.p_value):
            continue
        way = "It rises" if trend.tau > 0 else "It falls"
        told = f"{way} with the learning rate"
        if trend.p_value >= _SIGNIFICANT:
            told = "Whether it rises or falls with the learning rate cannot be told"
        yield f" {told} ({trend_in_words(trend)}, Page's test over {trend.num_values} rates)."


def _same_probe(sources: Sequence[Source], found: Comparison, pair_set: str) -> Iterator[str]:
    """Of two runs with the same probe: how they differ at the last epoch that both measured, by the probe's errors."""
    probes = [source.meta.get("probe") for source in sources]
    hashes = [probe.get("sha256") if isinstance(probe, Mapping) else None for probe in probes]
    epochs = [one.at for one in found.milestones if one.by == "epoch"]
    if len(sources) != 2 or hashes[0] is None or hashes[0] != hashes[1] or not epochs:
        return
    measured = [measurement_at_epoch(source, epochs[-1]) for source in sources]
    if measured[0] is None or measured[1] is None or not all(source.has_classes for source in sources):
        return
    yield (
        "Both runs were measured on the same examples. What follows are differences of these two trainings; another "
        "seed may move them as much."
    )
    for metric in ("cosine", "sign"):
        for kind in ("within", "between"):
            contrast = contrast_of(measured[0], measured[1], kind, metric, pair_set)
            where = f"At epoch {epochs[-1]:.3g}, from {sources[0].name} to {sources[1].name}"
            yield difference_sentence(f"{where}, the {metric} {kind} classes", contrast, ("is higher", "is lower"))


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
