import dataclasses

import numpy as np
import pytest
from made_up import directions as made_up_directions
from synthetic_runs import series

from tfstiff.errors import InvalidInput
from tfstiff.figures import NothingToDraw, directions
from tfstiff.figures.directions import directions_numbers


@pytest.fixture
def measured():
    """The first measurement knows of no direction yet."""
    rng = np.random.default_rng(0)
    first, *others = series(4, 3)
    return [first, *(dataclasses.replace(m, directions=made_up_directions(3, rng)) for m in others)]


@pytest.mark.parametrize("effect", ["helped", "cosine"])
def test_lines_are_the_classes_and_their_mean(measured, effect):
    figure = directions(measured, effect=effect)
    assert len(figure.axes) == 4  # two directions with effects, two halves
    for panel, (name, half) in zip(
        figure.axes, [(n, h) for n in ("update", "class_means") for h in ("train", "validation")], strict=True
    ):
        *lines, mean = [line for line in panel.lines if len(line.get_xdata()) == 4]
        effects = [getattr(m.directions[name], half) for m in measured[1:]]
        np.testing.assert_array_equal(mean.get_ydata(), [np.nan, *(getattr(e, f"mean_{effect}") for e in effects)])
        for c, line in enumerate(lines):
            own = c if name == "class_means" else 0
            expected = [np.nan, *(getattr(one, effect)[own, c] for one in effects)]
            np.testing.assert_array_equal(line.get_ydata(), expected)
    header, rows = directions_numbers(measured, effect=effect)
    assert header == ["step", "epoch", "direction", "half", "class", effect, f"{effect}_se"]
    assert len(rows) == 3 * 4 * 4
    effects = measured[-1].directions["class_means"].validation
    last = [row for row in rows if row[:1] == [measured[-1].step] and row[2:4] == ["class_means", "validation"]]
    assert [row[5] for row in last] == [*np.diagonal(getattr(effects, effect)), getattr(effects, f"mean_{effect}")]


def test_many_classes_have_their_mean_alone_and_targets_without_classes_one_line():
    for count, of in ((12, 12), (0, 1)):
        m = dataclasses.replace(series(1, count)[0], directions=made_up_directions(of))
        for panel in directions([m]).axes:
            assert len([line for line in panel.lines if line.get_linewidth() > 1.5]) == 1
            assert len(panel.lines) == 2  # and one half
        labels = {row[4] for row in directions_numbers([m])[1]}
        assert len(labels) == of + (of > 1)


def test_nothing_to_draw(measured):
    with pytest.raises(NothingToDraw, match="--directions update"):
        directions(series(2, 3))
    with pytest.raises(InvalidInput, match="no such effect"):
        directions(measured, effect="sign")
