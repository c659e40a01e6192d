"""Where runs are compared by default: epochs that all were measured at, training losses that they came down to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfstiff.analysis.comparison.observations import ComparedRun, Milestone

_MOST = 3


def default_milestones(runs: Sequence[ComparedRun]) -> list[Milestone]:
    """Epochs and training losses, up to three of each."""
    return [*common_epochs(runs), *common_losses(runs)]


def common_epochs(runs: Sequence[ComparedRun], most: int = _MOST) -> list[Milestone]:
    """Epochs, after initialisation, at which all runs were measured: the last, and others far apart by their ratio."""
    measured = [[m.epoch for m in run.measurements if m.epoch > 0] for run in runs]
    common = [
        epoch
        for epoch in (measured[0] if measured else [])
        if all(any(abs(other - epoch) <= 1e-6 * epoch for other in epochs) for epochs in measured)
    ]
    whole = [epoch for epoch in common if epoch == round(epoch)]
    common = whole if len(whole) >= most else common
    return [Milestone("epoch", epoch) for epoch in _spread(common, most)]


def common_losses(runs: Sequence[ComparedRun], most: int = _MOST) -> list[Milestone]:
    """Training losses that runs came down to, from the largest to the smallest.

    They are those at which all were to stop, as far as two runs come down to them on the probe, else three between the
    loss that all began with and the lowest that all came down to, evenly in their logarithm.
    """
    losses = [[m.train.loss for m in run.measurements if math.isfinite(m.train.loss)] for run in runs]
    measured = [(run, found) for run, found in zip(runs, losses, strict=True) if found]
    if not measured:
        return []
    asked = set.intersection(*({float(loss) for loss in run.spec.get("stop_at_loss") or ()} for run, _ in measured))
    enough = min(2, len(measured))
    usable = [level for level in asked if sum(min(found) <= level <= found[0] for _, found in measured) >= enough]
    if usable:
        return [Milestone("train_loss", level) for level in sorted(usable, reverse=True)]
    started, lowest = min(found[0] for _, found in measured), max(min(found) for _, found in measured)
    if not started > lowest > 0:
        return []
    between = [_rounded_up(loss) for loss in np.geomspace(started, lowest, most + 1)[1:].tolist()]
    return [Milestone("train_loss", loss) for loss in dict.fromkeys(between) if loss < started]


def _spread(values: Sequence[float], most: int) -> list[float]:
    """The last of increasing values, and others such that their ratios are alike; of two as near, the larger."""
    if len(values) <= most:
        return list(values)
    wanted = np.geomspace(values[0], values[-1], most)

    def distance(value: float, target: float) -> tuple[float, float]:
        return round(abs(math.log(value / target)), 9), -value  # 2 and 5 are as far from √10, but for rounding

    return sorted({min(values, key=lambda value: distance(value, target)) for target in wanted})


def _rounded_up(loss: float) -> float:
    """To two digits, so that a run that comes down to `loss` comes down to it."""
    digits = 1 - math.floor(math.log10(loss))
    return round(math.ceil(loss * 10**digits) / 10**digits, max(0, digits))
