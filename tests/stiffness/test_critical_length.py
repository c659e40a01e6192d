import numpy as np
import pytest
from oracles.direct import Space, sums_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.critical_length import RULES, SCALES, CriticalLengthRule, Curve
from tfstiff.stiffness.critical_length.linear import lengths_of_classes
from tfstiff.stiffness.distance import distance_profile
from tfstiff.stiffness.intervals import interval, quantile, zero_of_a_line
from tfstiff.stiffness.lines import fit_lines
from tfstiff.stiffness.strata import strata_of


def probe(rng, counts, counts2=None, *, slope=-2.0, noise=0.1, effect=0.1, intercepts=None):
    """Values, distances and classes of a pair set with lines `intercept - 2 d`, effects of examples and noise."""
    halves = [np.repeat(np.arange(len(part)), part) for part in (counts, counts2) if part is not None]
    intercepts = np.ones(len(counts)) if intercepts is None else np.asarray(intercepts)
    places = [rng.uniform(size=len(y)) * (0.6 + 0.2 * y) for y in halves]
    effects = [effect * rng.normal(size=len(y)) for y in halves]
    first, last = (0, -1)
    distance = np.abs(places[first][:, None] - places[last])
    error = noise * rng.normal(size=distance.shape)
    error = np.triu(error, 1) + np.triu(error, 1).T if counts2 is None else error
    value = intercepts[halves[0]][:, None] + slope * distance + effects[first][:, None] + effects[last] + error
    return value, distance, halves[0], None if counts2 is None else halves[1]


def sums(value, distance, y, y2, **space):
    return sums_of(value, y, y2, spaces={"input": Space(distance, **space)}).distance["input"]


def curve_of(value, distance, y, y2, kind="cosine"):
    found = sums(value, distance, y, y2)
    strata = strata_of(found, None if y2 is None else len(y))
    sides = (y,) if y2 is None else (y, y2)
    return Curve(found, strata, distance_profile(found, strata), sides, "cosine", SCALES[kind])


def lengths(*data, kind="cosine"):
    """By the lines through all pairs, with fixed effects, and of each class."""
    curve = curve_of(*data, kind=kind)
    return RULES["linear"](curve), RULES["fixed_effects"](curve), lengths_of_classes(curve)


def pairs_of(value, distance, y, y2):
    same = y[:, None] == (y if y2 is None else y2)
    rows, columns = np.nonzero(np.triu(same, 1) if y2 is None else same)
    return value[rows, columns], distance[rows, columns], y[rows]


def fitted(value, distance, y, y2):
    """(2, 2 + K): intercepts and slopes by least squares on the pairs themselves."""
    s, d, group = pairs_of(value, distance, y, y2)
    classes = np.unique(group)
    dummies = (group[:, None] == classes).astype(float)
    common = np.linalg.lstsq(np.column_stack([dummies, d]), s, rcond=None)[0]
    lines = [np.polyfit(d, s, 1)[::-1], (common[:-1].mean(), common[-1])]
    return np.array([*lines, *(np.polyfit(d[group == a], s[group == a], 1)[::-1] for a in classes)]).T


SHAPES = [([6, 7, 9], None), ([6, 7, 9], [5, 8, 4]), ([12], None), ([12], [9])]


@pytest.mark.parametrize(("counts", "counts2"), SHAPES)
def test_lines_are_those_of_least_squares(counts, counts2):
    data = probe(np.random.default_rng(0), counts, counts2, intercepts=1 + 0.2 * np.arange(len(counts)))
    found = sums(*data)
    lines = fit_lines(found, strata_of(found, None if counts2 is None else len(data[2])), "cosine")
    np.testing.assert_allclose([lines.intercept, lines.slope], fitted(*data))


