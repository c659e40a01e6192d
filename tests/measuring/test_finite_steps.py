import math

import keras
import numpy as np
import pytest

import tfstiff
from tfstiff import Probe, gradient_gram
from tfstiff.errors import InvalidInput
from tfstiff.measuring.finite_steps import FiniteStepStiffness, finite_step_stiffness

RNG = np.random.default_rng(0)
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def examples(count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)), np.arange(count) % 3


TRAIN, VALIDATION = examples(7, 1), examples(9, 2)
PROBE = Probe.from_arrays(train=TRAIN, validation=VALIDATION, size=None)


def network(dtype="float64", seed=0):
    keras.utils.set_random_seed(seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        layers = [keras.layers.Dense(6, activation="tanh"), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((4,)), *layers])
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile("sgd", SOFTMAX)
    return model


def losses(model, x, y):
    logits = model(x, training=False).numpy().astype(np.float64)
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]


def test_it_is_a_public_name():
    assert tfstiff.finite_step_stiffness is finite_step_stiffness


def test_changes_are_those_of_the_steps():
    model = network()
    found = finite_step_stiffness(model, PROBE, [0.3, 0.01], precision="float64")
    assert found.changes.shape == found.predicted.shape == (2, 7, 9)
    start = model.get_weights()
    before = losses(model, *VALIDATION)
    gradients = tfstiff.per_example_gradients(model, *TRAIN, precision="float64")
    for index, gradient in enumerate(gradients):
        place, stepped = 0, []
        for weight, is_trained in zip(start, [True, True, True, True, False, False, True, True], strict=True):
            part = 0.0
            if is_trained:
                part = gradient[place : place + weight.size].reshape(weight.shape)
                place += weight.size
            stepped.append(weight - 0.3 * part)
        model.set_weights(stepped)
        np.testing.assert_allclose(found.changes[0, index], losses(model, *VALIDATION) - before, atol=1e-12)
    model.set_weights(start)
    gram = gradient_gram(model, *TRAIN, *VALIDATION, precision="float64")
    np.testing.assert_allclose(found.predicted[1], -0.01 * gram, rtol=1e-9)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("pair_set", ["train_val", "train_train", "val_val"])
def test_the_ratio_goes_to_1_as_fast_as_the_step_shrinks(pair_set, normalized):
    sizes = [1e-2, 1e-3, 1e-4]
    found = finite_step_stiffness(
        network(), PROBE, sizes, pair_set=pair_set, normalized=normalized, precision="float64"
    )
    deviation = found.median_deviation
    assert deviation[2] < 1e-3
    np.testing.assert_allclose(deviation[:2] / deviation[1:], 10, rtol=0.1)
    np.testing.assert_allclose(found.median_ratio[2], 1, atol=1e-3)
    assert found.sign_agreement[2] > 0.98
    assert (found.resolved_share == 1).all()
    assert found.is_symmetric == (pair_set != "train_val")
    rows = {"train": 7, "val": 9}
    assert found.changes.shape[1:] == tuple(rows[half] for half in pair_set.split("_"))
    if found.is_symmetric:
        assert np.isnan(np.diagonal(found.ratios, axis1=1, axis2=2)).all()
        assert (np.diagonal(found.changes, axis1=1, axis2=2)[2] < 0).all(), "a step lowers its own loss"


def test_a_linear_model_with_squared_error_is_quadratic():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,), dtype="float64"), keras.layers.Dense(1, use_bias=False, dtype="float64")]
    )
    model.compile("sgd", "mse")
    x, x2 = TRAIN[0], VALIDATION[0]
    y, y2 = x.sum(1, keepdims=True), x2.sum(1, keepdims=True)
    found = finite_step_stiffness(model, Probe.from_arrays((x, y), (x2, y2), size=None), 0.05, precision="float64")
    w = model.get_weights()[0]
    gradients, error2 = 2 * (x @ w - y) * x, x2 @ w - y2
    moved = 0.05 * gradients @ x2.T
    np.testing.assert_allclose(found.predicted[0], -2 * moved * error2.T, atol=1e-12)
    np.testing.assert_allclose(found.changes[0], -2 * moved * error2.T + moved**2, atol=1e-12)


