"""Layers, losses and data that several tests of the gradients share."""

import keras
import numpy as np
import tensorflow as tf

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Weighted(keras.layers.Layer):
    """`function(x, weight)` with one weight of any shape, near one."""

    def __init__(self, function, shape, initial=None, **options):
        super().__init__(**options)
        self.function, self.weight_shape, self.initial = function, shape, initial

    def build(self, _):
        initial = self.initial if self.initial is not None else keras.initializers.RandomUniform(0.5, 1.5)
        self.weight = self.add_weight(name="weight", shape=self.weight_shape, initializer=initial)

    def call(self, x):
        return self.function(x, tf.convert_to_tensor(self.weight))


class Gated(keras.layers.Layer):
    """`x + gate · (x W)`, the gate shut at first."""

    def build(self, shape):
        self.gate = self.add_weight(name="gate", shape=(), initializer="zeros")
        self.inner = self.add_weight(name="inner", shape=(shape[-1], shape[-1]), initializer="glorot_uniform")

    def call(self, x):
        return x + self.gate * tf.matmul(x, tf.convert_to_tensor(self.inner))


class Centred(keras.layers.Layer):
    """Takes the mean of the batch from every example, so that examples interact."""

    def call(self, x):
        return x - tf.reduce_mean(x, 0, keepdims=True)


class Rows(keras.layers.Layer):
    """`function(x)`, for functions of the whole batch."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def dense_net(width=5, num_classes=3):
    return sequential((4,), keras.layers.Dense(width, activation="tanh"), keras.layers.Dense(num_classes))


def labelled(shape, count=6, num_classes=3, seed=0):
    """Random inputs and labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, *shape)).astype("float32"), rng.integers(0, num_classes, count)
