import dataclasses
import math
import re

import numpy as np
import pytest
from synthetic_runs import SPEC, measurement, series

from tfstiff.analysis.contrast import Contrast, paired_contrast
from tfstiff.analysis.source import read_sources
from tfstiff.records import CriticalLength
from tfstiff.records.directions import DirectionEffects, StepEffects
from tfstiff.records.pair_set import CRITICAL_LENGTH_STATUSES
from tfstiff.records.words import (
    length_in_words,
    number,
    readings_of_length,
    setting_in_words,
    status_of_length,
    with_interval,
)
from tfstiff.report.findings import difference_sentence, findings


def said(run):
    (source,) = read_sources([run])
    return [sentence.replace("\u00a0", " ") for _, sentences in findings(source) for sentence in sentences]


def with_within(one, pair_set, influence, **changes):
    """A measurement with other within-class cosines in one pair set."""
    old = one[pair_set]
    cosine = dataclasses.replace(old.cosine, within_influence=influence.astype(np.float32), **changes)
    return dataclasses.replace(one, pair_sets={**one.pair_sets, pair_set: dataclasses.replace(old, cosine=cosine)})


def contrast(low, high):
    return Contrast((low + high) / 2, 0.1, 1.0, low, high)


def test_a_difference_is_stated_only_where_its_interval_excludes_zero():
    assert "rose by 0.200" in difference_sentence("It", contrast(0.1, 0.3))
    assert "fell by 0.200 (95\u00a0% interval 0.100 to 0.300)" in difference_sentence("It", contrast(-0.3, -0.1))
    for low, high in ((-0.1, 0.3), (0.0, 0.3), (-0.3, 0.0)):
        sentence = difference_sentence("It", contrast(low, high))
        assert "cannot be told" in sentence
        assert not {"rose", "fell"} & set(sentence.split())
    for low, high in ((math.nan, math.nan), (0.2, 0.2)):
        sentence = difference_sentence("It", contrast(low, high))
        assert "no more can be told" in sentence
        assert not {"rose", "fell"} & set(sentence.split())


def test_a_change_since_the_first_measurement_is_the_paired_contrast(make_run):
    first, last = series(2, 4)
    rng = np.random.default_rng(0)
    last = with_within(last, "train_val", rng.normal(0, 0.01, 50))
    sentence = next(s for s in said(make_run([first, last])) if s.startswith("Since initialisation the cosine within"))
    found = paired_contrast(first, last, "within", metric="cosine", pair_set="train_val")
    assert found.high < 0  # by construction
    numbers = [float(text) for text in re.findall(r"\d\.\d{3}", sentence)]
    assert numbers == pytest.approx([-found.value, -found.high, -found.low], abs=5e-4)
    assert "fell by" in sentence


def test_a_change_within_its_errors_cannot_be_told(make_run):
    first, last = series(2, 4)
    rng = np.random.default_rng(0)
    last = with_within(last, "train_val", rng.normal(0, 0.1, 50), within=first["train_val"].cosine.within - 0.05)
    sentence = next(s for s in said(make_run([first, last])) if s.startswith("Since initialisation the cosine within"))
    assert "cannot be told" in sentence


def test_means_stand_with_their_student_intervals(make_run):
    one = measurement(0, 0.0, 0.5, num_classes=3)
    cosine = dataclasses.replace(one["train_val"].cosine, within=0.5, within_se=0.1, within_df=4.0, between=0.01)
    pair_sets = {**one.pair_sets, "train_val": dataclasses.replace(one["train_val"], cosine=cosine)}
    sentence = next(s for s in said(make_run([dataclasses.replace(one, pair_sets=pair_sets)])) if "cosine of" in s)
    assert "0.500 (95 % interval 0.222 to 0.778) for examples of one class, above 0" in sentence  # t(0.975, 4) = 2.776
    assert "0.010 (95 % interval −0.010 to 0.030) for examples of different classes, which cannot be told" in sentence


