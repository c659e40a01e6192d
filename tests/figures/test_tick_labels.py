"""Labels of ticks have room, and say as much as they can."""

import pytest

from tfstiff.figures.style import drawing_style, new_figure
from tfstiff.figures.tick_labels import RoomyLabels

DECADES = [0.001, 0.01, 0.1, 1, 10, 100]


def shown(width, ticks, limits, scale="log"):
    with drawing_style():
        figure = new_figure(width, 1.0)
        panel = figure.subplots()
        panel.set_xscale(scale)
        panel.set_xticks(ticks)
        panel.set_xlim(*limits)
        panel.xaxis.set_major_formatter(RoomyLabels(lambda place: f"{place:g}"))
        figure.draw_without_rendering()
        return [label.get_text() for label in panel.get_xticklabels()]


def test_where_there_is_room_every_tick_has_its_label():
    assert shown(5.0, DECADES, (0.0005, 200)) == ["0.001", "0.01", "0.1", "1", "10", "100"]


def test_in_a_narrow_panel_the_ends_come_first_and_then_the_later_ones():
    assert shown(1.35, DECADES, (0.0005, 200)) == ["0.001", "", "0.1", "1", "10", "100"]
    assert shown(0.6, DECADES, (0.0005, 200)) == ["", "", "", "", "", "100"]


@pytest.mark.parametrize("width", [0.8, 1.2, 2.0, 4.0])
def test_a_tick_beyond_the_axis_takes_no_room(width):
    inside = [0.1, 1, 10]
    without = [text for text in shown(width, inside, (0.09, 11)) if text]
    assert [text for text in shown(width, [0.089, *inside, 11.1], (0.09, 11)) if text] == without
    assert "10" in without


def test_an_axis_that_is_turned_round_has_labels_too():
    assert shown(5.0, [1, 2, 3], (3, 1), "linear") == ["1", "2", "3"]
