"""What all figures share: fonts, colours, names, titles. Nothing here changes matplotlib's global state for good."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import matplotlib
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tfstiff.analysis.comparison import ComparedRun
from tfstiff.errors import InvalidInput
from tfstiff.records import METRICS, PAIR_SETS, Measurement, RunFolder
from tfstiff.records.words import DISTANCE_NAMES
from tfstiff.stiffness.critical_length import SCALES, Scale

# Okabe and Ito's colours, which stay apart for colour-blind readers; the dashes stay apart in greyscale. What concerns
# the training half only looks alike everywhere, and so does what concerns the validation half only.
# They get thinner and their marks smaller in the order in which they are drawn: those below are seen around the others.
_BLUE: dict[str, Any] = {"color": "#0072B2", "linestyle": "-", "marker": "o", "linewidth": 1.8, "markersize": 4.2}
_VERMILION: dict[str, Any] = {"color": "#D55E00", "linestyle": (0, (4, 1.5)), "marker": "s"}
_VERMILION |= {"linewidth": 1.3, "markersize": 3.2}
_GREEN: dict[str, Any] = {"color": "#009E73", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "^"}
_GREEN |= {"linewidth": 0.8, "markersize": 2.2}
PAIR_SET_LINES = {"train_train": _BLUE, "train_val": _VERMILION, "val_val": _GREEN}
HALF_LINES = {"train": _BLUE, "val": _GREEN}
KIND_LINES = {"within": _BLUE, "between": _VERMILION, "mean": _BLUE}

Numbers = tuple[list[str], list[list[object]]]  # header and rows
Drawn = ComparedRun | Sequence[Measurement]  # a run, or its measurements

# Colours that get lighter in order, also in greyscale, from blue over pink to yellow: for learning rates, layers and
# whatever else has an order.
_ORDERED, _LIGHTEST = matplotlib.colormaps["plasma"], 0.88
_MARKERS = ("o", "s", "D", ">", "<", "p", "d", "h")  # hollow ones are legible too; up and down mean something else
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1)))

# ColorBrewer's RdBu turned round (negative blue, positive red) with pure white in the middle. An odd number of colours,
# so that 0 falls on the middle one. Missing values are transparent and show the hatched ground.
STIFFNESS_COLOURS = LinearSegmentedColormap.from_list(
    "stiffness",
    [
        *("#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0"),
        "#ffffff",
        *("#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"),
    ],
    N=257,
).with_extremes(bad=(0, 0, 0, 0))

_SETTINGS = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along, so figures look alike on every machine
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "figure.titlesize": 8,
    "hatch.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.2,
    "svg.hashsalt": "tfstiff",
}


_NOTE_SIZE, _NOTE_CHARACTERS = 6, 20  # points; characters in an inch
_TITLE_CHARACTERS = 15  # in an inch
_PAIRS = {"within": "same-class", "between": "different-class", "all": "mean"}


class DistanceKind(NamedTuple):
    """What the run's settings say about distances; the paper's choices where they are not known.

    Attributes:
        name: A key of `tfstiff.stiffness.critical_length.SCALES`.
        label: Of an axis, without the space.
        pairs: Which pairs are compared: an adjective.
        scale: What the distance says.
    """

    name: str
    label: str
    pairs: str
    scale: Scale


def distance_kind(source: Drawn) -> DistanceKind:
    """The kind of distance of a run."""
    spec = _settings(source)
    name, pairs = str(spec.get("distance", "cosine")), str(spec.get("distance_pairs", "within"))
    if not any(one.class_names for one in measurements_of(source)):
        pairs = "all"
    return DistanceKind(name, DISTANCE_NAMES.get(name, name), _PAIRS.get(pairs, pairs), SCALES.get(name, Scale(None)))


class NothingToDraw(InvalidInput):
    """A figure does not apply to what was measured."""


@contextmanager
def drawing_style() -> Iterator[None]:
    """Applies the figures' settings, over matplotlib's defaults and not the user's, for as long as it lasts."""
    with matplotlib.style.context(_SETTINGS, after_reset=True):
        yield