@pytest.mark.parametrize(("counts", "counts2"), SHAPES)
def test_covariances_are_those_of_leaving_examples_out_less_the_noise(counts, counts2):
    # Without noise of pairs, what is taken off vanishes beside the jackknife, which can be had by fitting again.
    data = probe(np.random.default_rng(1), counts, counts2, noise=0.0)
    value, distance, y, y2 = data
    found = sums(*data)
    strata = strata_of(found, None if y2 is None else len(y))
    lines = fit_lines(found, strata, "cosine")
    whole = fitted(*data)
    total = np.zeros_like(lines.covariance)
    share = found.group_moments[:, 0] / found.group_moments[:, 0].sum()
    for side, classes in enumerate((y,) if y2 is None else (y, y2)):
        for a in range(len(counts)):
            changes = []
            for i in np.flatnonzero(classes == a):
                kept = np.arange(len(classes)) != i
                if y2 is None:
                    part = fitted(value[kept][:, kept], distance[kept][:, kept], y[kept], None)
                elif side == 0:
                    part = fitted(value[kept], distance[kept], y[kept], y2)
                else:
                    part = fitted(value[:, kept], distance[:, kept], y, y2[kept])
                changes.append(part - whole)
            changes = np.array(changes) - np.mean(changes, 0)
            for line, weight in ((0, share[a]), (1, share[a]), (2 + a, 1.0)):
                factor = strata.factors(np.full(len(counts), weight))[side][a]
                total[line] += factor * changes[:, :, line].T @ changes[:, :, line]
    # To first order: effects of examples alone leave residuals that are noise as well, of second order.
    diagonal = np.einsum("lii->li", total)
    ratio = np.einsum("lii->li", lines.covariance) / diagonal
    assert (ratio < 1).all()
    assert (ratio > 0.3).all()


def test_independent_pairs_have_the_textbook_covariance():
    rng = np.random.default_rng(2)
    data = probe(rng, [150], effect=0.0)
    found = sums(*data)
    lines = fit_lines(found, strata_of(found, None), "cosine")
    _, d, _ = pairs_of(*data)
    design = np.column_stack([np.ones_like(d), d])
    textbook = 0.1**2 * np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(np.diag(lines.covariance[0]), np.diag(textbook), rtol=0.5)


def test_a_perfect_line_has_no_error():
    data = probe(np.random.default_rng(3), [9, 9], noise=0.0, effect=0.0)
    first, second, by_class = lengths(*data)
    assert first.value == pytest.approx(0.5)
    assert second.value == pytest.approx(0.5)
    np.testing.assert_allclose(by_class.value, 0.5)
    assert (first.low, first.high) == pytest.approx((0.5, 0.5), abs=1e-5)
    assert (first.status, first.interval, first.method, second.method) == ("ok", "bounded", "linear", "fixed_effects")


def test_fixed_effects_are_not_misled_by_compact_classes():
    # Within each class stiffness does not fall; the compact class is stiffer.
    data = probe(np.random.default_rng(4), [30, 30], slope=0.0, intercepts=[0.5, 0.1])
    first, second, by_class = lengths(*data)
    assert first.slope < -0.05
    assert abs(second.slope) < 0.05
    assert second.status == "no_decay"
    assert len(by_class.status) == len(by_class.interval) == 2


@pytest.mark.parametrize("counts2", [None, [8, 5]])
def test_similarities_are_distances_turned_round(counts2):
    data = probe(np.random.default_rng(5), [7, 8], counts2)
    value, distance, y, y2 = data
    one = lengths(*data)
    two = lengths(value, 1 - distance, y, y2, kind="cosine_similarity")
    for first, second in zip(one[:2], two[:2], strict=True):
        assert (second.value, second.low, second.high) == pytest.approx(
            (1 - first.value, 1 - first.high, 1 - first.low)
        )
        assert (first.status, first.interval) == (second.status, second.interval)
        assert second.slope == pytest.approx(-first.slope)


@pytest.mark.parametrize(("factor", "status"), [(1.0, "ok"), (1.5, "extrapolated"), (2.5, "beyond")])
def test_without_a_bound_far_is_twice_the_largest_observed(factor, status):
    rng = np.random.default_rng(6)
    _, distance, y, y2 = probe(rng, [12])
    distance = 10 * distance / distance.max()
    value = 1 - distance / (9.9 * factor)
    assert RULES["linear"](curve_of(value, distance, y, y2, "l2")).status == status


