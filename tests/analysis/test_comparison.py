import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau
from synthetic_runs import critical_length, measurement, write_run

from tfstiff import RunSpec, at_training_loss
from tfstiff.analysis.comparison import (
    Milestone,
    Observation,
    common_epochs,
    common_losses,
    compare,
    default_milestones,
    difference,
    families,
    group_runs,
    known_quantities,
    observe,
    over_seeds,
    trend,
)
from tfstiff.analysis.comparison.observations import censored
from tfstiff.analysis.loss_level import at_loss_level
from tfstiff.errors import InvalidInput
from tfstiff.records import scalar_row

NAN, INFINITY = math.nan, math.inf
EPOCHS = (0, 0.5, 1, 2, 5, 10)
LENGTH = "stiffness_critical_length_train_val"


def exactly(*values):
    return [Observation(value, value, 0.01, value - 0.02, value + 0.02) for value in values]


def above(value):
    return Observation(value, INFINITY, status="censored")


def below(value):
    return Observation(-INFINITY, value, status="censored")


MISSING = Observation(NAN, NAN, status="no_decay")


def run_of(folder, spec=None, epochs=EPOCHS, speed=1.0, status="completed"):
    """A run whose training is as far at epoch e as another's at `speed` e."""
    spec = spec or RunSpec()
    found = [
        measurement(round(100 * epoch), float(epoch), min(1, speed * epoch / 12), 3, seed=spec.seed) for epoch in epochs
    ]
    return write_run(folder, found, spec.as_config(), status)


# ---- groups


def test_runs_are_grouped_by_everything_but_the_seed(tmp_path):
    specs = [
        RunSpec(learning_rate=rate, arch=arch, seed=seed)
        for seed in (1, 0)
        for arch in ("fc", "cnn")
        for rate in (8e-4, 1e-4)
    ]
    runs = [run_of(tmp_path / str(i), spec, (0,)) for i, spec in enumerate(specs)]
    groups, repeated = group_runs(runs)
    assert [dict(group.settings) for group in groups] == [
        {"arch": arch, "learning_rate": rate} for arch in ("cnn", "fc") for rate in (1e-4, 8e-4)
    ]
    assert all(list(group.runs) == [0, 1] for group in groups)
    assert groups[0].label == "arch cnn, learning rate 0.0001"
    assert not repeated


def test_where_a_run_is_computed_makes_no_group(tmp_path):
    specs = [
        RunSpec(),
        RunSpec(seed=1, data_dir="/data", offline=True, memory_limit=10**9, keep_gram=True, keep_models=True),
    ]
    groups, _ = group_runs([run_of(tmp_path / str(i), spec, (0,)) for i, spec in enumerate(specs)])
    assert [list(group.runs) for group in groups] == [[0, 1]]
    assert groups[0].label == "all runs"


def test_runs_of_other_weights_are_apart_and_those_of_older_versions_are_of_all(tmp_path):
    settings = {}
    for name, weights in (("plain", "all"), ("head", "head")):
        found = [replace(measurement(0, 0.0, 0, 3), weights=weights)]
        for kind, spec in (
            ("run", RunSpec(weights=weights).as_config()),
            ("older", {key: value for key, value in RunSpec().as_config().items() if key != "weights"}),
            ("callback", {}),
        ):
            settings[name, kind] = write_run(tmp_path / f"{name}-{kind}", found, spec)
    for kind in ("run", "callback"):
        groups, _ = group_runs([settings["plain", kind], settings["head", kind]])
        assert [dict(group.settings) for group in groups] == [{"weights": "all"}, {"weights": "head"}]
        assert groups[1].label == "weights head"
    groups, _ = group_runs([settings["plain", "run"], settings["plain", "older"]])
    assert [dict(group.settings) for group in groups] == [{}]


def test_a_seed_counts_once(tmp_path):
    runs = [run_of(tmp_path / name, RunSpec(seed=3), (0,)) for name in "ab"]
    groups, repeated = group_runs(runs)
    assert [list(group.runs) for group in groups] == [[3]]
    assert repeated == runs[1:]


