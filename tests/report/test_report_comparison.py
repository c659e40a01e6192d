import dataclasses
import math

import pytest
from synthetic_runs import SPEC, series, write_run

from tfstiff import load_run
from tfstiff.analysis.comparison import Milestone, Observation, compare
from tfstiff.analysis.source import read_sources
from tfstiff.records import RunWriter
from tfstiff.report.comparison import comparison_findings, told_milestones
from tfstiff.report.tables import milestone_tables, runs_table

BETWEEN = "stiffness_cosine_between_train_val"
LENGTH = "stiffness_critical_length_train_val"
EPOCH = Milestone("epoch", 5.0)


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


def test_settings_without_a_bearing_have_no_column(sources):
    table = runs_table(sources([(1e-4, 0), (1e-4, 1), (1e-3, 0)]))
    assert table.header[1:3] == ["learning rate", "seed"]
    assert "data_dir" not in table.header


def test_tables_hold_what_the_comparison_says(sources):
    measured = sources([(1e-4, 0), (1e-4, 1), (1e-3, 0)])
    found = compare(measured)
    runs, groups = milestone_tables(found, found.milestones[0], {one.folder: one.name for one in measured})
    assert [row[:2] for row in runs.rows] == [
        ["lr0.0001-s0", "learning rate 0.0001"],
        ["lr0.0001-s1", "learning rate 0.0001"],
        ["lr0.001-s0", "learning rate 0.001"],
    ]
    column = runs.header.index("cosine between classes")
    one = found.observations[BETWEEN, found.milestones[0], 0][0]
    assert runs.rows[0][column].startswith(f"{one.value:.3f} [".replace("-", "−"))
    assert f"{found.summary(BETWEEN, found.milestones[0], 0).mean:.3f} [".replace("-", "−") in groups.rows[0][column]
    alone = compare([measured[0], measured[2]])
    assert len(milestone_tables(alone, alone.milestones[0], {one.folder: one.name for one in measured})) == 1


def test_a_critical_length_beyond_the_distances_is_a_bound_and_said_to_be(sources):
    early = [dataclasses.replace(one, measurements=one.measurements[:3]) for one in sources([(1e-4, 0), (1e-3, 1)])]
    found = compare(early)
    last = [one for one in found.milestones if one.by == "epoch"][-1]
    runs, *_ = milestone_tables(found, last, {one.folder: one.name for one in early})
    assert [row[runs.header.index("critical length ξ")] for row in runs.rows] == [">0.900 (censored)"] * 2


def sentences(measured, values, status="ok"):
    found = compare(measured, [BETWEEN], [EPOCH])
    places = [(index, seed) for index, group in enumerate(found.groups) for seed in group.runs]
    for (index, seed), value in zip(places, values, strict=True):
        high = math.inf if status == "censored" else value
        found.observations[BETWEEN, EPOCH, index][seed] = Observation(value, high, status=status)
    return [s for _, texts in comparison_findings(measured, found, "train_val") for s in texts]


SIX = [(rate, seed) for rate in (1e-4, 1e-3) for seed in (0, 1, 2)]


def test_groups_differ_only_where_their_seeds_say_so(sources):
    found = sources(SIX)
    (apart,) = sentences(found, [0.10, 0.11, 0.12, 0.20, 0.21, 0.22])
    assert "The second is higher: the difference over seeds is 0.100" in apart
    (lower,) = sentences(found, [0.20, 0.21, 0.22, 0.10, 0.11, 0.12])
    assert "The second is lower" in lower
    (same,) = sentences(found, [0.10, 0.20, 0.12, 0.20, 0.11, 0.22])
    assert "cannot be told" in same
    (noted,) = sentences(found, [0.10, 0.11, 0.12, 0.20, 0.21, 0.22], "censored")
    assert "not compared" in noted
    (missing,) = sentences(found, [0.10, math.nan, math.nan, 0.20, 0.21, 0.22])
    assert "nothing can be told" in missing
    (alike,) = sentences(found, [0.1] * 6)
    assert "Nothing varies" in alike


def test_two_seeds_are_said_to_be_few(sources):
    (few,) = sentences(sources([one for one in SIX if one[1] < 2]), [0.10, 0.11, 0.90, 0.91])
    assert "Three to five seeds" in few


def test_one_training_of_each_tells_nothing_of_settings(sources):
    (text,) = sentences(sources([(1e-4, 0), (1e-3, 0)]), [0.1, 0.9])
    assert "cannot be told without two seeds" in text
    assert "higher" not in text


def test_a_trend_is_told_where_page_s_test_finds_it(sources):
    found = sources([(rate, seed) for rate in (1e-4, 3e-4, 1e-3) for seed in (0, 1, 2)])
    (falls,) = sentences(found, [0.30, 0.31, 0.32, 0.20, 0.21, 0.22, 0.10, 0.11, 0.12])
    assert "It falls with the learning rate (τ −1.00" in falls
    (rises,) = sentences(found, [0.10, 0.11, 0.12, 0.20, 0.21, 0.22, 0.30, 0.31, 0.32])
    assert "It rises with the learning rate" in rises
    (neither,) = sentences(found, [0.10, 0.31, 0.22, 0.20, 0.11, 0.32, 0.30, 0.21, 0.12])
    assert "Whether it rises or falls with the learning rate cannot be told" in neither


def test_settings_that_differ_in_more_are_not_tested(sources, tmp_path):
    measured = sources([(1e-4, 0), (1e-3, 0)])
    other = write_run(tmp_path / "other", series(6, 3), spec={**SPEC, "arch": "fc", "learning_rate": 1e-3, "seed": 0})
    (text,) = sentences([*measured, *read_sources([other])], [0.1, 0.2, 0.3])
    assert "differ in more than their learning rate" in text


def test_a_repeated_run_is_said_to_be_left_out(sources, tmp_path):
    measured = sources(SIX)
    again = write_run(tmp_path / "again", series(6, 3), spec=dict(measured[0].spec))
    texts = sentences([*measured, *read_sources([again])], [0.10, 0.11, 0.12, 0.20, 0.21, 0.22])
    assert texts[-1] == "again is left out: another run has its settings and seed."


def test_of_epochs_the_last_one_has_sentences(sources):
    found = compare(sources([(1e-4, 0), (1e-3, 1)]))
    epochs = [one for one in found.milestones if one.by == "epoch"]
    assert len(epochs) > 1
    assert told_milestones(found) == [epochs[-1], *found.milestones[len(epochs) :]]


def test_the_same_probe_is_compared_by_its_errors(tmp_path):
    runs = []
    for name, rate, probe in (("a", 1e-4, "x"), ("b", 1e-3, "x"), ("c", 1e-3, "y")):
        run = write_run(tmp_path / name, series(4, 3, seed=len(runs)), spec={**SPEC, "learning_rate": rate})
        RunWriter(run.folder).write_meta({"probe": {"sha256": probe}})
        runs.append(load_run(run.folder))
    a, b, c = read_sources(runs)
    headings = {
        other.name: [heading for heading, _ in comparison_findings([a, other], compare([a, other]), "train_val")]
        for other in (b, c)
    }
    assert "On the same probe" in headings["b"]
    assert "On the same probe" not in headings["c"]
