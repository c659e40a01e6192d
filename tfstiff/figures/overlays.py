"""One quantity of any runs against time, in one panel: true against permuted labels, two networks, two optimizers."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from tfstiff.analysis.comparison import ComparedRun, separating_settings, settings_of
from tfstiff.analysis.readings import reading, times_of
from tfstiff.errors import InvalidInput
from tfstiff.figures.kinds import register_figure
from tfstiff.figures.over_time import draw_line, draw_zero
from tfstiff.figures.panels import figure_of, panel_of
from tfstiff.figures.sizes import DEFAULT_WIDTH, add_legends, inches, is_column
from tfstiff.figures.stages import set_time_axis
from tfstiff.figures.style import Figure, Numbers, drawing_style, measurements_of, ordered_lines, short_name
from tfstiff.records import Measurement, scalar_row
from tfstiff.records.settings import SEED
from tfstiff.records.words import PAIR_SET_NAMES, default_pair_set, quantity_in_words, settings_in_words

DEFAULT_QUANTITY = "cosine_within"
_WIDTH = 5.2  # inches, that one panel needs


@drawing_style()
def overlay(
    runs: Sequence[ComparedRun],
    *,
    quantity: str = DEFAULT_QUANTITY,
    pair_set: str | None = None,
    ax: Axes | None = None,
    width: str = DEFAULT_WIDTH,
) -> Figure:
    """Draws one quantity of several runs against time, a line a run, named by the settings in which they differ.

    Bands are 95 % intervals over the draw of the probe's examples; the scatter between seeds is that between lines.

    Args:
        runs: Any runs.
        quantity: As in scalars.jsonl, with or without the pair set: `cosine_within`, `sign_between`,
            `validation_loss`, …
        pair_set: `train_train`, `train_val` or `val_val`; None for train_val where it was measured.
        ax: A panel to draw into; None makes a figure.
        width: `column` or `page`, of a paper, of the figure that is made.

    Raises:
        InvalidInput: A run has no measurement, none of the runs has this quantity, or there is no such width.
    """
    found = [measurements_of(run) for run in runs]
    name = quantity_name(quantity, pair_set, [one for measurements in found for one in measurements])
    axes = panel_of(ax, min(inches(width), _WIDTH), 2.4 if is_column(width) else 2.8)
    units = {times_of(measurements)[1] for measurements in found}
    every_time: list[float] = []
    draw_zero(axes)
    labels = run_names(runs)
    for measurements, line, label in zip(found, ordered_lines(len(found)), labels, strict=True):
        measured = [one for one in measurements if name in scalar_row(one)]
        if measured:
            draw_line(axes, measured, name, line, label)
            every_time += times_of(measured)[0]
    set_time_axis(axes, every_time, " or ".join(sorted(units)))
    axes.set_ylabel(quantity_in_words(name, with_pairs=False))
    pairs = next((words for one, words in PAIR_SET_NAMES.items() if name.endswith(f"_{one}")), "")
    axes.set_title(f"{pairs} pairs" if pairs else "")
    if ax is not None:
        axes.legend(loc="best")
        return figure_of(axes)
    figure = figure_of(axes)
    band = Patch(facecolor="0.35", alpha=0.25, label="95 % interval over the probe's examples")
    add_legends(figure, ("", [*(line for line in axes.lines if line.get_label() in labels), band]))
    return figure


def overlay_numbers(
    runs: Sequence[ComparedRun], *, quantity: str = DEFAULT_QUANTITY, pair_set: str | None = None
) -> Numbers:
    """Header and rows of what `overlay` draws: a row a run and measurement, with the 95 % interval."""
    found = [measurements_of(run) for run in runs]
    name = quantity_name(quantity, pair_set, [one for measurements in found for one in measurements])
    rows: list[list[object]] = [
        [label, one.step, one.epoch, read.value, read.low, read.high]
        for label, measurements in zip(run_names(runs), found, strict=True)
        for one in measurements
        if name in scalar_row(one)
        for read in [reading(one, name)]
    ]
    return ["run", "step", "epoch", name, "low", "high"], rows


def quantity_name(quantity: str, pair_set: str | None, measurements: Sequence[Measurement]) -> str:
    """The whole name of a quantity.

    Raises:
        InvalidInput: No measurement has it.
    """
    known = dict.fromkeys(name for one in measurements for name in scalar_row(one))
    pair_set = pair_set or default_pair_set(measurements[0].pair_sets if measurements else ())
    for name in (quantity, f"stiffness_{quantity}", f"stiffness_{quantity}_{pair_set}", f"{quantity}_{pair_set}"):
        if name in known:
            return name
    raise InvalidInput("No run has this quantity.", expected=", ".join(known), received=quantity)


def run_names(runs: Sequence[ComparedRun]) -> list[str]:
    """A name for each run: the settings in which they differ, else that of its folder; what is equal is numbered."""
    settings = [settings_of(run) for run in runs]
    names = separating_settings(settings)
    seeds = {one.get(SEED) for one in settings}
    told = [*names, *[SEED] * (len(seeds) > 1)]
    settings_told = [settings_in_words([(name, one.get(name)) for name in told]) for one in settings]
    labels = [text or run.folder.name for text, run in zip(settings_told, runs, strict=True)]
    labels = [short_name(label, 60) for label in labels]
    return [f"{label} ({index + 1})" if labels.count(label) > 1 else label for index, label in enumerate(labels)]


register_figure(overlay, overlay_numbers, "One quantity of any runs against time, a line a run.")
