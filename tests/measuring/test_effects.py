"""What a step does to each class, beside gradients that are formed and steps that are taken."""

import keras
import numpy as np
import pytest

from tfstiff import Probe, per_example_gradients, step_effect
from tfstiff.errors import InvalidInput

RNG = np.random.default_rng(0)
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def case():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(1e-4), SOFTMAX)
    x = [RNG.normal(size=(size, 4)).astype(np.float32) for size in (21, 15)]
    y = [np.arange(size) % 3 for size in (21, 15)]
    return model, Probe.from_arrays(*zip(x, y, strict=True), class_names=list("abc"), size=None)


def test_the_next_step_of_the_optimizer(case):
    model, probe = case
    batch = (probe.train.x[:9], probe.train.y[:9])
    found = step_effect(model, probe, batch=batch).set_index(["half", "class"])
    gradients = [per_example_gradients(model, half.x, half.y).astype(float) for half in (probe.train, probe.validation)]
    before = model.get_weights()
    losses = [SOFTMAX.call(half.y, model(half.x)).numpy().astype(float) for half in (probe.train, probe.validation)]
    model.train_on_batch(*batch)
    step = np.concatenate([(now - then).ravel() for now, then in zip(model.get_weights(), before, strict=True)])
    changes = [
        SOFTMAX.call(half.y, model(half.x)).numpy() - loss
        for half, loss in zip((probe.train, probe.validation), losses, strict=True)
    ]
    for place, half in enumerate(("train", "validation")):
        for c, name in enumerate("abc"):
            of_class = (probe.train, probe.validation)[place].classes == c
            expected = gradients[place][of_class] @ step
            row = found.loc[(half, name)]
            assert row["num_examples"] == of_class.sum()
            assert row["change"] == pytest.approx(expected.mean(), rel=1e-2, abs=1e-7)
            assert row["change_se"] == pytest.approx(expected.std(ddof=1) / np.sqrt(of_class.sum()), rel=2e-2)
            assert row["share_helped"] == pytest.approx((expected < 0).mean())
            np.testing.assert_allclose(changes[place][of_class], expected, rtol=0.05, atol=3e-7)  # it then happens


def test_a_step_that_helps_one_class_and_harms_the_others(case):
    model, probe = case
    bias = [np.zeros_like(weight) for weight in model.get_weights()]
    bias[-1] = np.array([1, 0, 0], np.float32)  # towards the first class
    found = step_effect(model, probe, bias)
    helped = found[found["class"] == "a"]
    assert (helped["share_helped"] == 1).all()
    assert (helped["change"] < 0).all()
    assert (found[found["class"] != "a"]["share_helped"] == 0).all()


def test_without_validation_examples(case):
    model, probe = case
    found = step_effect(model, Probe.from_arrays((probe.train.x, probe.train.y)), "weights")
    assert set(found["half"]) == {"train"}


def test_bad_input(case):
    model, probe = case
    with pytest.raises(InvalidInput, match="one direction"):
        step_effect(model, probe, "class_means")
    with pytest.raises(InvalidInput, match=r"batch=\(x, y\)"):
        step_effect(model, probe)
