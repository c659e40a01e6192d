"""Measures a model under `tf.distribute.MirroredStrategy` on two logical CPUs; run by test_whole_models."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gram, relative_error

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build():
    return keras.Sequential(
        [
            keras.Input((6, 4)),
            keras.layers.Conv1D(5, 2, activation="tanh"),
            keras.layers.LSTM(4),
            keras.layers.Dense(3),
        ]
    )


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = build()
        model.compile("sgd", SOFTMAX)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 6, 4)).astype("float32"), random.integers(0, 3, 8)
    model.fit(x, y, epochs=1, batch_size=4, verbose=0)
    assert len(model.trainable_weights[0].value.values) == 2
    expected = reference_gram(float64_twin(build, model), x, y, SOFTMAX)
    warnings.simplefilter("error")
    for method in METHODS:
        assert relative_error(gradient_gram(model, x, y, method=method), expected) < 1e-5, method
        with strategy.scope():
            assert relative_error(gradient_gram(model, x, y, method=method), expected) < 1e-5, method
    refuses_steps_of_replicas(strategy, model, x, y)
    model.fit(x, y, epochs=1, batch_size=4, verbose=0)
    assert relative_error(gradient_gram(model, x, y), expected) > 1e-3


def refuses_steps_of_replicas(strategy, model, x, y):
    inside = tf.function(lambda x, y: per_example_gradients(model, x, y), autograph=False)
    np.testing.assert_allclose(inside(x, y), per_example_gradients(model, x, y), rtol=1e-4, atol=1e-6)
    with strategy.scope():
        np.testing.assert_allclose(inside(x, y), per_example_gradients(model, x, y), rtol=1e-4, atol=1e-6)
    step = tf.function(lambda x, y: strategy.run(per_example_gradients, (model, x, y)), autograph=False)
    with pytest.raises(UnsupportedModel, match="replicas"):
        step(x, y)


if __name__ == "__main__":
    main()
