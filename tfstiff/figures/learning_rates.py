"""Runs by learning rate, compared by `tfstiff.analysis.comparison`: what the figures of several runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from tfstiff.analysis.comparison import (
    ComparedRun,
    Comparison,
    Milestone,
    common_losses,
    compare,
    group_runs,
    settings_of,
)
from tfstiff.analysis.comparison.groups import RATE
from tfstiff.analysis.loss_level import checked_levels
from tfstiff.errors import InvalidInput
from tfstiff.figures.style import NothingToDraw, ordered_lines, pair_sets_of
from tfstiff.figures.tick_labels import RoomyLabels
from tfstiff.records.words import setting_in_words

_TITLE = ("dataset", "arch")
_LINES, _GROUND = 0.16, 0.25  # of the way to the next learning rate, on each side: lines, and the ground they stand on


@dataclass(frozen=True)
class RateGroup:
    """Runs of one learning rate, which differ in their seeds.

    Attributes:
        rate: The learning rate.
        runs: In order of their seeds.
        look: How it is drawn.
    """

    rate: float
    runs: list[ComparedRun]
    look: dict[str, Any]

    @property
    def label(self) -> str:
        """The learning rate, and the number of runs where there are several."""
        return f"{self.rate:g}" + (f" ({len(self.runs)} runs)" if len(self.runs) > 1 else "")


def by_learning_rate(runs: Sequence[ComparedRun]) -> list[RateGroup]:
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
    groups, _ = group_runs(measured)
    for name in groups[0].settings:
        if name != RATE:
            values = sorted({setting_in_words(group.settings[name]) for group in groups})
            raise NothingToDraw(
                f"The runs differ in {name} ({', '.join(values)}), which would pass for an effect of the learning "
                "rate.",
                remedy="Give runs that differ in learning rate and seed only.",
            )
    found = []
    for group, look in zip(groups, ordered_lines(len(groups)), strict=True):
        each = list(group.runs.values())
        rate = settings_of(each[0]).get(RATE)
        if not isinstance(rate, int | float):
            raise NothingToDraw(f"The run {each[0].folder} has no single learning rate.")
        found.append(RateGroup(float(rate), each, look))
    return found


def shared_settings(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Data set and network, for a title."""
    return {name: run.spec[name] for run in runs for name in _TITLE if name in run.spec}


def shared_pair_sets(groups: Sequence[RateGroup]) -> list[str]:
    """The pair sets that all measurements of all runs have."""
    return pair_sets_of([measurement for group in groups for run in group.runs for measurement in run.measurements])


def at_equal_loss(
    groups: Sequence[RateGroup], quantities: Sequence[str], levels: Sequence[float] | None, extrapolate: bool = False
) -> Comparison:
    """Compares learning rates at equal training loss.

    Args:
        groups: Of `by_learning_rate`; the comparison's are in the same order.
        quantities: Names, as `compare` takes them.
        levels: Training losses; None for `common_losses`.
        extrapolate: As in `compare`.

    Raises:
        InvalidInput: A level is not a finite number.
        NothingToDraw: There is one learning rate only, or no loss that all come down to.
    """
    if len(groups) < 2:
        raise NothingToDraw(
            f"All runs have the learning rate {groups[0].rate:g}.",
            remedy="Give runs of several learning rates: `tfstiff run --lr ...` makes each.",
        )
    runs = [run for group in groups for run in group.runs]
    if levels is None:
        milestones = common_losses(runs)
    else:
        milestones = [Milestone("train_loss", level) for level in checked_levels(tuple(levels))]
    if not milestones:
        raise NothingToDraw(
            "There is no training loss that all runs come down to.",
            remedy="Train longer, leave out the runs that hardly learn, or choose losses: `tfstiff plot --loss 1,0.3`.",
        )
    return compare(runs, quantities, milestones, extrapolate=extrapolate)


def milestone_title(found: Comparison, milestone: Milestone) -> str:
    """A milestone in words, with how many runs do not pass it."""
    groups = [found.observations[found.quantities[0], milestone, index] for index in range(len(found.groups))]
    each = [one for group in groups for one in group.values()]
    missing = sum(one.status in ("not_reached", "begins_below") for one in each)
    return milestone.label + (f"\n{missing} of {len(each)} runs do not pass it" if missing else "")


def side_by_side(groups: Sequence[RateGroup], place: float) -> float:
    """A factor for learning rates that sets lines beside one another on the ground of their rate.

    Args:
        groups: By learning rate.
        place: −1 for the leftmost line, 1 for the rightmost.
    """
    return _smallest_step([group.rate for group in groups]) ** (_LINES * place)


def _smallest_step(rates: Sequence[float]) -> float:
    """The smallest ratio of a learning rate to the one before it."""
    return min(later / earlier for earlier, later in pairwise(rates))


def set_rate_axis(axes: Axes, rates: Sequence[float]) -> None:
    """A logarithmic axis with a tick for each learning rate, or for some where there are many.

    What belongs to one rate stands on one grey ground, so that lines beside each other are not taken for other rates.
    """
    axes.set_xscale("log")
    ground = _smallest_step(rates) ** _GROUND
    for rate in rates:
        axes.axvspan(rate / ground, rate * ground, color="0.95", linewidth=0, zorder=-1, label="_one learning rate")
    margin = max(ground * 1.02, max(rates[-1] / rates[0], 2.0) ** 0.04)
    axes.set_xlim(rates[0] / margin, rates[-1] * margin)
    ticks = rates if len(rates) <= 6 else [rates[i] for i in np.linspace(0, len(rates) - 1, 5).round().astype(int)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(RoomyLabels(lambda rate: f"{rate:g}".replace("e-0", "e−").replace("-", "−")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("learning rate")
