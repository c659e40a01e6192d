"""Every training example against a few of reference, beside a measurement of the same pairs."""

import keras
import numpy as np
import pytest
from four_inputs import network

from tfstiff import Probe, measure
from tfstiff.errors import InvalidInput
from tfstiff.measuring.ranking import score_examples
from tfstiff.records.scores import ExampleScores

RNG = np.random.default_rng(0)


def probe_of(targets):
    x = [RNG.normal(size=(size, 4)).astype(np.float32) for size in (23, 17)]
    return Probe.from_arrays(*zip(x, targets, strict=True), size=None)


@pytest.fixture(scope="module")
def case():
    probe = probe_of([RNG.integers(0, 3, size) for size in (23, 17)])
    model = network(3, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, probe, measure(model, probe).train.scores


def assert_same(found: ExampleScores, expected: ExampleScores):
    for name in ("loss", "gradient_norm", "el2n", "margin"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    for name in ("predicted", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert list(found.stiffness) == ["validation"]
    for name in ("counts", "sign", "sign_se", "cosine", "cosine_se"):
        values = [getattr(scores.stiffness["validation"], name) for scores in (found, expected)]
        np.testing.assert_allclose(*values, atol=1e-5)


def test_equals_a_measurement_of_the_same_pairs(case):
    model, probe, expected = case
    assert_same(score_examples(model, probe), expected)


@pytest.mark.parametrize("num_resident", [4, 8, 100])
def test_in_blocks_and_a_part_of_the_reference_at_a_time(case, monkeypatch, num_resident):
    model, probe, expected = case
    told = []
    monkeypatch.setattr(
        "tfstiff.gradients.gradient_plan.GradientPlan.memory_for",
        lambda *_: type("Memory", (), {"block_size": 4, "num_resident": num_resident})(),
    )
    found = score_examples(model, probe, progress=lambda done, count: told.append((done, count)))
    assert_same(found, expected)
    assert told == sorted(told)
    assert told[-1] == (23, 23)


def test_gradients_that_are_not_finite_take_no_part(case):
    model = case[0]
    probe = probe_of([np.arange(size) % 3 for size in (23, 17)])
    probe.train.x[3], probe.validation.x[5] = np.inf, np.nan
    found, expected = score_examples(model, probe), measure(model, probe).train.scores
    assert np.isnan(found.stiffness["validation"].cosine[3]).all()
    assert np.isfinite(found.stiffness["validation"].cosine[4]).all()
    np.testing.assert_allclose(found.stiffness["validation"].cosine, expected.stiffness["validation"].cosine, atol=1e-5)
    np.testing.assert_array_equal(found.stiffness["validation"].counts, expected.stiffness["validation"].counts)


def test_nothing_to_compare_with(case):
    model, probe, _ = case
    with pytest.raises(InvalidInput, match="no validation examples"):
        score_examples(model, Probe.from_arrays((probe.train.x, probe.train.y)))


def test_numbers():
    probe = probe_of([RNG.normal(size=size).astype(np.float32) for size in (23, 17)])
    model = network(1, "mse")
    found, expected = score_examples(model, probe), measure(model, probe).train.scores
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    np.testing.assert_allclose(found.stiffness["validation"].cosine, expected.stiffness["validation"].cosine, atol=1e-5)
    assert found.classes is None
    assert found.predicted is None
