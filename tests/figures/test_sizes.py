"""What is made for a column fits it, and can be read there."""

import dataclasses

import pytest
from made_up import directions
from matplotlib.text import Text
from synthetic_runs import series, write_run
from synthetic_sweeps import length, sweep, with_lengths
from test_statistics_figure import with_statistics

from tfstiff.errors import InvalidInput
from tfstiff.figures import FIGURES, draw
from tfstiff.figures.sizes import SMALLEST_TEXT, WIDTHS

GROUPS = {"tops": ("T-shirt/top", "Pullover", "Coat", "Shirt"), "shoes": ("Sandal", "Sneaker", "Ankle boot")}


def with_everything(measured):
    return dataclasses.replace(with_statistics(measured, 0.5), directions=directions(10))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    measured = with_lengths(series(2, 10), [length(0.6)] * 2, "a layer of a long name")
    run = write_run(tmp_path_factory.mktemp("one") / "run", [with_everything(one) for one in measured])
    runs = sweep(tmp_path_factory.mktemp("several"), rates=(1e-4, 8e-4, 3.2e-3), seeds=(0,), number=3)
    return {"run": [run], "runs": [runs], "nothing": []}


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


def test_an_unknown_width_is_refused_with_the_known_ones(sources):
    with pytest.raises(InvalidInput, match="column or page"):
        draw(sources["run"][0], ["curves"], width="wide")