def test_families_are_groups_that_differ_in_the_learning_rate_alone(tmp_path):
    specs = [RunSpec(learning_rate=rate, arch=arch) for arch in ("fc", "cnn") for rate in (8e-4, 1e-4, 4e-4)][:5]
    groups, _ = group_runs([run_of(tmp_path / str(i), spec, (0,)) for i, spec in enumerate(specs)])
    (family,) = families(groups)
    assert [group.settings for group in family] == [
        {"arch": "fc", "learning_rate": rate} for rate in (1e-4, 4e-4, 8e-4)
    ]


# ---- one run


def test_at_an_epoch_the_measurement_of_that_epoch(tmp_path):
    run = run_of(tmp_path / "run")
    found = observe(run, "stiffness_sign_between_train_val", Milestone("epoch", 2))
    sign = run.measurements[3]["train_val"].sign
    assert (found.low, found.high, found.se, found.status) == (sign.between, sign.between, sign.between_se, "ok")
    assert observe(run, "train_loss", Milestone("epoch", 2.004)).low == run.measurements[3].train.loss
    assert observe(run, "train_loss", Milestone("epoch", 0)).low == run.measurements[0].train.loss
    assert observe(run, "train_loss", Milestone("epoch", 3)).status == "not_measured"
    assert observe(run, "stiffness_sign_between_train_val", Milestone("epoch", 20)).is_missing


def _interpolated(run, name, level):
    rows = [scalar_row(m) for m in run.measurements]
    return at_loss_level([row["train_loss"] for row in rows], [row[name] for row in rows], level).value


@pytest.mark.parametrize("level", [2.2, 1.5, 0.9])
def test_at_a_training_loss_as_at_training_loss_says(tmp_path, level):
    run = run_of(tmp_path / "run")
    expected = at_training_loss(run, level)
    for name in known_quantities([run]):
        if name == "train_loss" or expected[name].status == "censored":
            continue
        found = observe(run, name, Milestone("train_loss", level))
        assert repr(found) == repr(expected[name])
        assert found.low == found.high == pytest.approx(_interpolated(run, name, level), rel=1e-9)
    found = observe(run, "train_loss", Milestone("train_loss", level))
    assert found.low == pytest.approx(level, rel=0.2)


def test_a_loss_that_is_not_there(tmp_path):
    run = run_of(tmp_path / "run")
    statuses = [observe(run, "validation_loss", Milestone("train_loss", level)).status for level in (0.01, 3.0)]
    assert statuses == ["not_reached", "begins_below"]


def test_a_diverged_run_counts_until_it_diverged(tmp_path):
    found = [measurement(100 * i, float(i), i / 12, 3) for i in range(4)]
    found[3] = replace(found[3], train=replace(found[3].train, loss=NAN))
    run = write_run(tmp_path / "run", found, RunSpec().as_config(), "diverged")
    assert observe(run, "train_loss", Milestone("epoch", 2)).status == "ok"
    assert observe(run, "train_loss", Milestone("epoch", 3)).status == "undefined"
    assert observe(run, "validation_loss", Milestone("train_loss", 2.0)).status == "ok"
    assert observe(run, "validation_loss", Milestone("train_loss", 1.5)).status == "not_reached"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (critical_length(0.9, -1.2), exactly(0.75)[0]),
        (critical_length(0.9, -0.8), above(0.9)),  # extrapolated
        (critical_length(0.9, -0.1), above(0.9)),  # beyond
        (critical_length(0.01, -1.0), below(0.05)),
    ],
)
def test_what_lies_beyond_the_distances_observed_is_a_bound(length, expected):
    found = censored(length)
    assert (found.low, found.high, found.status) == (
        pytest.approx(expected.low),
        pytest.approx(expected.high),
        expected.status,
    )
    if found.status == "ok":
        assert (found.interval_low, found.interval_high) == (length.low, length.high)
    taken = censored(length, extrapolate=True)
    assert taken.low == taken.high == length.value


def test_of_similarities_the_other_side():
    assert repr(censored(critical_length(0.9, -0.8), is_similarity=True)) == repr(below(0.05))
    assert repr(censored(critical_length(0.01, -1.0), is_similarity=True)) == repr(above(0.9))