class _Shown(Figure):
    """A figure that shows itself at the end of a notebook's cell, whichever backend matplotlib is set to."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        with drawing_style():
            self.savefig(file, format="png", dpi=110)
        return file.getvalue()


def new_figure(width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """An empty figure of this size in inches, drawn by Agg without a window."""
    figure = _Shown(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def add_note(figure: Figure, sentences: Sequence[str]) -> None:
    """Puts sentences below a figure, each once, in small print; nothing where there are none."""
    width = int(figure.get_figwidth() * _NOTE_CHARACTERS)
    lines = [line for text in dict.fromkeys(sentences) for line in textwrap.wrap(text, max(width, 30))]
    if lines:
        with drawing_style():
            figure.draw_without_rendering()  # all finds its place, and keeps it
        figure.set_layout_engine("none")
        for legend in figure.legends:  # or a file that is cut to what there is has them at its end, over the note
            legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
        lowest = min(figure.get_tightbbox().y0 / figure.get_figheight(), 0.0)
        text = "\n".join(lines)
        figure.text(0.0, lowest - 0.02, text, va="top", fontsize=_NOTE_SIZE, color="0.25", parse_math=False)


def measurements_of(source: Drawn) -> list[Measurement]:
    """The measurements of a run, or of a sequence of them.

    Raises:
        InvalidInput: There are none.
    """
    measurements = list(source if isinstance(source, Sequence) else source.measurements)
    if not measurements:
        where = "The sequence" if isinstance(source, Sequence) else f"The run {source.folder}"
        raise InvalidInput(
            f"{where} holds no measurement, so there is nothing to draw.",
            expected="at least one readable record",
            remedy="Wait for the first measurement, or check why the run recorded none.",
        )
    return measurements


def _settings(source: Drawn) -> Mapping[str, Any]:
    return {} if isinstance(source, Sequence) else source.spec


def pair_sets_of(measurements: Sequence[Measurement]) -> list[str]:
    """The pair sets that all of the measurements have, in the usual order."""
    return [name for name in PAIR_SETS if all(name in measurement.pair_sets for measurement in measurements)]


def metrics_of(source: Drawn) -> tuple[str, ...]:
    """The metrics that a run's settings name, or both."""
    named = _settings(source).get("metrics")
    return tuple(metric for metric in METRICS if metric in named) if isinstance(named, list) else METRICS


def ordered_lines(number: int) -> list[dict[str, Any]]:
    """Looks of `number` lines that have an order: colour, marker and dash."""
    return [
        {
            "color": _ORDERED(_LIGHTEST * index / max(1, number - 1)),
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": _DASHES[index % len(_DASHES)],
        }
        for index in range(number)
    ]


def write_title(figure: Figure, subject: str, source: Drawn | Mapping[str, Any]) -> None:
    """Titles a figure with its subject and, where the run's settings name them, data set, network, learning rate.

    A run whose settings name none of them, as that of a callback, is named by its folder.

    Args:
        figure: The figure.
        subject: What it shows.
        source: A run; or its settings, or those that several runs share; or measurements, which name no settings.
    """
    spec = source if isinstance(source, Mapping) else _settings(source)
    parts = [short_name(spec[key], 40) for key in ("dataset", "arch") if spec.get(key) is not None]
    rate = spec.get("learning_rate")
    if rate is not None:
        parts.append(f"learning rate {rate:g}" if isinstance(rate, int | float) else short_name(rate, 40))
    if not parts and isinstance(source, RunFolder):  # of a callback
        parts.append(short_name(source.folder.resolve().name, 40))
    limit = int(figure.get_figwidth() * _TITLE_CHARACTERS)
    text = f"{subject}: {', '.join(parts)}" if parts else subject
    lines = [text] if len(text) <= limit or not parts else [f"{subject}:", ", ".join(parts)]
    figure.suptitle("\n".join(_evenly(line, limit) for line in lines), parse_math=False)


def _evenly(text: str, limit: int) -> str:
    """`text` in as few lines of at most `limit` characters as it takes, about as long as each other."""
    number = len(textwrap.wrap(text, limit))
    while limit > 1 and len(textwrap.wrap(text, limit - 1)) == number:
        limit -= 1
    return textwrap.fill(text, limit)


def short_name(name: object, limit: int = 16) -> str:
    """`name` on one line of at most `limit` characters."""
    text = " ".join(str(name).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
