import math

import numpy as np
import pytest

from tfstiff.figures import concept
from tfstiff.figures.concept import concept_numbers


def test_the_three_cases_stand_side_by_side():
    figure = concept()
    figure.canvas.draw()
    assert [axes.get_title() for axes in figure.axes[:3]] == ["stiff", "not stiff", "anti-stiff"]
    signs = [next(t.get_text() for t in axes.texts if "ΔL$_2$" in t.get_text())[-3:] for axes in figure.axes[:3]]
    assert signs == ["< 0", "= 0", "> 0"]


def test_losses_and_gradients_tell_the_same():
    figure = concept()
    for losses, (_, angle, cosine, sign, first, second) in zip(figure.axes[:3], concept_numbers()[1], strict=True):
        assert cosine == pytest.approx(math.cos(math.radians(angle)), abs=1e-15)
        assert (first, second) == (-1, -cosine)
        changes = [np.diff(line.get_ydata())[0] for line in losses.lines if len(line.get_ydata()) == 40]
        assert np.sign(changes).tolist() == [-1, -sign]