def test_normalized_steps_have_the_given_length():
    model = network()
    plain = finite_step_stiffness(model, PROBE, 1e-5, precision="float64")
    unit = finite_step_stiffness(model, PROBE, 1e-5, normalized=True, precision="float64")
    lengths = np.sqrt(np.diag(gradient_gram(model, *TRAIN, precision="float64")))
    np.testing.assert_allclose(unit.predicted[0], plain.predicted[0] / lengths[:, None], rtol=1e-9)
    np.testing.assert_allclose(unit.changes[0], plain.changes[0] / lengths[:, None], rtol=1e-2, atol=1e-9)


def state(model):
    variables = (*model.variables, *model.optimizer.variables)
    return [np.array(variable.numpy()) for variable in variables]


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_weights_are_restored_bit_for_bit(dtype):
    model = network(dtype)
    model.fit(*TRAIN, verbose=0)
    before = state(model)
    finite_step_stiffness(model, PROBE, [0.1, 10.0])
    for one, two in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(one, two, strict=True)


def test_weights_are_restored_where_it_fails(monkeypatch):
    model = network()
    before, seen = state(model), []

    def losses():
        seen.append(model.get_weights()[0])
        if len(seen) == 3:
            raise KeyboardInterrupt
        return np.zeros(9)

    monkeypatch.setattr("tfstiff.measuring.finite_steps.loss_function", lambda *_: losses)
    with pytest.raises(KeyboardInterrupt):
        finite_step_stiffness(model, PROBE, 0.1)
    assert not np.array_equal(seen[2], before[0])
    for one, two in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(one, two, strict=True)


def test_small_steps_in_single_precision_are_not_resolved():
    found = finite_step_stiffness(network("float32"), PROBE, [1e-9, 1e-2])
    assert found.resolved_share[0] == 0
    assert np.isnan(found.median_ratio[0])
    assert np.isnan(found.sign_agreement[0])
    assert found.resolved_share[1] > 0.9
    assert found.median_ratio[1] == pytest.approx(1, abs=0.1)


def test_the_linear_regime_ends():
    found = finite_step_stiffness(network(), PROBE, [10.0, 1e-3, 1e-2, 1.0, 1e-4], precision="float64")
    assert found.linear_up_to(0.1) == 1e-2
    assert math.isnan(found.linear_up_to(1e-9))
    assert found.sign_agreement[0] < found.sign_agreement[4]


def test_an_example_without_gradient_moves_nothing():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="relu", use_bias=False)])
    model.compile("sgd", "mse")
    model.set_weights([np.array([[1.0], [0], [0], [0]], np.float32)])
    halves = [(x, np.full((len(x), 1), 3.0)) for x, _ in (TRAIN, VALIDATION)]
    found = finite_step_stiffness(model, Probe.from_arrays(*halves, size=None), 0.1, normalized=True)
    dead = TRAIN[0][:, 0] <= 0
    assert dead.any()
    np.testing.assert_array_equal(found.changes[0, dead], 0)
    np.testing.assert_array_equal(found.predicted[0, dead], 0)


def test_summaries_of_known_matrices():
    predicted = np.array([[[1.0, -1], [2, 1e-9]]])
    changes = np.array([[[1.5, 1], [2, 5]]])
    found = FiniteStepStiffness(np.array([0.1]), changes, predicted, np.array([1e-6, 1e-6]), False)
    np.testing.assert_array_equal(found.ratios, [[[1.5, -1], [1, np.nan]]])
    assert found.resolved_share == pytest.approx(3 / 4)
    assert found.sign_agreement == pytest.approx(2 / 3)
    assert found.median_ratio == pytest.approx(1)
    assert found.median_deviation == pytest.approx(0.5)


@pytest.mark.parametrize("size", [0, -1.0, math.nan, [], [0.1, math.inf], [[0.1]]])
def test_step_sizes_that_are_none(size):
    with pytest.raises(InvalidInput, match="above 0"):
        finite_step_stiffness(network(), PROBE, size)


def test_options_that_are_none():
    with pytest.raises(InvalidInput, match="Unknown pair set"):
        finite_step_stiffness(network(), PROBE, 0.1, pair_set="val_train")
    with pytest.raises(InvalidInput, match="Unknown precision"):
        finite_step_stiffness(network(), PROBE, 0.1, precision="half")
