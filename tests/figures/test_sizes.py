"""What is made for a column fits it, and can be read there."""

import dataclasses
import itertools

import pytest
from made_up import directions
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.text import Text
from synthetic_runs import measurement, series, write_run
from synthetic_sweeps import length, sweep, with_lengths
from test_statistics_figure import with_statistics

from tfstiff.errors import InvalidInput
from tfstiff.figures import FIGURES, draw
from tfstiff.figures.sizes import SMALLEST_TEXT, WIDTHS, add_legends
from tfstiff.figures.style import new_figure

GROUPS = {"tops": ("T-shirt/top", "Pullover", "Coat", "Shirt"), "shoes": ("Sandal", "Sneaker", "Ankle boot")}


def with_everything(measured):
    return dataclasses.replace(with_statistics(measured, 0.5), directions=directions(10))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    measured = with_lengths(series(2, 10), [length(0.6)] * 2, "a layer of a long name")
    run = write_run(tmp_path_factory.mktemp("one") / "run", [with_everything(one) for one in measured])
    runs = sweep(tmp_path_factory.mktemp("several"), rates=(1e-4, 8e-4, 3.2e-3), seeds=(0,), number=3)
    return {"run": [run], "runs": [runs], "nothing": []}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Runs whose axes have many ticks: five decades of time, and six learning rates that follow each other closely."""
    measured = [measurement(step, step / 1e5, 0.5) for step in (0, 100, 10_000, 1_000_000, 30_000_000)]
    measured = with_lengths(measured, [length(0.6)] * 5, "a layer")
    run = write_run(tmp_path_factory.mktemp("one") / "run", [with_everything(one) for one in measured])
    runs = sweep(tmp_path_factory.mktemp("several"), [1e-4 * 2**i for i in range(6)], seeds=(0,), number=8)
    return {"run": [run], "runs": [runs], "nothing": []}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
def test_no_two_texts_touch(name, width, crowded):
    kind = FIGURES[name]
    figure = kind.draw(
        *crowded[kind.takes], width=width, **({"grouping": GROUPS} if "grouping" in kind.options else {})
    )
    assert touching(figure) == []


def touching(figure):
    """Pairs of texts that lie on one another, or side by side on a line with less than 1 point between them."""
    figure.draw_without_rendering()
    outside = {label for axis in figure.findobj(Axis) for label in labels_outside(axis)}
    texts = dict.fromkeys(one for one in figure.findobj(Text) if one.get_visible() and one.get_text())
    boxes = [(one.get_text(), one.get_rotation(), one.get_window_extent()) for one in texts if one not in outside]
    point = figure.dpi / 72
    found = []
    for (first, turn, box), (second, other_turn, other) in itertools.combinations(boxes, 2):
        across = max(box.x0, other.x0) - min(box.x1, other.x1)
        along = max(box.y0, other.y0) - min(box.y1, other.y1)
        is_line = turn == other_turn == 0 and along < -0.3 * min(box.height, other.height)
        if (across < -point and along < -point) or (is_line and across < point):
            found.append((first, second))
    return found


def labels_outside(axis):
    """Of an axis, the labels of ticks that are not drawn, since they lie beyond its ends."""
    low, high = sorted(axis.get_view_interval())
    beyond = [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
    return [label for tick in beyond for label in (tick.label1, tick.label2)]


@pytest.mark.parametrize("name", FIGURES)
def test_in_a_column_text_is_large_enough_and_nothing_sticks_out(name, sources):
    kind = FIGURES[name]
    options = {"grouping": GROUPS} if "grouping" in kind.options else {}
    figure = kind.draw(*sources[kind.takes], width="column", **options)
    figure.draw_without_rendering()
    assert figure.get_tightbbox().width <= WIDTHS["column"]
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in shown) >= SMALLEST_TEXT
    titles = [panel.title.get_window_extent() for panel in figure.axes if panel.get_title()]
    assert not any(first.overlaps(other) for i, first in enumerate(titles) for other in titles[:i])


def test_a_title_that_needs_lines_is_broken_behind_its_subject_and_into_lines_of_a_length(sources):
    run, concept = sources["run"][0], FIGURES["concept"].draw(width="column").get_suptitle()
    assert FIGURES["curves"].draw(run, width="page").get_suptitle().count("\n") == 0
    title = FIGURES["curves"].draw(run, width="column").get_suptitle()
    assert title.splitlines() == ["Training and stiffness:", "fashion_mnist, cnn, learning rate 0.0008"]
    first, second = map(len, concept.splitlines())
    assert abs(first - second) < 10


def test_the_titles_of_legends_that_share_a_column_are_told_from_its_entries():
    figure = new_figure(WIDTHS["column"], 2)
    add_legends(figure, *((title, [Line2D([], [], label="what takes most of a column")]) for title in ("one", "two")))
    (legend,) = figure.legends
    bold = [text.get_text() for text in legend.get_texts() if text.get_fontweight() == "bold"]
    assert bold == ["one", "two"]


def test_an_unknown_width_is_refused_with_the_known_ones(sources):
    with pytest.raises(InvalidInput, match="column or page"):
        draw(sources["run"][0], ["curves"], width="wide")