@pytest.mark.parametrize("status", CRITICAL_LENGTH_STATUSES)
def test_every_status_of_a_critical_length_is_said(make_run, status):
    nothing = not status_of_length(status).has_length
    one = measurement(0, 0.0, 0.5, num_classes=3)
    length = CriticalLength(
        math.nan if status == "too_few_pairs" else 7.25,
        status,
        math.nan if nothing else 7.0,
        math.nan if nothing else 7.5,
        "unavailable" if nothing else "bounded",
        0.5,
        -0.1,
        np.zeros((2, 2)),
        0.1,
        0.9,
        100,
    )
    pair_set = one["train_val"]
    space = dataclasses.replace(pair_set.spaces["input"], critical_length=length)
    pair_sets = {"train_val": dataclasses.replace(pair_set, spaces={"input": space})}
    (sentence,) = [s for s in said(make_run([dataclasses.replace(one, pair_sets=pair_sets)])) if "pairs):" in s]
    assert ("7.250" in sentence) == (not nothing)  # a slope that is not significant has a zero that means nothing
    assert ("no ξ" in sentence) == nothing
    assert (", within the distances observed" in sentence) == (status == "ok")


def test_intervals_that_are_not_bounded_are_said():
    nothing = np.full((2, 2), np.nan)
    length = CriticalLength(1.0, "ok", 3.0, 0.5, "complement", 0.5, -0.5, nothing, 0.1, 1.2, 50)
    assert "all up to 0.500, and all from 3.000 on" in length_in_words(length)
    assert "without limits" in length_in_words(dataclasses.replace(length, interval="unbounded"))


def test_overlapping_intervals_of_critical_lengths_tell_no_change(make_run):
    far, near = series(2, 3)  # ξ = 3.0 of 2.9 to 3.2, and 0.615 of 0.515 to 0.815
    assert any("That is shorter" in s and "do not overlap" in s for s in said(make_run([far, near])))
    again = dataclasses.replace(far, step=100, epoch=1.0)
    assert any("Whether ξ has changed cannot be told" in s for s in said(make_run([far, again], "same")))


def test_single_cells_are_counted_with_what_chance_would_give(make_run):
    one = measurement(0, 0.0, 0.5, num_classes=3)
    matrix = np.array([[1.0, 0.5, 0.0], [-0.5, 1.0, 0.01], [0.02, np.nan, 1.0]])
    errors = np.where(np.isnan(matrix), np.nan, 0.1)
    found = dataclasses.replace(one["train_val"].sign, matrix=matrix, matrix_se=errors, matrix_df=np.full((3, 3), 40.0))
    pair_sets = {**one.pair_sets, "train_val": dataclasses.replace(one["train_val"], sign=found)}
    sentences = said(make_run([dataclasses.replace(one, pair_sets=pair_sets, class_names=("a", "b", "c"))]))
    counted = next(s for s in sentences if s.startswith("By the sign"))
    assert "1 of 5 cells" in counted
    assert "and 1 below 0" in counted
    assert "about 0.25 would" in counted
    extremes = sentences[sentences.index(counted) + 1]
    assert "lowest is “b” with “a”, −0.500" in extremes
    assert "highest is “a” with “b”, 0.500" in extremes


def stepped(changes, **rest):
    """Effects on one half of one step; changes (C,) with errors of 0.01, of 50 examples a class."""
    changes = np.array([changes], float)
    means = {f"mean_{name}{end}": 0.0 for name in ("cosine", "helped") for end in ("", "_se")}
    arrays = {name: np.zeros_like(changes) for name in ("cosine", "cosine_se", "helped", "helped_se")}
    errors = rest.get("errors", 0.01) * np.ones_like(changes)
    return StepEffects(np.full(changes.shape, 50), change=changes, change_se=errors, **arrays, **means)


@pytest.mark.parametrize(
    ("train", "validation", "told"),
    [
        ((-1, -0.1, -0.03), (-1, 0.1, 0.015), "3 and raises that of 0 of 3|1 and raises that of 1 (“class 1”) of 3"),
        ((-0.015, 0.01, 0.0), (0.5, 0.5, 0.5), "0 and raises that of 0 of 3|0 and raises that of 3"),
    ],
)
def test_which_classes_a_step_helps_is_told_past_the_errors(make_run, train, validation, told):
    m = series(1, 3)[0]
    m = dataclasses.replace(m, class_names=("class 0", "class 1", "class 2"))
    effects = DirectionEffects("ok", np.ones(1), stepped(train), stepped(validation))
    (sentence,) = (
        s for s in said(make_run([dataclasses.replace(m, directions={"update": effects})])) if "step along" in s
    )
    assert "the update since the last measurement lowers the mean loss" in sentence
    for part, half in zip(told.split("|"), ("training", "validation"), strict=True):
        assert re.search(rf"lowers the mean loss of {re.escape(part)}.*? classes of {half} examples", sentence)


