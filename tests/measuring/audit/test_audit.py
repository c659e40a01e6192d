"""What an audit returns, how it shows itself, and what it refuses."""

import json

import keras
import numpy as np
import pytest

import tfstiff
from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.measuring.audit import audit as audits
from tfstiff.measuring.audit.checks import Check, CheckFunction, failed, not_applicable, passed

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = np.random.default_rng(0).normal(size=(9, 4)).astype("float32"), np.arange(9) % 3


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(loss=SOFTMAX)
    return model


def refusing(_):
    raise UnsupportedModel("It is quantised.")


def raising(_):
    raise ZeroDivisionError("by nothing\nat all")


@pytest.fixture
def few_checks(monkeypatch):
    kinds = {
        "right": lambda _: passed("All is well."),
        "wrong": lambda subject: failed(f"It is wrong on {subject.count} <examples>.", "Mend it."),
        "absent": lambda _: not_applicable("There is none."),
        "refused": refusing,
        "raised": raising,
    }
    checks = tuple(CheckFunction(name, f"Is it {name}?", function) for name, function in kinds.items())
    monkeypatch.setattr(audits, "CHECKS", checks)


def test_what_it_holds_and_how_it_shows_itself(few_checks):
    said = []
    found = tfstiff.audit(network(), X, Y, num_examples=6, say=said.append)
    assert [check.result for check in found.checks] == [
        "passed",
        "failed",
        "not applicable",
        "not applicable",
        "failed",
    ]
    assert said == [f"{check.name}: {check.result}" for check in found.checks]
    assert not found.passed
    assert found["wrong"] == Check("wrong", "Is it wrong?", "failed", "It is wrong on 6 <examples>.", "Mend it.")
    assert found["refused"].text == "The model is refused: It is quantised."
    assert found["raised"].text.endswith("with ZeroDivisionError: by nothing")
    assert [check.name for check in found.failures] == ["wrong", "raised"]
    assert {path.form for path in found.paths} <= {"formed", "factors"}
    assert repr(found) == "Audit(1 of 5 checks passed, 2 failed, on 6 examples)"
    assert "wrong: It is wrong on 6 <examples>. Mend it." in str(found)
    assert "&lt;examples&gt;" in found._repr_html_()
    document = json.loads(json.dumps(found.as_dict()))
    assert (document["passed"], document["num_examples"], len(document["checks"])) == (False, 6, 5)


def test_of_checks_that_pass_none_fails(few_checks, monkeypatch):
    monkeypatch.setattr(audits, "CHECKS", audits.CHECKS[:1])
    assert tfstiff.audit(network(), X, Y).passed


def test_each_check_has_a_name_and_a_question_of_its_own():
    names = [check.name for check in audits.CHECKS]
    assert len(set(names)) == len(names) == 18
    assert all(check.question.endswith("?") and len(check.question) <= 55 for check in audits.CHECKS)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (X[:1], Y[:1], {}, InvalidInput, "at least two"),
        (X, Y[:-1], {}, InvalidInput, "same number"),
        (X, Y, {"sample_weight": np.ones(3)}, InvalidInput, "same number"),
        (X[:, :3], Y, {}, InvalidInput, "another shape"),
        (X, Y, {"loss": SOFTMAX, "objective": len}, InvalidInput, "Both a loss and an objective"),
        (X, Y, {"loss": "magic"}, UnsupportedModel, "not known to Keras"),
    ],
)
def test_what_is_refused_at_once(x, y, options, error, message, few_checks):
    with pytest.raises(error, match=message):
        tfstiff.audit(network(), x, y, **options)
