import dataclasses

import numpy as np
import pytest
from synthetic_runs import series

from tfstiff.figures import NothingToDraw, statistics
from tfstiff.figures.half_statistics import statistics_numbers
from tfstiff.stiffness.statistics import STATISTICS


def with_statistics(measured, value):
    names = [name for statistic in STATISTICS for name, _ in statistic.columns()]
    sets = {
        name: dataclasses.replace(found, statistics=dict.fromkeys(names, value) if name != "train_val" else {})
        for name, found in measured.pair_sets.items()
    }
    return dataclasses.replace(measured, pair_sets=sets)


def test_every_statistic_has_a_panel_with_a_line_a_half():
    figure = statistics([with_statistics(one, index) for index, one in enumerate(series(3))])
    assert [panel.get_title() for panel in figure.axes] == [one.name.replace("_", " ") for one in STATISTICS]
    for panel in figure.axes:
        assert [line.get_ydata().tolist() for line in panel.lines if line.get_label() != "_axis break"] == [
            [0, 1, 2]
        ] * 2


@pytest.mark.parametrize("width", ["column", "page"])
def test_only_the_lowest_panel_of_a_column_says_what_its_axis_is(width):
    figure = statistics([with_statistics(one, index) for index, one in enumerate(series(3))], width=width)
    lowest = {}
    for panel in figure.axes:
        lowest[panel.get_subplotspec().colspan.start] = panel
    assert [panel for panel in figure.axes if panel.get_xlabel()] == sorted(lowest.values(), key=figure.axes.index)
    assert figure.get_figheight() < 9  # inches, which a page of a paper has for its text


def test_a_statistic_without_a_number_has_none():
    measured = [with_statistics(one, np.inf if index else 1.0) for index, one in enumerate(series(2))]
    assert np.isnan(statistics(measured).axes[0].lines[0].get_ydata()[1])
    with pytest.raises(NothingToDraw):
        statistics(series(2))


def test_a_single_measurement_has_no_course():
    with pytest.raises(NothingToDraw, match="no course"):
        statistics([with_statistics(series(1)[0], 1.0)])


def test_the_numbers_are_those_of_the_records():
    header, rows = statistics_numbers([with_statistics(one, 0.5) for one in series(2)])
    assert len(rows) == 4
    assert set(rows[0][3:]) == {0.5}
    assert "gradient_disparity_se" in header
