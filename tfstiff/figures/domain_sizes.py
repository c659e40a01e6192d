"""How far stiffness reaches against the learning rate, in the input and the layers' outputs, at equal training loss.

As in figure 10 of the first version.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.lines import Line2D

from tfstiff.analysis.comparison import ComparedRun, length_in_space
from tfstiff.figures.by_layer import MOST_SPACES, spaces_of, spread
from tfstiff.figures.chosen import chosen_pair_sets
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.learning_rates import (
    RateGroup,
    at_equal_loss,
    by_learning_rate,
    milestone_title,
    set_rate_axis,
    shared_pair_sets,
    shared_settings,
    side_by_side,
)
from tfstiff.figures.reaches import (
    draw_reaches,
    furthest_distance,
    reach_handles,
    reach_label,
    reach_of,
    set_reach_axis,
)
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, grid_of_panels, inches, is_column, name_grid
from tfstiff.figures.style import (
    Figure,
    Numbers,
    distance_kind,
    drawing_style,
    new_figure,
    ordered_lines,
    short_name,
    write_title,
)
from tfstiff.records import Measurement
from tfstiff.records.words import PAIR_SET_NAMES


@drawing_style()
def domain_size(
    runs: Sequence[ComparedRun],
    *,
    levels: Sequence[float] | None = None,
    extrapolate: bool = False,
    width: str = DEFAULT_WIDTH,
) -> Figure:
    """Draws how far stiffness reaches against the learning rate: a column a training loss, a row a pair set.

    A line is a space: the input, or the output of a layer. The size of a domain is the critical length ξ, or 1 − ξ
    where ξ is a similarity. Each run is taken where its training loss first comes down to that of the column, and
    several runs of a learning rate as `tfstiff compare` sums them up; a single one has its 95 % interval.
    `tfstiff.figures.reaches` tells the markers apart. Of more than ten spaces ten are drawn.

    Args:
        runs: Runs that differ in learning rate and seed.
        levels: Training losses; None for those at which the runs were told to stop, else three that all runs pass.
        extrapolate: Whether the zero of a straight line is taken as ξ also where it lies beyond the distances observed;
            else it is known by a bound.
        width: `column` or `page`, of a paper; a column has room for one pair set, and losses are its rows.

    Raises:
        InvalidInput: No run has a measurement, a level is not a finite number, or there is no such width.
        NothingToDraw: There is one learning rate only, the runs differ in more than that and seed, or there is no loss
            that all come down to.
    """
    groups, whole, upright = by_learning_rate(runs), inches(width), is_column(width)
    pair_sets, kind = shared_pair_sets(groups), distance_kind(groups[0].runs[0])
    if upright:
        pair_sets = chosen_pair_sets(runs[0], pair_sets)[:1]
    measured = _measurements(groups)
    names = spaces_of(measured)
    drawn = spread(names, MOST_SPACES)
    looks = dict(zip(drawn, ordered_lines(len(drawn)), strict=True))
    places = {(pair_set, space): length_in_space(pair_set, space) for pair_set in pair_sets for space in drawn}
    found = at_equal_loss(groups, list(places.values()), levels, extrapolate)
    figure = new_figure(whole, 0.6 + (1.45 * len(found.milestones) if upright else 1.6 * len(pair_sets)))
    axes = grid_of_panels(figure, len(pair_sets), len(found.milestones), transposed=upright)
    sizes = {
        (*place, milestone): [
            reach_of(list(found.observations[name, milestone, index].values()), kind) for index in range(len(groups))
        ]
        for place, name in places.items()
        for milestone in found.milestones
    }
    everything = [reach for each in sizes.values() for reach in each]
    lengths = [m[pair_set].spaces[space].critical_length for m in measured for pair_set, space in places]
    for panel in axes.flat:
        set_reach_axis(panel, everything, furthest_distance(lengths, kind))
    for i, pair_set in enumerate(pair_sets):
        for j, milestone in enumerate(found.milestones):
            for place, space in enumerate(drawn):
                shift = side_by_side(groups, place / max(1, len(drawn) - 1) * 2 - 1)
                rates = [group.rate * shift for group in groups]
                draw_reaches(axes[i, j], rates, sizes[pair_set, space, milestone], looks[space])
            set_rate_axis(axes[i, j], [group.rate for group in groups])
    names_of_rows = [f"{PAIR_SET_NAMES[pair_set]}\n{reach_label(kind)}" for pair_set in pair_sets]
    name_grid(axes, names_of_rows, [milestone_title(found, one) for one in found.milestones], transposed=upright)
    handles = [
        Line2D([], [], **(look | {"linestyle": "-"}), label=short_name(name.rsplit("/", 1)[-1], 24))
        for name, look in looks.items()
    ]
    several = any(len(group.runs) > 1 for group in groups)
    marks = reach_handles([(axes[0, 0], everything)], several=several)
    add_legends(figure, ("distances in", handles), ("ξ", marks))
    some = f", {len(drawn)} of {len(names)} spaces" if len(drawn) < len(names) else ""
    write_title(figure, f"Domain size at equal training loss{some}", shared_settings(runs))
    return figure


def domain_size_numbers(
    runs: Sequence[ComparedRun], *, levels: Sequence[float] | None = None, extrapolate: bool = False
) -> Numbers:
    """Header and rows of the domain sizes of every run, a row a run, training loss, pair set and space.

    A size lies between `size_low` and `size_high`, which are equal where it is known and infinite where it is not
    bounded on that side; `low` and `high` are the ends of its 95 % interval.
    """
    groups = by_learning_rate(runs)
    kind = distance_kind(groups[0].runs[0])
    places = [(pair_set, space) for pair_set in shared_pair_sets(groups) for space in spaces_of(_measurements(groups))]
    found = at_equal_loss(groups, [length_in_space(*place) for place in places], levels, extrapolate)
    rows: list[list[object]] = []
    for milestone in found.milestones:
        for index, group in enumerate(groups):
            for seed, run in found.groups[index].runs.items():
                for place in places:
                    one = found.observations[length_in_space(*place), milestone, index][seed]
                    reach = reach_of([one], kind)
                    numbers = [reach.low, reach.high, reach.interval_low, reach.interval_high, one.status]
                    rows.append([milestone.at, group.rate, run.folder.name, *place, *numbers])
    header = ["train_loss", "learning_rate", "run", "pair_set", "space", "size_low", "size_high", "low", "high"]
    return [*header, "status"], rows


def _measurements(groups: Sequence[RateGroup]) -> list[Measurement]:
    return [one for group in groups for run in group.runs for one in run.measurements]


register_figure(
    domain_size,
    domain_size_numbers,
    "Domain size against learning rate in input and layers, at equal training loss.",
    "v1 10",
)