@pytest.mark.parametrize(
    ("change", "verb"), [(-0.1, "lowers the"), (0.1, "raises the"), (0.01, "cannot be told to lower or raise the")]
)
def test_a_step_without_classes(make_run, change, verb):
    effects = DirectionEffects("ok", np.ones(1), stepped([change]))
    sentences = said(make_run([dataclasses.replace(series(1, 0)[0], directions={"weights": effects})]))
    assert any(f"a growth of the weights {verb} mean loss of training examples." in s for s in sentences)


@pytest.mark.parametrize(
    "effects", [DirectionEffects("zero"), DirectionEffects("ok", np.ones(1), stepped([1, 1, 1], errors=np.nan))]
)
def test_nothing_is_said_of_a_step_of_which_nothing_is_known(make_run, effects):
    m = dataclasses.replace(series(1, 3)[0], directions={"update": effects})
    assert not any("step along" in s for s in said(make_run([m])))


def test_targets_without_classes_are_judged_by_both_errors(make_run):
    sentences = said(make_run(series(4, 0)))
    assert any("the targets have no classes" in s for s in sentences)
    # mean sign: from 0.1 to −0.9, errors 0.03 each, which may be fully correlated
    assert any("the mean sign fell by 1.000 (95 % interval 0.882 to 1.118)" in s for s in sentences)


@pytest.mark.parametrize(
    ("measurements", "spec"),
    [
        (series(1), SPEC),
        (series(2, 2, holes=True), {}),
        ([dataclasses.replace(m, pair_sets={"val_val": m["val_val"]}) for m in series(5)], {"metrics": ["cosine"]}),
        ([dataclasses.replace(m, step=-1, epoch=math.nan) for m in series(3)], {}),
    ],
)
def test_whatever_was_measured_is_told_without_nan(make_run, measurements, spec):
    sentences = said(make_run(measurements, spec=spec))
    assert sentences
    assert not [s for s in sentences if re.search(r"\bnan\b|None", s)]
    if spec.get("metrics") == ["cosine"]:
        assert not [s for s in sentences if "sign" in s]


@pytest.mark.parametrize("status", ["running", "failed", "interrupted", "diverged"])
def test_how_the_run_ended_is_told(make_run, status):
    first = said(make_run(status=status))[0]
    assert {"running": "not over", "interrupted": "was interrupted"}.get(status, status) in first


def test_numbers_are_written_as_in_print():
    assert number(-0.0004) == "0.000"
    assert number(-0.5) == "−0.500"
    assert number(math.inf) == "∞"
    assert number(123456.0) == "1.235e+05"
    assert setting_in_words(8e-4) == "0.0008"
    assert setting_in_words([500, 60000]) == "500, 60,000"
    assert "too few examples" in with_interval(0.5, math.nan, math.nan)
    assert "nothing varies" in with_interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(("p_value", "is_said"), [(0.002, True), (0.4, False), (math.nan, False)])
def test_a_line_on_which_pairs_do_not_lie_is_said_to_be_none(p_value, is_said):
    nothing = np.full((2, 2), math.nan)
    length = CriticalLength(1.0, "ok", 0.9, 1.1, "bounded", 0.5, -0.5, nothing, 0.1, 1.2, 50, lack_of_fit=p_value)
    for is_brief in (True, False):
        assert ("line" in length_in_words(length, is_brief=is_brief)) == is_said
    assert [one.mark for one in readings_of_length(length)] == ["", "~"][: 1 + is_said]
    nowhere = dataclasses.replace(length, status="no_decay")
    assert [one.mark for one in readings_of_length(nowhere)] == ["="]