def test_a_fall_that_is_not_significant_is_no_decay_but_has_its_value():
    data = probe(np.random.default_rng(3), [8], slope=-0.5, effect=0.5)
    length = RULES["linear"](curve_of(*data))
    assert length.status == "no_decay"
    assert length.slope < 0
    assert length.value == -length.intercept / length.slope
    assert length.interval in ("complement", "unbounded")


def test_fieller_holds_what_it_says():
    rng = np.random.default_rng(9)
    number = 200
    intercept, slope = rng.normal(size=(2, number))
    factor = rng.normal(size=(number, 2, 2)) * 0.4
    covariance = factor @ factor.swapaxes(1, 2)
    degrees = rng.integers(3, 50, number).astype(float)
    entries = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    low, high, kinds = zero_of_a_line(intercept, slope, entries, degrees)
    assert set(kinds) == {"bounded", "complement", "unbounded"}
    places = np.linspace(-30, 30, 4001)
    for line in range(number):
        error = entries[0][line] + 2 * places * entries[1][line] + places**2 * entries[2][line]
        inside = (intercept[line] + slope[line] * places) ** 2 <= quantile(degrees[line]) ** 2 * error
        told = {
            "bounded": (low[line] <= places) & (places <= high[line]),
            "complement": (places <= high[line]) | (low[line] <= places),
            "unbounded": np.ones_like(inside),
        }[kinds[line]]
        assert (inside == told).mean() > 0.999


def test_intervals_are_students():
    low, high = interval(1.0, 0.5, 10)
    assert (low, high) == pytest.approx((1 - 0.5 * 2.2281388, 1 + 0.5 * 2.2281388))
    assert interval(0.0, 1.0)[1] == pytest.approx(1.9599640)


@pytest.mark.parametrize("counts2", [None, [20, 25]])
def test_a_line_through_bins_weighs_them_by_their_errors(counts2):
    data = probe(np.random.default_rng(10), [25, 25], counts2)
    curve = curve_of(*data)
    profile, length = curve.profile, RULES["linear_binned"](curve)
    used = profile.mean_se > 0
    centres = (profile.edges[:-1] + profile.edges[1:])[used] / 2
    slope, intercept = np.polyfit(centres, profile.mean[used], 1, w=1 / profile.mean_se[used])
    assert (length.slope, length.intercept) == pytest.approx((slope, intercept))
    assert length.low < 0.5 < length.high
    assert (length.method, length.status, length.interval) == ("linear_binned", "ok", "bounded")


def test_few_pairs_have_no_line_through_bins():
    length = RULES["linear_binned"](curve_of(*probe(np.random.default_rng(11), [5])))
    assert (length.status, length.interval) == ("too_few_pairs", "unavailable")


@pytest.mark.parametrize("name", RULES)
def test_every_rule_says_its_name_and_finds_a_clear_zero(name):
    data = probe(np.random.default_rng(12), [40, 40], noise=0.05, effect=0.02)
    rule = CriticalLengthRule(name)
    rule.check("within")
    length = rule.length(curve_of(*data))
    assert (length.method, length.metric, length.status) == (name, "cosine", "ok")
    assert length.value == pytest.approx(0.5, abs=0.05)
    assert length.low < length.value < length.high


def test_fixed_effects_need_pairs_of_classes():
    with pytest.raises(InvalidInput, match="pairs of the same class"):
        CriticalLengthRule("fixed_effects").check("all")
    with pytest.raises(InvalidInput, match="class by class"):
        RULES["fixed_effects"](curve_of(*probe(np.random.default_rng(13), [9])))
    CriticalLengthRule("linear").check("all")


@pytest.mark.parametrize("wrong", [{"method": "isotonic"}, {"metric": "cos"}, {"distance": "l3"}])
def test_a_rule_of_unknown_names(wrong):
    with pytest.raises(InvalidInput, match="Unknown"):
        CriticalLengthRule(**wrong)