def test_no_critical_length_is_made_up():
    length = critical_length(0.9, 0.1)
    for extrapolate in (False, True):
        found = censored(length, extrapolate=extrapolate)
        assert (found.is_missing, found.status) == (True, "no_decay")


def test_bounds_are_interpolated_like_values(tmp_path):
    run = run_of(tmp_path / "run")
    lengths = [m["train_val"].critical_length for m in run.measurements]
    assert [length.status for length in lengths][:3] != ["ok"] * 3
    milestone = Milestone("train_loss", 0.99 * run.measurements[1].train.loss)
    found = observe(run, LENGTH, milestone)
    assert found.high == INFINITY
    assert found.low == pytest.approx(0.9)
    extrapolated = observe(run, LENGTH, milestone, extrapolate=True)
    assert lengths[2].value < extrapolated.low < lengths[1].value


# ---- over seeds


@pytest.mark.parametrize("number", [1, 2, 5, 6, 9, 17, 30])
def test_the_interval_covers_the_median_as_often_as_it_says(number):
    random = np.random.default_rng(number)
    samples = random.exponential(size=(4000, number))
    found = over_seeds(exactly(*samples[0]))
    assert found.median_low == found.median_high == pytest.approx(np.median(samples[0]))
    assert found.num_seeds == number
    if number == 1:
        assert math.isnan(found.coverage)
        return
    ordered = np.sort(samples, axis=1)
    rank = int(np.flatnonzero(ordered[0] == found.low)[0])
    assert found.high == ordered[0, -1 - rank]
    covered = np.mean((ordered[:, rank] <= math.log(2)) & (math.log(2) <= ordered[:, -1 - rank]))
    assert covered == pytest.approx(found.coverage, abs=0.03)
    assert (found.coverage >= 0.95) == (number >= 6)


def test_mean_and_its_interval_against_scipy():
    from scipy.stats import t

    values = np.array([0.3, 0.5, 0.9, 0.4])
    found = over_seeds(exactly(*values))
    expected = t.interval(0.95, 3, values.mean(), values.std(ddof=1) / 2)
    assert (found.mean_low, found.mean_high) == pytest.approx(expected)
    assert found.standard_deviation == pytest.approx(values.std(ddof=1))
    assert found.probe_half_width == pytest.approx(0.02)
    assert found.center == (found.mean, found.mean)
    assert found.limits == (found.mean_low, found.mean_high)


def test_whatever_censored_values_are_the_median_is_within_its_bounds():
    random = np.random.default_rng(0)
    for _ in range(200):
        truth = random.normal(size=random.integers(1, 9))
        kinds = random.integers(0, 3, size=len(truth))
        observations = [
            (exactly(value)[0], above(value - random.random()), below(value + random.random()))[kind]
            for value, kind in zip(truth, kinds, strict=True)
        ]
        found = over_seeds(observations)
        assert found.median_low <= np.median(truth) <= found.median_high
        assert found.num_censored == np.count_nonzero(kinds)
        ordered = np.sort(truth)
        rank = 1 if len(truth) < 6 else 1 + (len(truth) >= 9)
        assert found.low <= ordered[rank - 1]
        assert ordered[-rank] <= found.high


def test_a_median_of_few_bounds_is_known():
    found = over_seeds([*exactly(0.3, 0.5), above(0.9)])
    assert (found.median_low, found.median_high, found.num_censored) == (0.5, 0.5, 1)
    assert math.isnan(found.mean)
    found = over_seeds([exactly(0.3)[0], above(0.9), above(0.8)])
    assert (found.median_low, found.median_high) == (0.8, INFINITY)
    found = over_seeds([above(0.9), below(0.1)])
    assert (found.median_low, found.median_high) == (-INFINITY, INFINITY)


def test_what_is_missing_is_counted():
    found = over_seeds([*exactly(1.0, 2.0), MISSING])
    assert (found.num_seeds, found.num_missing, found.median_low) == (2, 1, 1.5)
    nothing = over_seeds([MISSING])
    assert (nothing.num_seeds, nothing.num_missing) == (0, 1)
    assert math.isnan(nothing.median_low)


# ---- trends


