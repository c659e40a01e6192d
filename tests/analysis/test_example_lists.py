"""Every sentence on examples, on gradients planted so that it is true, and so that it is false."""

import dataclasses

import numpy as np
import pytest
from planted import SIZES, gradients, measured

from tfstiff.analysis.examples_to_look_at import LISTS, examples_to_look_at
from tfstiff.errors import InvalidInput, Unavailable


def lists_of(m, probe=None, half="train", before=()):
    _, found = examples_to_look_at([*before, m], probe or {}, half)
    assert [one.name for one in found] == list(LISTS)
    return {one.name: one for one in found}


def certain(found):
    return {row["place"] for row in found.rows if row["is_certain"]}


def test_those_that_fight_their_class():
    parts, classes = gradients()
    plain = lists_of(measured(parts, classes))["fight"]
    assert plain.sentence.startswith("No training example can be told to fight its own class")
    assert certain(plain) == set()
    parts[0][[4, 9]] = -parts[0][[7, 9]]
    found = lists_of(measured(parts, classes))["fight"]
    assert found.sentence.startswith(
        "2 of 36 training examples fight their own class: the mean cosine with the other tra"
    )
    assert certain(found) == {4, 9} == {row["place"] for row in found.rows[:2]}
    values = [row["cosine_own"] for row in found.rows]
    assert values == sorted(values)
    assert len(values) == SIZES[0]
    parts[0][4] = gradients()[0][0][4]
    assert lists_of(measured(parts, classes))["fight"].sentence.startswith("1 of 36 training examples fights its own")


def test_those_whose_label_looks_wrong():
    parts, classes = gradients()
    plain = lists_of(measured(parts, classes))["label"]
    assert plain.sentence.startswith("Of no training example can it be told that it agrees with another class more")
    assert certain(plain) == set()
    classes[0] = classes[0].copy()
    classes[0][[3, 10]] = 2  # their gradients are those of cats and of dogs
    found = lists_of(measured(parts, classes))["label"]
    assert found.sentence.startswith("2 of 36 training examples agree with another class more than with their own")
    assert certain(found) == {3, 10}
    assert {row["place"]: (row["class"], row["closest_class"]) for row in found.rows[:2]} == {
        3: ("cow", "cat"),
        10: ("cow", "dog"),
    }


def test_wrong_labels_that_share_the_gradient_of_their_class():
    """As in a network that ends in a softmax: half of a gradient is the label's, half the image's."""
    parts, classes = gradients(seed=1)
    labels = [np.eye(3, 12)[:, ::-1][y] for y in classes]
    plain = lists_of(measured([p + 1.5 * one for p, one in zip(parts, labels, strict=True)], classes))["label"]
    assert plain.sentence.endswith(
        " None agrees with its class far less than is usual in it: below the lower quartile of the class less three "
        "times the distance between its quartiles."
    )
    assert not any(row["is_unusual"] for row in plain.rows)
    classes[0] = classes[0].copy()
    classes[0][[3, 10]] = 2
    labels = [np.eye(3, 12)[:, ::-1][y] for y in classes]
    found = lists_of(measured([p + 1.5 * one for p, one in zip(parts, labels, strict=True)], classes))["label"]
    assert found.sentence.startswith("Of no training example can it be told that it agrees with another class more")
    assert "5\u00a0%). 2 agree with their class far less than is usual in it" in found.sentence
    assert {row["place"] for row in found.rows if row["is_unusual"]} == {3, 10} == {r["place"] for r in found.rows[:2]}


def test_labels_are_doubted_in_the_order_of_el2n_where_it_is_known():
    parts, classes = gradients()
    assert "EL2N" not in lists_of(measured(parts, classes))["label"].sentence
    el2n = np.random.default_rng(0).random(SIZES[0]).astype(np.float32)
    el2n[5] = np.nan
    found = lists_of(measured(parts, classes, el2n=el2n))["label"]
    assert found.sentence.endswith(
        " The order is that of EL2N, the distance of the predicted probabilities from the label."
    )
    assert [row["el2n"] for row in found.rows[:-1]] == sorted(el2n[~np.isnan(el2n)].tolist(), reverse=True)
    assert found.rows[-1]["place"] == 5


def test_noise_is_told_apart_falsely_in_few_halves():
    """Classes that say nothing: any example told apart is told so falsely."""
    false = 0
    for seed in range(40):
        parts = [np.random.default_rng([seed, size]).normal(size=(size, 12)) for size in SIZES]
        found = lists_of(measured(parts, [np.arange(size) % 3 for size in SIZES]))
        false += any(certain(found[name]) for name in ("fight", "label", "helpful"))
    assert false <= 3 * 0.05 * 40 + 3 * np.sqrt(3 * 0.05 * 40)  # three lists at 5 %, and three standard deviations


