"""Predicted changes of losses against those of the step that the optimizer really takes."""

import keras
import numpy as np
import pytest

from tfstiff import predicted_steps
from tfstiff.errors import InvalidInput

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 5)).astype("float32"), RNG.integers(0, 3, 60)
BATCH = (X[:16], Y[:16])


def trained(optimizer):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5,)), keras.layers.Dense(12, "tanh"), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    model.compile(optimizer, SOFTMAX, run_eagerly=True)
    for start in range(16, 48, 16):
        model.train_on_batch(X[start : start + 16], Y[start : start + 16])
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(1e-3),
        lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1, clipnorm=0.5),
        lambda: keras.optimizers.SGD(1e-3, momentum=0.9),
    ],
)
def test_small_steps_are_predicted_and_the_real_one_is_taken(make):
    model = trained(make())
    variables = [*model.variables, *model.optimizer.variables]
    values = [variable.numpy().copy() for variable in variables]
    rates = [1e-3, 1e-2, 3.0]
    found = predicted_steps(model, X, Y, BATCH, rates, precision="float64")
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)
    assert found.correlation[0] > 0.99
    assert not found.correlation[2] > 0.99
    assert found.linear_up_to() in rates[:2]
    assert np.isnan(found.linear_up_to(1.1))
    before = SOFTMAX.call(Y, model(X)).numpy()
    model.optimizer.learning_rate.assign(rates[1])
    model.train_on_batch(*BATCH)
    change = SOFTMAX.call(Y, model(X)).numpy() - before
    np.testing.assert_allclose(found.changes[1], change, atol=2e-6)
    np.testing.assert_allclose(found.predicted[1], change, atol=0.1 * np.abs(change).max())


@pytest.mark.parametrize("rates", [0, -1e-3, [1e-3, np.nan], [], "fast"])
def test_learning_rates_that_are_none(rates):
    with pytest.raises(InvalidInput, match="Learning rates must be numbers above 0"):
        predicted_steps(trained("adam"), X, Y, BATCH, rates)


def test_a_schedule_of_learning_rates_has_no_other_in_its_place():
    model = trained(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 100)))
    with pytest.raises(InvalidInput, match="schedule of learning rates"):
        predicted_steps(model, X, Y, BATCH, 1e-3)