def all_permutations(blocks):
    """The two-sided p-value of Page's statistic, by going through everything."""
    weights = np.arange(1, len(blocks[0]) + 1)
    observed = sum(float(np.dot(weights, block)) for block in blocks)
    sums = np.array(
        [
            sum(float(np.dot(weights, b)) for b in chosen)
            for chosen in itertools.product(*(list(itertools.permutations(b)) for b in blocks))
        ]
    )
    return min(1.0, 2 * min(np.mean(sums >= observed - 1e-9), np.mean(sums <= observed + 1e-9)))


def test_p_values_against_all_permutations():
    random = np.random.default_rng(1)
    for _ in range(10):
        ranks = [random.permutation(3) + 1.0 for _ in range(3)]
        assert trend([exactly(*block) for block in ranks]).p_value == pytest.approx(all_permutations(ranks))
    tied = [[1.5, 1.5, 3.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]]
    assert trend([exactly(*block) for block in tied]).p_value == pytest.approx(all_permutations(tied))


def test_tau_against_scipy():
    random = np.random.default_rng(2)
    blocks = random.normal(size=(4, 5))
    found = trend([exactly(*block) for block in blocks])
    assert found.tau == pytest.approx(np.mean([kendalltau(range(5), block).statistic for block in blocks]))
    assert (found.num_values, found.num_seeds, found.num_incomplete) == (5, 4, 0)


def test_few_seeds_are_not_tested():
    falling = exactly(5, 4, 3, 2, 1)
    assert [math.isnan(trend([falling] * number).p_value) for number in (1, 2, 3)] == [True, True, False]
    assert trend([falling] * 3).tau == -1
    assert trend([falling] * 3).p_value < 1e-4


