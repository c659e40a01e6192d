"""The first sentences of a report: each on planted numbers in which it is true, and in which it must not be said."""

import dataclasses

import numpy as np
import pytest
from synthetic_runs import measurement, series

from tfstiff.analysis.source import read_sources
from tfstiff.analysis.turning_points import Turn
from tfstiff.analysis.turns_of_training import TurningPoints
from tfstiff.report.summary import summary

NONE = Turn("none")


@pytest.fixture
def turned(monkeypatch):
    """Makes the rules find these turns."""

    def plant(validation=NONE, stiffness=NONE, unit="epoch"):
        found = TurningPoints(stiffness, validation, NONE, NONE, unit, "stiffness_cosine_within_train_val")
        monkeypatch.setattr("tfstiff.report.summary.turns_in", lambda _: found)

    return plant


@pytest.fixture
def said(make_run):
    def say(measurements, **options):
        (source,) = read_sources([make_run(measurements, **options)])
        return [text.replace("\u00a0", " ") for text in summary(source, has_examples=False).sentences]

    return say


def steps(make_run, measurements, has_examples=False):
    (source,) = read_sources([make_run(measurements)])
    return summary(source, has_examples=has_examples).next_steps


def with_signs(one, matrix, se=0.05):
    matrix = np.array(matrix, float)
    old = one["train_val"].sign
    within = float(np.diag(matrix).mean())
    sign = dataclasses.replace(old, matrix=matrix, matrix_se=np.full_like(matrix, se), within=within)
    pairs = dataclasses.replace(one["train_val"], sign=sign)
    return dataclasses.replace(one, pair_sets={**one.pair_sets, "train_val": pairs})


def test_how_far_it_learnt(said, turned):
    turned()
    measurements = series(3, 2)
    first = said(measurements)[0]
    last = measurements[-1]
    assert f"the loss was {last.train.loss:.3f} on the training examples of the probe, down from 2.300," in first
    assert f"and {last.validation.loss:.3f} on its validation examples" in first
    assert "90.0 % and 87.3 % of them were classified right" in first


def test_a_loss_that_has_not_come_down_is_not_said_to_have(said, turned):
    turned()
    first, last = series(2, 2)
    last = dataclasses.replace(last, train=dataclasses.replace(last.train, loss=2.4))
    assert "down from" not in said([first, last])[0]


def test_without_classes_there_is_no_word_of_them(said, turned):
    turned()
    found = said(series(3, 0))
    assert len(found) == 2
    assert "classified" not in found[0]
    assert not any("class" in text for text in found[:1])


@pytest.mark.parametrize(
    ("matrix", "se", "expected", "unexpected"),
    [
        (
            [[1, -0.5, 0.4], [0, 1, 0], [0, 0, 1]],
            0.05,
            [
                "“class 0” and “class 1” harm each other most: −0.500",
                "“class 0” and “class 2” help each other most: 0.400",
            ],
            ["least"],
        ),
        (
            [[1, 0.5, 0.4], [0.3, 1, 0.6], [0.3, 0.2, 1]],
            0.05,
            ["“class 2” and “class 1” help each other least: 0.200", "“class 1” and “class 2” help each other most"],
            ["harm"],
        ),
        (
            [[1, -0.5, -0.4], [-0.3, 1, -0.6], [-0.3, -0.2, 1]],
            0.05,
            ["“class 1” and “class 2” harm each other most", "“class 2” and “class 1” harm each other least: −0.200"],
            ["help each other"],
        ),
        ([[1, -0.1, 0.1], [0, 1, 0], [0, 0, 1]], 0.2, ["help each other least", "harm each other least"], ["most"]),
    ],
)
def test_the_pairs_of_classes_are_the_lowest_and_the_highest(said, turned, matrix, se, expected, unexpected):
    turned()
    text = said([*series(2, 3), with_signs(measurement(50_000, 26.0, 1, 3), matrix, se)])[1]
    for part in expected:
        assert part in text
    for part in unexpected:
        assert part not in text
    assert text.startswith("A step on one example helps nearly every other of its class (sign 1.000).")


def test_that_classes_agree_is_said_only_where_they_do(said, turned):
    turned()
    text = said([*series(2, 3), with_signs(measurement(50_000, 26.0, 1, 3), np.eye(3) * 0.99)])[1]
    assert "nearly every" not in text


def test_turning_points_of_both_curves(said, turned):
    validation = Turn("validation_minimum", "confirmed", 1, 6.0, 2, 8.0)
    stiffness = Turn("stiffness_drop", "confirmed", 0, 3.0, 0, 3.0)
    turned(validation, stiffness)
    expected = "The validation loss turned at epoch 6, sure at epoch 8; "
    assert said(series(3, 2))[-1] == (
        expected + "stiffness (cosine within classes, train–validation pairs) turned down at epoch 3."
    )
    turned(validation, unit="step")
    assert said(series(3, 2), name="two")[-1] == "The validation loss turned at step 6, sure at step 8."
    turned(Turn("validation_minimum", "unconfirmed", 1, 6.0), stiffness)
    assert said(series(3, 2), name="three")[-1].startswith("The validation loss did not turn; stiffness (")
    turned()
    assert said(series(3, 2), name="four")[-1] == "The validation loss did not turn."


def test_one_measurement_has_no_turn(said):
    assert not any("turn" in text for text in said(series(1, 2)))


def test_what_to_do_next(make_run, turned):
    harm = [*series(2, 3), with_signs(measurement(50_000, 26.0, 1, 3), [[1, -0.5, 0], [0, 1, 0], [0, 0, 1]])]
    turned(Turn("validation_minimum", "confirmed", 1, 6.0, 2, 8.0))
    keep, look, examples = steps(make_run, harm, has_examples=True)
    assert "epoch 6" in keep
    assert "“class 0” and “class 1”" in look
    assert "examples below" in examples


def test_what_is_not_to_be_done(make_run, turned):
    calm = [*series(2, 3), with_signs(measurement(50_000, 26.0, 1, 3), np.eye(3))]
    turned(Turn("validation_minimum", "unconfirmed", 1, 6.0))
    assert steps(make_run, calm) == [], "it is past the lowest loss, and not for sure"


def test_more_epochs_where_the_validation_loss_was_lowest_at_the_end(make_run, turned):
    calm = [*series(2, 3), with_signs(measurement(50_000, 26.0, 1, 3), np.eye(3))]
    turned(Turn("validation_minimum", "unconfirmed", 2, 26.0))
    (more,) = steps(make_run, calm)
    assert "more epochs" in more


def test_the_words_are_those_of_the_rules():
    from tfstiff.records.words import TURNS_IN_WORDS, turn_in_words

    told = {rule: turn_in_words(rule, "stiffness_sign_between_val_val", 2.0, 2.0) for rule in TURNS_IN_WORDS}
    assert "sign between classes, validation–validation pairs" in told["stiffness_drop"]
    assert all(text.endswith(" at epoch 2") for text in told.values())
