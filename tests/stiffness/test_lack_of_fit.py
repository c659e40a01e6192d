"""Pairs that lie on a straight line are not told to bend, whatever else they do; pairs that bend are."""

import numpy as np
import pytest
from test_critical_length import curve_of

from tfstiff.stiffness.critical_length import RULES
from tfstiff.stiffness.critical_length.lack_of_fit import lack_of_fit


def drawn(
    rng, counts, counts2=None, *, bend=0.0, effect=0.1, noise=0.1, intercepts=(1.0,) * 4, widths=(0.5, 0.6, 0.7, 0.8)
):
    """A pair set whose values are 1 − 0.3 d + bend · d², with effects of examples, noise, and intercepts of classes."""
    halves = [np.repeat(np.arange(len(part)), part) for part in (counts, counts2) if part is not None]
    points = [rng.normal(size=(len(y), 3)) * np.array(widths)[y, None] for y in halves]
    effects = [effect * rng.normal(size=len(y)) for y in halves]
    distance = np.linalg.norm(points[0][:, None] - points[-1], axis=-1)
    error = noise * rng.normal(size=distance.shape)
    error = np.triu(error, 1) + np.triu(error, 1).T if counts2 is None else error
    line = np.array(intercepts)[halves[0]][:, None] - 0.3 * distance + bend * distance**2
    value = line + effects[0][:, None] + effects[-1] + error
    return curve_of(value, distance, halves[0], None if counts2 is None else halves[1])


@pytest.mark.parametrize(
    ("counts", "counts2", "options"),
    [
        ([20] * 4, None, {}),
        ([20] * 4, [15, 25, 20, 10], {}),
        ([60], None, {"effect": 0.3, "noise": 0.02}),
        ([60], None, {"effect": 0.0}),
        ([20] * 4, None, {"intercepts": (1.0, 1.2, 0.9, 1.4)}),
    ],
)
def test_straight_lines_are_told_to_bend_as_rarely_as_the_level_says(counts, counts2, options):
    rng = np.random.default_rng(0)
    by_group = "intercepts" in options
    found = np.array([lack_of_fit(drawn(rng, counts, counts2, **options), by_group=by_group) for _ in range(200)])
    assert np.isfinite(found).all()
    assert (found < 0.05).sum() <= 20  # 10 expected; more in 0.1 % of trials
    assert (found < 0.5).sum() >= 50  # nor is it so careful that it could find nothing


@pytest.mark.parametrize("bend", [0.08, -0.08])
@pytest.mark.parametrize("counts2", [None, [30] * 4])
def test_bent_curves_are_told(counts2, bend):
    rng = np.random.default_rng(1)
    assert max(lack_of_fit(drawn(rng, [30] * 4, counts2, bend=bend)) for _ in range(10)) < 0.01


def test_classes_that_differ_bend_the_pooled_curve_alone():
    # The classes that spread furthest are stiffest here: pooled pairs bend, each class lies on a line of its own.
    options = {"intercepts": (1.0, 1.0, 2.0, 2.0), "widths": (0.1, 0.1, 1.0, 1.0)}
    curve = drawn(np.random.default_rng(2), [40] * 4, **options, effect=0.02)
    assert RULES["linear"](curve).lack_of_fit < 0.01
    assert RULES["fixed_effects"](curve).lack_of_fit > 0.01
    assert np.isnan(RULES["first_crossing"](curve).lack_of_fit)


def test_units_of_distance_and_of_value_do_not_matter():
    value, distance, y = (part for part in _plain(np.random.default_rng(3)))
    one = lack_of_fit(curve_of(value, distance, y, None))
    other = lack_of_fit(curve_of(1e6 * value - 3, 1e-4 * distance, y, None, "l2"))
    assert 0 < one < 1
    assert other == pytest.approx(one, rel=1e-6)


def _plain(rng):
    points = rng.normal(size=(40, 2))
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    error = rng.normal(size=distance.shape)
    return error + error.T - distance, distance, np.zeros(40, int)


@pytest.mark.parametrize("counts", [[2], [4], [3, 3]])
def test_too_little_tells_nothing(counts):
    assert np.isnan(lack_of_fit(drawn(np.random.default_rng(4), counts)))


def test_a_perfect_line_does_not_bend():
    assert not lack_of_fit(drawn(np.random.default_rng(5), [30, 30], effect=0.0, noise=0.0)) < 0.01