def test_those_that_help():
    parts, classes = gradients()
    plain = [part - part.mean(0) for part in parts]
    found = lists_of(measured(plain, classes))["helpful"]
    assert found.sentence.startswith("No training example can be told to help the validation examples: of none")
    parts = [part + 1.5 for part in plain]
    parts[0][5] = -parts[0][5]
    found = lists_of(measured(parts, classes))["helpful"]
    assert found.sentence.startswith(
        "35 of 36 training examples help the validation examples: the mean cosine with them, e"
    )
    assert found.rows[-1]["place"] == 5
    assert not found.rows[-1]["is_certain"]
    own = lists_of(measured(parts, classes, pair_sets=("train_train",)))["helpful"]
    assert "help the other training examples" in own.sentence


def test_those_that_were_forgotten():
    parts, classes = gradients()
    y = classes[0]
    right, wrong = y.copy(), y.copy()
    wrong[[2, 6]] = (y[[2, 6]] + 1) % 3
    once = [measured(parts, classes, right, step=1)]
    assert "takes two measurements" in lists_of(once[0])["forgotten"].sentence
    kept = lists_of(measured(parts, classes, right, step=2), before=once)["forgotten"]
    assert kept.sentence == (
        "No training example that was classified rightly at one of 2 measurements was wrong at the next."
    )
    learnt = lists_of(measured(parts, classes, right, step=2), before=[measured(parts, classes, wrong, step=1)])
    assert learnt["forgotten"].sentence.startswith("No training example")
    lost = lists_of(measured(parts, classes, wrong, step=2), before=once)["forgotten"]
    assert lost.sentence == (
        "2 of 36 training examples were classified rightly at one of 2 measurements and wrongly at the next; 2 of them "
        "are wrong at the last."
    )
    assert {row["place"] for row in lost.rows} == {2, 6}
    again = [*once, measured(parts, classes, wrong, step=2)]
    relearnt = lists_of(measured(parts, classes, right, step=3), before=again)["forgotten"]
    assert "0 of them are wrong at the last" in relearnt.sentence


def test_near_duplicates_at_odds():
    parts, classes = gradients()
    inputs = np.random.default_rng(1).normal(size=(SIZES[0], 5))
    inputs[11] = 2 * inputs[20]
    m = measured(parts, classes, gram=True)
    probe = {"train_x": inputs.astype(np.float16)}
    parts[0][11] = parts[0][20]
    agree = lists_of(measured(parts, classes, gram=True), probe)["duplicates"]
    assert agree.sentence.startswith("Of the 1 nearest pair of training examples (1 − cos of their inputs up to ")
    assert agree.sentence.endswith("), none has gradients that oppose one another.")
    parts[0][11] = -parts[0][20]
    opposed = lists_of(measured(parts, classes, gram=True), probe)["duplicates"]
    assert opposed.sentence.endswith("), 1 has gradients that oppose one another.")
    assert (opposed.rows[0]["place"], opposed.rows[0]["other_place"]) == (11, 20)
    assert opposed.rows[0]["cosine"] == pytest.approx(-1, abs=1e-6)
    assert not any(row["place"] == 11 for row in agree.rows)
    assert "kept no products of gradients" in lists_of(dataclasses.replace(m, gram=None), probe)["duplicates"].sentence
    assert "kept no inputs" in lists_of(m)["duplicates"].sentence
    assert "kept no inputs" in lists_of(m, {"train_x": np.array(["a"] * SIZES[0])})["duplicates"].sentence


def test_near_duplicates_come_nearest_first(monkeypatch):
    monkeypatch.setattr("tfstiff.analysis.example_histories.NEAR", 1.0)
    parts, classes = gradients()
    inputs = np.random.default_rng(1).normal(size=(SIZES[0], 5))
    found = lists_of(measured(parts, classes, gram=True), {"train_x": inputs})["duplicates"]
    products = parts[0] @ parts[0].T
    assert len(found.rows) == int((products[np.triu_indices(SIZES[0], 1)] < 0).sum())
    distances = [row["distance"] for row in found.rows]
    assert distances == sorted(distances)
    assert f"Of the {SIZES[0] * (SIZES[0] - 1) // 2} nearest pairs" in found.sentence


def test_ids_and_places_of_both_halves():
    parts, classes = gradients()
    ids = np.array([f"validation_{3 * i:05d}" for i in range(SIZES[1])])
    found = lists_of(measured(parts, classes), {"validation_ids": ids}, "validation")["fight"]
    assert "validation examples" in found.sentence
    assert found.sentence.count("validation") == 2
    for row in found.rows:
        assert row["id"] == ids[row["place"]]
        assert row["index"] == 3 * row["place"]


def test_what_cannot_be_told():
    parts, classes = gradients()
    m = measured(parts, classes)
    parts[0][0], parts[0][1] = 0, np.nan  # no gradient, and none that is finite: neither is told apart
    odd = lists_of(measured(parts, classes))
    assert not {0, 1} & (certain(odd["fight"]) | certain(odd["label"]) | certain(odd["helpful"]))
    assert all(row["place"] != 1 for row in odd["fight"].rows)
    with pytest.raises(InvalidInput, match="no measurement at step 7"):
        examples_to_look_at([m], {}, "train", 7)
    with pytest.raises(Unavailable, match="no measurement"):
        examples_to_look_at([], {})
    older = dataclasses.replace(m, train=dataclasses.replace(m.train, scores=None))
    with pytest.raises(Unavailable, match="older versions"):
        examples_to_look_at([older], {})