def test_the_test_keeps_its_level():
    random = np.random.default_rng(3)
    p_values = [trend([exactly(*block) for block in random.normal(size=(3, 4))]).p_value for _ in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_differences_between_seeds_hide_no_trend():
    blocks = [exactly(*(100 * seed + np.arange(4))) for seed in (3, 0, 7)]
    assert trend(blocks).tau == 1


def test_bounds_are_compared_where_they_can_be():
    block = [*exactly(0.3, 0.5), above(0.9), above(0.8)]
    found = trend([block] * 3)
    assert found.tau == pytest.approx(5 / 6)  # all pairs but that of the two bounds
    assert found.p_value < 0.05
    nothing = trend([[above(0.9), above(0.8), above(0.7)]] * 3)
    assert (nothing.tau, nothing.p_value) == (0, 1)


def test_seeds_that_lack_something_are_left_out_and_counted():
    found = trend([exactly(1, 2, 3), [*exactly(3, 2), MISSING]])
    assert (found.tau, found.num_seeds, found.num_incomplete) == (1, 1, 1)
    found = trend([[MISSING] * 3])
    assert (found.num_seeds, found.num_incomplete) == (0, 1)


# ---- all together


@pytest.fixture
def runs(tmp_path):
    """Three learning rates of which each is as fast as it is high, and three seeds."""
    return [
        run_of(tmp_path / f"{rate}-{seed}", RunSpec(learning_rate=rate, seed=seed), speed=1 + 200 * rate)
        for rate in (1e-4, 4e-4, 1.6e-3)
        for seed in (0, 1, 2)
    ]


def test_a_comparison(runs):
    milestones = [Milestone("epoch", 5.0), Milestone("train_loss", 1.5)]
    found = compare(runs, ["train_loss", "validation_loss"], milestones)
    at_epoch = [found.summary("train_loss", milestones[0], group) for group in range(3)]
    for group, one in zip(found.groups, at_epoch, strict=True):
        losses = [run.measurements[4].train.loss for run in group.runs.values()]
        assert one.median_low == pytest.approx(np.median(losses))
    ((settings, falling),) = found.trends("train_loss", milestones[0])
    assert (settings, falling.tau, falling.num_seeds, falling.num_values) == ({}, -1, 3, 3)
    assert falling.p_value == pytest.approx(2 / 6**3)
    assert len(found.run_rows()) == 2 * 2 * 9
    assert len(found.summary_rows()) == 2 * 2 * 3
    assert len(found.trend_rows()) == 2 * 2


def test_there_must_be_a_run():
    with pytest.raises(InvalidInput):
        compare([], ["train_loss"], [])


def test_epochs_that_all_were_measured_at(tmp_path, runs):
    assert [milestone.at for milestone in common_epochs(runs)] == [1, 5, 10]  # 1, 3.2 and 10 as far as there are
    shorter = run_of(tmp_path / "shorter", epochs=(0, 0.5, 2, 5))
    assert [milestone.at for milestone in common_epochs([*runs, shorter])] == [0.5, 2, 5]
    assert common_epochs([*runs, run_of(tmp_path / "init", epochs=(0,))]) == []


def test_losses_that_all_came_down_to(tmp_path, runs):
    levels = [milestone.at for milestone in common_losses(runs)]
    lowest = max(min(m.train.loss for m in run.measurements) for run in runs)
    assert len(levels) == 3
    assert levels == sorted(levels, reverse=True)
    assert lowest <= levels[-1] <= 1.1 * lowest
    assert all(
        observe(run, "validation_loss", Milestone("train_loss", level)).status == "ok"
        for run in runs
        for level in levels
    )
    assert common_losses([*runs, run_of(tmp_path / "init", epochs=(0,))]) == []


def test_losses_that_were_asked_for(tmp_path):
    specs = [RunSpec(stop_at_loss=(1.5, 0.9, 0.4), seed=0), RunSpec(stop_at_loss=(1.5, 0.9), seed=1)]
    runs = [run_of(tmp_path / str(spec.seed), spec) for spec in specs]
    assert [milestone.at for milestone in common_losses(runs)] == [1.5, 0.9]


def test_losses_that_only_one_run_comes_down_to_are_not_compared(tmp_path):
    specs = [RunSpec(stop_at_loss=(1.5, 0.2), seed=seed) for seed in (0, 1)]
    runs = [run_of(tmp_path / "0", specs[0], speed=1.2), run_of(tmp_path / "1", specs[1], speed=1.0)]
    assert runs[0].measurements[-1].train.loss <= 0.2 < runs[1].measurements[-1].train.loss
    assert [milestone.at for milestone in common_losses(runs)] == [1.5]
    assert default_milestones(runs) == [*common_epochs(runs), *common_losses(runs)]


def test_the_learning_rate_of_a_callback_s_run_is_that_of_its_measurements(tmp_path):
    runs = []
    for rate in (1e-4, 1e-3):
        found = [replace(measurement(step, float(step), 0.1, 3), learning_rate=rate) for step in (0, 1)]
        runs.append(write_run(tmp_path / str(rate), found, {}))
    groups, _ = group_runs(runs)
    assert [group.settings for group in groups] == [{"learning_rate": 1e-4}, {"learning_rate": 1e-3}]


# ---- two groups


def test_the_interval_of_a_difference_over_seeds_is_that_of_welch():
    first, second = [1.0, 1.2, 0.9], [2.0, 2.5, 1.8, 2.2]
    # by hand: variances 7/300 and 107/1200, so that se² = 7/900 + 107/4800 and Satterthwaite's degrees are 4.721…
    parts = [np.var(g, ddof=1) / len(g) for g in (first, second)]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    rng = np.random.default_rng(0)
    t = np.quantile(np.abs(rng.standard_t(degrees, 2_000_000)), 0.95)  # independent of any table
    found = difference(exactly(*first), exactly(*second))
    middle = np.mean(second) - np.mean(first)
    assert (found.value, found.status, found.num_seeds) == (pytest.approx(middle), "ok", 3)
    half = t * math.sqrt(sum(parts))
    assert [found.low, found.high] == pytest.approx([middle - half, middle + half], rel=5e-3)


def test_bounds_and_single_seeds_have_no_difference():
    assert difference(exactly(1.0, 2.0), [*exactly(1.0), above(2.0)]).status == "censored"
    assert difference(exactly(1.0, 2.0), [*exactly(1.0), MISSING]).status == "few_seeds"
    assert math.isnan(difference(exactly(1.0), exactly(2.0)).value)
