import numpy as np
import pytest
from oracles.direct import Space, compared_pairs, sums_of

from tfstiff.stiffness import pair_set_stiffness
from tfstiff.stiffness.critical_length import CriticalLengthRule
from tfstiff.stiffness.critical_length.first_crossing import ABOVE, BELOW, crossing_of_curve
from tfstiff.stiffness.resampling import bootstrap


@pytest.mark.parametrize(
    ("means", "crossing"),
    [
        ([0.4, 0.2, -0.2, -0.4], 2.5),
        ([0.4, -0.2, 0.2, -0.2, -0.4], 3.5),  # one bin below alone does not count
        ([-0.1, -0.2, 0.3, 0.4], BELOW),
        ([-0.1, 0.2, -0.3, -0.4], 2.4),
        ([0.3, 0.2, 0.1], ABOVE),
        ([0.3, 0.2, -0.1], ABOVE),
        ([-0.1], ABOVE),
    ],
)
def test_the_first_crossing_is_where_two_in_a_row_lie_below(means, crossing):
    places = np.arange(1.0, len(means) + 1)
    assert crossing_of_curve(places, np.array(means)) == pytest.approx(crossing)
    assert crossing_of_curve(places, np.array([means] * 3)) == pytest.approx([crossing] * 3)


def falling(rng, counts, is_symmetric=True, shift=0.0, effect=0.1):
    """Values `1 - 2 d` with effects of examples and noise, distances up to 1; the zero is at 0.5 - shift / 2."""
    halves = [np.repeat(np.arange(len(counts)), counts) for _ in range(1 if is_symmetric else 2)]
    places, effects = ([draw(size=len(y)) for y in halves] for draw in (rng.uniform, rng.normal))
    distance = np.abs(places[0][:, None] - places[-1])
    value = 1 - shift - 2 * distance + effect * (effects[0][:, None] + effects[-1])
    noise = 0.2 * rng.normal(size=value.shape)
    return (
        value + (noise + noise.T if is_symmetric else noise),
        distance,
        halves[0],
        None if is_symmetric else halves[1],
    )


def estimate(value, distances, y, y2, distance="cosine"):
    sums = sums_of(value, y, y2, spaces={"input": Space(distances)})
    rule = CriticalLengthRule("first_crossing", distance=distance)
    return pair_set_stiffness(sums, has_classes=True, rule=rule).critical_length


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_crossings_are_found_with_an_interval(is_symmetric):
    data = falling(np.random.default_rng(0), [30, 30], is_symmetric)
    length = estimate(*data)
    assert length.value == pytest.approx(0.5, abs=0.08)
    assert length.low < length.value < length.high
    assert length.high - length.low < 0.4
    assert (length.status, length.interval, length.method) == ("ok", "bounded", "first_crossing")
    assert np.isnan([length.intercept, length.slope]).all()


def test_halves_may_differ_in_size():
    value, distance, y, y2 = falling(np.random.default_rng(7), [30, 30], is_symmetric=False)
    length = estimate(value[:, :50], distance[:, :50], y, y2[:50])
    assert length.low < length.value < length.high
    flipped = estimate(value[:, :50].T, distance[:, :50].T, y2[:50], y)
    assert flipped.value == pytest.approx(length.value)
    assert flipped.high - flipped.low == pytest.approx(length.high - length.low, rel=0.1)


@pytest.mark.parametrize(("shift", "status"), [(-3.0, "beyond"), (3.0, "all_nonpositive")])
def test_curves_that_do_not_cross(shift, status):
    length = estimate(*falling(np.random.default_rng(1), [40], shift=shift))
    assert length.status == status
    assert np.isnan(length.value)
    assert np.inf in (length.low, length.high) or -np.inf in (length.low, length.high)


def test_similarities_are_walked_from_the_largest():
    value, distance, y, _ = falling(np.random.default_rng(2), [40])
    one = estimate(value, distance, y, None)
    two = estimate(value, 1 - distance, y, None, distance="cosine_similarity")
    assert two.value == pytest.approx(1 - one.value, abs=0.02)
    assert (two.low, two.high) == pytest.approx((1 - one.high, 1 - one.low), abs=0.02)


@pytest.mark.parametrize(("is_symmetric", "effect"), [(True, 0.4), (False, 0.05)])
def test_the_interval_of_the_first_crossing_holds_the_truth(is_symmetric, effect):
    found = []
    for seed in range(250):
        data = falling(np.random.default_rng([seed, 1]), [50, 50], is_symmetric, effect=effect)
        found.append(estimate(*data))
    held = [one.low <= 0.5 <= one.high for one in found if one.status == "ok"]
    assert len(held) > 240
    assert 0.91 < np.mean(held) < 0.985  # 250 probes leave ±1.4 %


def test_the_noise_of_pairs_counts_once():
    """Of noise alone, the moves of examples are too wide by √2 until they are scaled."""
    found = [estimate(*falling(np.random.default_rng([seed, 2]), [60, 60], effect=0.0)) for seed in range(100)]
    widths = [one.high - one.low for one in found if one.status == "ok"]
    assert len(widths) > 95
    spread = np.std([one.value for one in found if one.status == "ok"])
    assert np.median(widths) / (2 * 1.96) == pytest.approx(spread, rel=0.2)


def test_few_pairs_have_no_crossing():
    assert estimate(*falling(np.random.default_rng(4), [4])).status == "too_few_pairs"


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_the_bootstrap_of_a_mean_has_the_width_of_its_error(is_symmetric):
    value, distance, y, y2 = falling(np.random.default_rng(5), [40], is_symmetric)
    rows, columns = compared_pairs(Space(distance), y, y2)
    values = value[rows, columns]

    def mean(*weights):
        of_pairs = weights[0][:, rows] * weights[-1][:, columns]
        return of_pairs @ values / of_pairs.sum(1)

    sides = (y,) if is_symmetric else (y, y2)
    low, high = bootstrap(sides, mean, 2000, numbers_each=len(rows))
    found = pair_set_stiffness(sums_of(value, y, y2), has_classes=False)
    assert (high - low) / (2 * 1.96) == pytest.approx(found.mean_cosine_se, rel=0.15)
    assert low < values.mean() < high


def test_replicates_are_drawn_one_by_one_where_each_holds_much():
    sizes = []

    def mean(weights):
        sizes.append(len(weights))
        return weights @ np.arange(8.0) / 8

    low, high = bootstrap((np.zeros(8, int),), mean, 60, numbers_each=10**7)
    assert sizes == [1] * 60
    assert low < 3.5 < high
