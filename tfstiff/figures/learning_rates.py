"""Runs by learning rate: what the figures that compare several runs share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from tfstiff.analysis.loss_level import at_loss_level, checked_levels
from tfstiff.errors import InvalidInput
from tfstiff.figures.style import NothingToDraw, ordered_lines, pair_sets_of
from tfstiff.records import Measurement, RunFolder

# Settings that must be the same where learning rates are compared.
_ALIKE = (
    *("dataset", "arch", "hidden", "optimizer", "loss", "batch_size", "centering", "train_examples", "permute_labels"),
    *("probe_size", "distance", "distance_pairs", "critical_length_method", "critical_length_metric"),
)
_TITLE = ("dataset", "arch")
_NUM_LEVELS = 3


@dataclass(frozen=True)
class RateGroup:
    """Runs of one learning rate, which differ in their seeds.

    Attributes:
        rate: The learning rate.
        runs: Measurements of each run, in order of time.
        look: How it is drawn.
    """

    rate: float
    runs: list[list[Measurement]]
    look: dict[str, Any]

    @property
    def label(self) -> str:
        """The learning rate, and the number of runs where there are several."""
        return f"{self.rate:g}" + (f" ({len(self.runs)} runs)" if len(self.runs) > 1 else "")


def by_learning_rate(runs: Sequence[RunFolder]) -> list[RateGroup]:
    """Groups runs by learning rate, from the smallest on. Runs without a measurement are left out.

    Raises:
        InvalidInput: No run has a measurement.
        NothingToDraw: The runs differ in more than learning rate and seed, or the learning rate of one is not known.
    """
    measured = [run for run in runs if run.measurements]
    if not measured:
        raise InvalidInput(
            "None of the runs holds a measurement, so there is nothing to draw.",
            remedy="Wait for the first measurement, or check why the runs recorded none.",
            received=[str(run.folder) for run in runs],
        )
    for name in _ALIKE:
        values = {str(run.spec[name]) for run in measured if name in run.spec}
        if len(values) > 1:
            raise NothingToDraw(
                f"The runs differ in {name} ({', '.join(sorted(values))}), which would pass for an effect of the "
                "learning rate.",
                remedy="Give runs that differ in learning rate and seed only.",
            )
    rates: dict[float, list[list[Measurement]]] = {}
    for run in measured:
        rate = run.spec.get("learning_rate", run.measurements[0].learning_rate)
        if not isinstance(rate, int | float) or not math.isfinite(rate):
            raise NothingToDraw(f"The run {run.folder} has no single learning rate.")
        rates.setdefault(float(rate), []).append(run.measurements)
    return [
        RateGroup(rate, rates[rate], look) for rate, look in zip(sorted(rates), ordered_lines(len(rates)), strict=True)
    ]


def shared_settings(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Data set and network, for a title."""
    return {name: run.spec[name] for run in runs for name in _TITLE if name in run.spec}


def shared_pair_sets(groups: Sequence[RateGroup]) -> list[str]:
    """The pair sets that all measurements of all runs have."""
    return pair_sets_of([measurement for group in groups for run in group.runs for measurement in run])


def loss_levels(runs: Sequence[RunFolder], wanted: Sequence[float] | None) -> tuple[float, ...]:
    """The training losses at which runs are compared, from the largest to the smallest.

    Args:
        runs: The runs.
        wanted: Those that the user asks for; None for those at which all runs were told to stop, as far as two learning
            rates come down to them on the probe, else three that all runs pass, evenly in their logarithm.

    Raises:
        InvalidInput: Those asked for are not finite numbers.
        NothingToDraw: There is no loss that all runs pass.
    """
    if wanted is not None:
        return checked_levels(tuple(wanted))
    measured = [run for run in runs if run.measurements]
    told = set.intersection(*(set(run.spec.get("stop_at_loss") or ()) for run in measured))
    reached = {
        level: {run.spec.get("learning_rate") for run in measured if lowest_loss(run.measurements) <= level}
        for level in told
    }
    if usable := [level for level, rates in reached.items() if len(rates) > 1]:
        return checked_levels(usable)
    losses = [np.array([one.train.loss for one in run.measurements]) for run in measured]
    losses = [series[np.isfinite(series)] for series in losses]
    if all(len(series) for series in losses):
        high, low = min(series[0] for series in losses), max(series.min() for series in losses)
        if high > low > 0:
            levels = np.geomspace(high, low, _NUM_LEVELS + 2)[1:-1]
            return checked_levels(tuple({float(f"{level:.2g}") for level in levels}))
    raise NothingToDraw(
        "There is no training loss that all runs come down to.",
        remedy="Train longer, leave out the runs that hardly learn, or choose losses: `tfstiff plot --loss 1.0,0.3`.",
    )


def lowest_loss(measurements: Sequence[Measurement]) -> float:
    """The lowest training loss; infinite where none is finite."""
    return min((one.train.loss for one in measurements if math.isfinite(one.train.loss)), default=math.inf)


def comparison(runs: Sequence[RunFolder], levels: Sequence[float] | None) -> tuple[list[RateGroup], tuple[float, ...]]:
    """Runs by learning rate, and the training losses to compare them at.

    Args:
        runs: Runs that differ in learning rate and seed.
        levels: As `loss_levels`.

    Raises:
        InvalidInput: No run has a measurement, or a level is not a finite number.
        NothingToDraw: There is one learning rate only, the runs differ in more than that and seed, or there is no loss
            that all come down to.
    """
    groups = by_learning_rate(runs)
    if len(groups) < 2:
        raise NothingToDraw(
            f"All runs have the learning rate {groups[0].rate:g}.",
            remedy="Give runs of several learning rates: `tfstiff run --lr ...` makes each.",
        )
    return groups, loss_levels(runs, levels)


def names_of(runs: Sequence[RunFolder]) -> dict[int, str]:
    """Names of the runs' folders, by the `id` of their measurements."""
    return {id(run.measurements): run.folder.name for run in runs}


def missing_runs(groups: Sequence[RateGroup], level: float) -> str:
    """A line that says how many runs do not pass a training loss; empty where all do."""
    losses = [[one.train.loss for one in run] for group in groups for run in group.runs]
    missing = sum(at_loss_level(series, series, level).status != "ok" for series in losses)
    return f"\n{missing} of {len(losses)} runs do not pass it" if missing else ""


def side_by_side(groups: Sequence[RateGroup], place: float) -> float:
    """A factor for learning rates that sets lines beside one another: 8 % of the way to the next rate a place."""
    return min(later.rate / earlier.rate for earlier, later in pairwise(groups)) ** (0.08 * place)


def set_rate_axis(axes: Axes, rates: Sequence[float]) -> None:
    """A logarithmic axis with a tick for each learning rate, or for some where there are many."""
    axes.set_xscale("log")
    margin = max(rates[-1] / rates[0], 2.0) ** 0.08
    axes.set_xlim(rates[0] / margin, rates[-1] * margin)
    ticks = rates if len(rates) <= 6 else [rates[i] for i in np.linspace(0, len(rates) - 1, 5).round().astype(int)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}".replace("e-0", "e−").replace("-", "−")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("learning rate")
