"""How far stiffness reaches against the learning rate, in the input and the layers' outputs, at equal training loss.

As in figure 10 of the first version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D

from tfstiff.analysis.loss_level import at_loss_level
from tfstiff.figures.by_layer import MOST_SPACES, spaces_of, spread
from tfstiff.figures.learning_rates import (
    comparison,
    missing_runs,
    names_of,
    set_rate_axis,
    shared_pair_sets,
    shared_settings,
    side_by_side,
)
from tfstiff.figures.reaches import Reach, draw_reaches, middle_of, reach_handles, reach_of, set_reach_axis
from tfstiff.figures.style import (
    DistanceKind,
    Figure,
    Table,
    distance_kind,
    drawing_style,
    new_figure,
    ordered_lines,
    short_name,
    write_title,
)
from tfstiff.records import CriticalLength, Measurement, RunFolder
from tfstiff.records.words import PAIR_SET_NAMES


@drawing_style()
def domain_size(runs: Sequence[RunFolder], *, levels: Sequence[float] | None = None) -> Figure:
    """Draws how far stiffness reaches against the learning rate: a column a training loss, a row a pair set.

    A line is a space: the input, or the output of a layer. The size of a domain is the critical length ξ, or 1 − ξ
    where ξ is a similarity. Each run is taken where its training loss first comes down to that of the column, by
    interpolation between two measurements that both have a ξ, else at the second. Several runs of a learning rate are
    drawn as their median and range, a single one with its 95 % interval; `tfstiff.figures.reaches` tells the markers
    apart. Of more than ten spaces ten are drawn.

    Args:
        runs: Runs that differ in learning rate and seed.
        levels: Training losses; None for those at which the runs were told to stop, else three that all runs pass.

    Raises:
        InvalidInput: No run has a measurement, or a level is not a finite number.
        NothingToDraw: There is one learning rate only, the runs differ in more than that and seed, or there is no loss
            that all come down to.
    """
    groups, levels = comparison(runs, levels)
    pair_sets, kind = shared_pair_sets(groups), distance_kind(next(run for run in runs if run.measurements))
    names = spaces_of([one for group in groups for run in group.runs for one in run])
    drawn = spread(names, MOST_SPACES)
    looks = dict(zip(drawn, ordered_lines(len(drawn)), strict=True))
    figure = new_figure(max(4.6, 1.0 + 2.6 * len(levels)), 1.8 + 2.1 * len(pair_sets))
    axes = figure.subplots(len(pair_sets), len(levels), squeeze=False, sharex=True, sharey=True)
    sizes = {
        (pair_set, level, space): [
            middle_of([_size_at(run, pair_set, space, level, kind).reach for run in group.runs]) for group in groups
        ]
        for pair_set in pair_sets
        for level in levels
        for space in drawn
    }
    everything = [reach for each in sizes.values() for reach in each]
    set_reach_axis(axes[0, 0], everything)
    for i, pair_set in enumerate(pair_sets):
        for j, level in enumerate(levels):
            for place, space in enumerate(drawn):
                shift = side_by_side(groups, (place - (len(drawn) - 1) / 2) / 2)
                rates = [group.rate * shift for group in groups]
                draw_reaches(axes[i, j], rates, sizes[pair_set, level, space], looks[space])
            set_rate_axis(axes[i, j], [group.rate for group in groups])
            axes[i, j].label_outer()
        size = "critical length ξ" if kind.scale.direction > 0 else "domain size, 1 − ξ"
        axes[i, 0].set_ylabel(f"{PAIR_SET_NAMES[pair_set]}\n{size}")
    for panel, level in zip(axes[0], levels, strict=True):
        panel.set_title(f"training loss {level:g}{missing_runs(groups, level)}")
    handles = [
        Line2D([], [], **(look | {"linestyle": "-"}), label=short_name(name.rsplit("/", 1)[-1], 24))
        for name, look in looks.items()
    ]
    look: dict[str, Any] = {"ncols": 1 + len(handles) // 5, "alignment": "left"}
    figure.legend(handles=handles, loc="outside lower left", title="distances in", **look)
    several = any(len(group.runs) > 1 for group in groups)
    marks = reach_handles([(axes[0, 0], everything)], several=several)
    figure.legend(handles=marks, loc="outside lower right", title="ξ", alignment="left")
    some = f", {len(drawn)} of {len(names)} spaces" if len(drawn) < len(names) else ""
    write_title(figure, f"Domain size at equal training loss{some}", shared_settings(runs))
    return figure


def domain_size_numbers(runs: Sequence[RunFolder], *, levels: Sequence[float] | None = None) -> Table:
    """Header and rows of the domain sizes of every run, a row a run, training loss, pair set and space.

    A size is infinite where stiffness does not fall to 0, minus infinity where it is not above 0 for the nearest pairs,
    NaN where nothing could be fitted or the loss is not reached. `status` is that of the second of the two measurements
    between which it is interpolated.

    Raises:
        InvalidInput: As `domain_size`.
        NothingToDraw: As `domain_size`.
    """
    groups, levels = comparison(runs, levels)
    kind = distance_kind(next(run for run in runs if run.measurements))
    names = names_of(runs)
    rows: list[list[object]] = []
    for level in levels:
        for group in groups:
            for run in group.runs:
                for pair_set in shared_pair_sets(groups):
                    for space in spaces_of(run):
                        size = _size_at(run, pair_set, space, level, kind)
                        numbers = [size.reach.value, size.reach.low, size.reach.high, size.reach.observed, size.status]
                        rows.append([level, group.rate, names[id(run)], pair_set, space, *numbers])
    header = ["train_loss", "learning_rate", "run", "pair_set", "space", "size", "low", "high", "observed", "status"]
    return header, rows


class _Size(NamedTuple):
    reach: Reach
    status: str  # of the critical length, or `not_reached`, `begins_below`: of the loss


def _size_at(run: list[Measurement], pair_set: str, space: str, level: float, kind: DistanceKind) -> _Size:
    """The critical length of a run where its training loss first comes down to a level."""
    kept = [one for one in run if math.isfinite(one.train.loss)]
    lengths: list[CriticalLength] = [one[pair_set].spaces[space].critical_length for one in kept]
    losses = [one.train.loss for one in kept]
    reaches = [reach_of(length, kind) for length in lengths]
    place = at_loss_level(losses, np.arange(len(kept)), level)  # between which two measurements
    if place.status != "ok":
        return _Size(Reach(math.nan, math.nan, math.nan, False, math.nan), place.status)
    around = reaches[math.floor(place.value)], reaches[math.ceil(place.value)]
    status = lengths[math.ceil(place.value)].status
    if not all(math.isfinite(one.value) for one in around):
        return _Size(around[1], status)
    share = place.value - math.floor(place.value)
    value, low, high = (
        (1 - share) * getattr(around[0], name) + share * getattr(around[1], name) for name in ("value", "low", "high")
    )
    observed, furthest = all(one.observed for one in around), min(one.furthest for one in around)
    return _Size(Reach(value, low, high, observed, furthest), status)
