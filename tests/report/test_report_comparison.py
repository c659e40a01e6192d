import dataclasses
import math

import numpy as np
import pytest
from synthetic_runs import SPEC, series, write_run

from tfstiff import load_run
from tfstiff.analysis.loss_level import at_training_loss
from tfstiff.analysis.source import read_sources
from tfstiff.records import RunWriter
from tfstiff.report.comparison import (
    Point,
    Value,
    comparison_points,
    differing_settings,
    group_names,
    group_rows,
    quantities,
)
from tfstiff.report.comparison_findings import comparison_findings, difference_of_means

BETWEEN = "stiffness_cosine_between_train_val"
LENGTH = "stiffness_critical_length_train_val"


@pytest.fixture
def sources(tmp_path):
    """Of runs with these learning rates and seeds."""

    def make(pairs, **spec):
        runs = [
            write_run(
                tmp_path / f"lr{rate}-s{seed}",
                series(6, 3, seed=seed),
                spec={**SPEC, **spec, "learning_rate": rate, "seed": seed, "data_dir": f"/data/{seed}"},
            )
            for rate, seed in pairs
        ]
        return read_sources(runs)

    return make


def test_settings_without_a_bearing_and_seeds_do_not_make_groups(sources):
    found = sources([(1e-4, 0), (1e-4, 1), (1e-3, 0)])
    assert differing_settings(found) == ["learning_rate", "seed"]
    assert group_names(found) == ["learning_rate 0.0001", "learning_rate 0.0001", "learning_rate 0.001"]


def test_the_last_common_epoch_and_the_lowest_common_loss(sources):
    found = sources([(1e-4, 0), (1e-3, 1)])
    shorter = dataclasses.replace(found[1], measurements=found[1].measurements[:-1])
    both = [found[0], shorter]
    at_epoch, at_loss = comparison_points(both, "train_val")
    common = shorter.measurements[-1]
    assert at_epoch.title == f"At epoch {common.epoch:.3g}"
    assert [v.value for v in at_epoch.values[BETWEEN]] == [
        one.measurements[4]["train_val"].cosine.between for one in found
    ]
    level = float(at_loss.title.split()[-1])
    assert common.train.loss <= level <= 1.1 * common.train.loss  # two digits, upwards
    for source, value in zip(both, at_loss.values[BETWEEN], strict=True):
        assert value.value == at_training_loss(list(source.measurements), level)[BETWEEN].value


def test_losses_that_were_asked_for_are_compared(sources):
    found = sources([(1e-4, 0), (1e-3, 1)], stop_at_loss=[2.0, 0.5, 0.001])
    titles = [point.title for point in comparison_points(found, "train_val")]
    assert titles[1:] == ["At a training loss of 2", "At a training loss of 0.5"]


def test_a_critical_length_keeps_the_status_it_must_be_read_with(sources):
    found = sources([(1e-4, 0), (1e-3, 1)])
    early = [dataclasses.replace(one, measurements=one.measurements[:3]) for one in found]
    point = comparison_points(early, "train_val")[0]
    statuses = [one.measurements[2]["train_val"].critical_length.status for one in early]
    assert [value.note for value in point.values[LENGTH]] == statuses == ["extrapolated"] * 2


def test_the_interval_of_a_difference_over_seeds_is_that_of_welch():
    first, second = np.array([1.0, 1.2, 0.9]), np.array([2.0, 2.5, 1.8, 2.2])
    # by hand: variances 7/300 and 107/1200, so that se² = 7/900 + 107/4800 and Satterthwaite's degrees are 4.721…
    parts = [np.var(g, ddof=1) / len(g) for g in (first, second)]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    rng = np.random.default_rng(0)
    t = np.quantile(np.abs(rng.standard_t(degrees, 2_000_000)), 0.95)  # independent of any table
    found = difference_of_means(first, second)
    middle = second.mean() - first.mean()
    assert found.value == pytest.approx(middle)
    assert [found.low, found.high] == pytest.approx(
        [middle - t * math.sqrt(sum(parts)), middle + t * math.sqrt(sum(parts))], rel=5e-3
    )


def test_groups_of_seeds_have_t_intervals():
    rows = group_rows(["a", "a", "b"], [Value(1.0), Value(2.0), Value(5.0)])
    (name, values, mean), (_, alone, single) = rows
    assert (name, values.tolist(), mean.value) == ("a", [1.0, 2.0], 1.5)
    assert mean.high - mean.value == pytest.approx(12.7062 * math.sqrt(0.5) / math.sqrt(2), rel=1e-4)  # t(0.975, 1)
    assert (alone.tolist(), single.value) == ([5.0], 5.0)
    assert math.isnan(single.low)


def sentences(found, values, note=""):
    names = {BETWEEN: "cosine between classes"}
    point = Point("At epoch 5", {BETWEEN: [Value(value, note=note) for value in values]})
    return [s for _, texts in comparison_findings(found, [point], names, "train_val") for s in texts]


def test_groups_differ_only_where_their_seeds_say_so(sources):
    found = sources([(1e-4, 0), (1e-4, 1), (1e-4, 2), (1e-3, 0), (1e-3, 1), (1e-3, 2)])
    (apart,) = sentences(found, [0.10, 0.11, 0.12, 0.20, 0.21, 0.22])
    assert "The second is higher: the difference over seeds is 0.100" in apart
    (same,) = sentences(found, [0.10, 0.20, 0.12, 0.20, 0.11, 0.22])
    assert "cannot be told" in same
    (noted,) = sentences(found, [0.10, 0.11, 0.12, 0.20, 0.21, 0.22], note="beyond")
    assert "not compared" in noted
    (missing,) = sentences(found, [0.10, math.nan, math.nan, 0.20, 0.21, 0.22])
    assert "nothing can be told" in missing


def test_two_seeds_are_said_to_be_few(sources):
    found = sources([(1e-4, 0), (1e-4, 1), (1e-3, 0), (1e-3, 1)])
    (few,) = sentences(found, [0.10, 0.11, 0.90, 0.91])
    assert "Three to five seeds" in few


def test_one_training_of_each_tells_nothing_of_settings(sources):
    found = sources([(1e-4, 0), (1e-3, 0)])
    (text,) = sentences(found, [0.1, 0.9])
    assert "cannot be told without two seeds" in text
    assert "higher" not in text


def test_the_same_probe_is_compared_by_its_errors(tmp_path):
    runs = []
    for name, rate, probe in (("a", 1e-4, "x"), ("b", 1e-3, "x"), ("c", 1e-3, "y")):
        run = write_run(tmp_path / name, series(4, 3, seed=len(runs)), spec={**SPEC, "learning_rate": rate})
        RunWriter(run.folder).write_meta({"probe": {"sha256": probe}})
        runs.append(load_run(run.folder))
    a, b, c = read_sources(runs)
    names = quantities([a, b], "train_val")
    headings = {
        other.name: [
            heading
            for heading, _ in comparison_findings(
                [a, other], comparison_points([a, other], "train_val"), names, "train_val"
            )
        ]
        for other in (b, c)
    }
    assert "On the same probe" in headings["b"]
    assert "On the same probe" not in headings["c"]
