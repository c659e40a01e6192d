"""Recurrent layers of any length: against one traced tape an example of the model as it is, in double precision."""

from __future__ import annotations

import warnings
from importlib import import_module

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src import backend
from oracles import float64_twin, relative_error, take
from small_models import SOFTMAX

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.tracing import traceable

FEATURES = 3


class Leaky(layers.Layer):
    """A cell of two states, whose output is neither of them."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.state_size, self.output_size, self.units = [units, units], 2 * units, units

    def build(self, shape):
        self.inner = self.add_weight(name="inner", shape=(shape[-1] + self.units, self.units))
        self.rate = self.add_weight(name="rate", shape=(self.units,), initializer="random_normal")

    def call(self, x, states):
        fast, slow = states
        fast = keras.ops.tanh(keras.ops.matmul(keras.ops.concatenate([x, slow], -1), self.inner))
        rate = keras.ops.sigmoid(self.rate)
        slow = rate * slow + (1 - rate) * fast
        return keras.ops.concatenate([fast * slow, slow], -1), [fast, slow]


class Glimpse(layers.Layer):
    """A cell that looks at more of the example than its input."""

    state_size = output_size = 2
    memory = None

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 2))

    def call(self, x, states):
        state = keras.ops.tanh(keras.ops.matmul(x, self.kernel) + states[0] * self.memory)
        return state, [state]


class Looking(layers.Layer):
    """Gives each example's mean to the cell of a recurrent layer."""

    def __init__(self, **options):
        super().__init__(**options)
        self.cell = Glimpse()
        self.recurrent = layers.RNN(self.cell)

    def call(self, x):
        self.cell.memory = keras.ops.mean(x, [1, 2])[:, None]
        return self.recurrent(x)


def both(recurrent, merge_mode="concat"):
    return layers.Bidirectional(recurrent, merge_mode=merge_mode)


class Mean(layers.Layer):
    """Over all times, those under a mask too, where a recurrent layer puts something as well."""

    def __init__(self, **options):
        super().__init__(**options)
        self.supports_masking = True

    def call(self, x):
        return keras.ops.mean(x, 1)

    def compute_mask(self, _, mask=None):
        return None


def pooled(hidden):
    return Mean()(hidden)


def separate(x):
    forwards, backwards = both(layers.SimpleRNN(3, return_sequences=True), None)(x)
    return layers.Concatenate()([pooled(forwards), layers.LSTM(2)(backwards)])


def with_states(x):
    output, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(x)
    return layers.Concatenate()([pooled(output), h, c])


def encoder_decoder(x):
    """The decoder starts from the encoder's states, one of them through weights."""
    _, *states = both(layers.LSTM(2, return_state=True))(x)
    start = [layers.Concatenate()([states[0], states[2]]), layers.Dense(4)(states[1])]
    return pooled(layers.LSTM(4, return_sequences=True)(x, initial_state=start))


def frames(x):
    return layers.Reshape((x.shape[1], FEATURES, 1))(x)


def words_in_sentences(x):
    """A recurrent layer over the features of each time, and one over the times."""
    inner = layers.TimeDistributed(layers.GRU(2))(frames(x))
    return layers.GRU(3)(inner)


# By name: what is between input and logits, and the number of steps.
MODELS = {
    "SimpleRNN": (lambda x: layers.SimpleRNN(4)(x), 33),
    "SimpleRNN, one step": (lambda x: layers.SimpleRNN(4)(x), 1),
    "GRU": (lambda x: layers.GRU(4)(x), 7),
    "GRU, reset before": (lambda x: pooled(layers.GRU(4, reset_after=False, return_sequences=True)(x)), 33),
    "GRU, backwards": (lambda x: pooled(layers.GRU(4, go_backwards=True, return_sequences=True)(x)), 7),
    "LSTM": (lambda x: layers.LSTM(4)(x), 33),
    "LSTM, one step": (lambda x: pooled(layers.LSTM(4, return_sequences=True)(x)), 1),
    "LSTM, states": (with_states, 7),
    "LSTM, two steps, backwards": (lambda x: layers.LSTM(4, go_backwards=True, use_bias=False)(x), 2),
    "cell of two states": (lambda x: pooled(layers.RNN(Leaky(3), return_sequences=True)(x)), 7),
    "zeros under the mask": (
        lambda x: layers.LSTM(2)(layers.RNN(Leaky(3), return_sequences=True, zero_output_for_mask=True)(x)),
        7,
    ),
    "cells on cells": (lambda x: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2), Leaky(2)])(x), 7),
    "layer on layer": (lambda x: layers.LSTM(3)(layers.GRU(4, return_sequences=True)(x)), 33),
    "both ways": (lambda x: pooled(both(layers.LSTM(3, return_sequences=True))(x)), 33),
    "both ways, added": (lambda x: layers.GRU(3)(both(layers.GRU(3, return_sequences=True), "sum")(x)), 7),
    "both ways, averaged": (lambda x: both(layers.LSTM(3), "ave")(x), 7),
    "both ways, multiplied": (lambda x: pooled(both(layers.GRU(3, return_sequences=True), "mul")(x)), 2),
    "both ways, separate": (separate, 7),
    "encoder and decoder": (encoder_decoder, 7),
    "words in sentences": (words_in_sentences, 7),
    "ConvLSTM1D": (lambda x: layers.Flatten()(layers.ConvLSTM1D(2, 2)(frames(x))), 7),
    "ConvLSTM2D": (
        lambda x: layers.GlobalAveragePooling3D()(
            layers.ConvLSTM2D(2, 2, padding="same", return_sequences=True)(
                layers.Reshape((x.shape[1], FEATURES, 1, 1))(x)
            )
        ),
        2,
    ),
}
UNMASKED = {"words in sentences", "ConvLSTM1D", "ConvLSTM2D"}  # what reshapes its input drops the mask


def builder(hidden, length, masked):
    def build():
        x = keras.Input((length, FEATURES))
        return keras.Model(x, layers.Dense(3)(hidden(layers.Masking()(x) if masked else x)))

    return build


def examples(length, masked, count=5, features=FEATURES):
    """Of the masked ones one is padded, one begins late, one has a gap and one is nothing but padding."""
    rng = np.random.default_rng(length)
    x, y = rng.normal(size=(count, length, features)).astype("float32"), np.arange(count) % 3
    if masked:
        x[1, -(-length // 2) :] = x[2, : length // 2] = x[3, length // 3 : length // 2 + 1] = x[4] = 0
    return x, y


def expected_of(build, model, x, y, loss=SOFTMAX):
    """The losses (n,) and gradients (n, P) of the examples, by a traced tape of the model in double precision."""
    twin = float64_twin(build, model)

    @tf.function
    def one(x, y):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss.call(y, twin(x, training=False)))
        gradients = tape.gradient(
            value, [weight.value for weight in twin.trainable_weights], unconnected_gradients="zero"
        )
        return value, tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)

    found = [one(take(x, slice(i, i + 1)), take(y, slice(i, i + 1))) for i in range(len(y))]
    return tuple(np.stack([part.numpy() for part in parts]) for parts in zip(*found, strict=True))


def assert_exact(build, x, y, within=3e-6):
    """Checks losses, gradients and products, all without the generic path."""
    model = build()
    losses, gradients = expected_of(build, model, x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), gradients @ gradients.T) < within
        assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), gradients) < within
    plan = plan_for(model, x, y, loss=SOFTMAX)
    assert relative_error(plan.factors(x, y).losses.numpy(), losses) < within


@pytest.mark.parametrize("name", MODELS)
def test_exact(name):
    hidden, length = MODELS[name]
    masked = name not in UNMASKED
    assert_exact(builder(hidden, length, masked), *examples(length, masked))


@pytest.mark.parametrize("name", ["LSTM", "GRU, backwards", "cell of two states", "both ways, separate"])
def test_exact_without_a_mask(name):
    hidden, length = MODELS[name]
    assert_exact(builder(hidden, length, False), *examples(length, False))


@pytest.mark.parametrize("recurrent", [layers.GRU, layers.LSTM])
@pytest.mark.parametrize("then", [layers.GlobalAveragePooling1D, lambda: layers.LSTM(5)])
def test_padded_texts(recurrent, then):
    """The most common text model there is."""

    def build():
        words = keras.Input((8,), dtype="int32")
        hidden = both(recurrent(6, return_sequences=True))(layers.Embedding(30, 8, mask_zero=True)(words))
        return keras.Model(words, layers.Dense(4)(then()(hidden)))

    x = np.random.default_rng(13).integers(1, 30, (10, 8))
    x[:5, 5:] = 0
    assert_exact(build, x, np.arange(10) % 4)


def test_a_cell_that_looks_at_more_than_its_inputs():
    """It cannot be applied to all times at once: a few steps are unrolled."""
    assert_exact(builder(lambda x: Looking()(x), 7, False), *examples(7, False))


def test_many_steps_of_such_a_cell():
    """The generic path takes its weights, and says so."""
    build = builder(lambda x: Looking()(x), 70, False)
    model, (x, y) = build(), examples(70, False, 3)
    _, expected = expected_of(build, model, x, y)
    with pytest.warns(UserWarning, match="slower path .*glimpse"):
        assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 3e-6


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method):
    build = builder(lambda x: pooled(both(layers.GRU(3, return_sequences=True))(x)), 7, True)
    model, (x, y) = build(), examples(7, True)
    _, expected = expected_of(build, model, x, y)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, method=method), expected) < 3e-6


@pytest.mark.parametrize(("precision", "within"), [("float64", 1e-12), ("policy", 3e-2)])
def test_precisions(precision, within):
    build = builder(lambda x: pooled(both(layers.LSTM(3, return_sequences=True))(x)), 7, True)
    policy = "mixed_bfloat16" if precision == "policy" else "float32"
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = examples(7, True)
    _, expected = expected_of(build, model, x, y)
    found = per_example_gradients(model, x, y, loss=SOFTMAX, method="structured", precision=precision)
    assert relative_error(found, expected) < within


def test_layers_are_as_they_were():
    """Layers that unroll themselves, or not, do so after being measured, and Keras' loops are Keras' own."""
    x = keras.Input((3, FEATURES))
    model = keras.Model(x, layers.LSTM(2)(layers.GRU(2, unroll=True, return_sequences=True)(x)))
    before, loops = model.get_config(), (backend.rnn, backend.core.scan)
    gradient_gram(model, np.ones((4, 3, FEATURES), "float32"), np.ones((4, 2)), loss="mse")
    assert model.get_config() == before
    assert (backend.rnn, backend.core.scan) == loops


class LinearRecurrence(layers.Layer):
    """A diagonal state-space layer by `keras.ops.scan`."""

    def __init__(self, reverse=False, every_time=True, **options):
        super().__init__(**options)
        self.reverse, self.every_time = reverse, every_time

    def build(self, shape):
        self.rate = self.add_weight(name="rate", shape=(shape[-1],), initializer="random_normal")
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], shape[-1]))

    def call(self, x):
        rate = keras.ops.sigmoid(self.rate)

        def step(state, now):
            state = rate * state + keras.ops.tanh(keras.ops.matmul(now, self.kernel))
            return state, 2 * state if self.every_time else None

        by_time = keras.ops.transpose(x, (1, 0, 2))
        last, states = keras.ops.scan(step, keras.ops.zeros_like(by_time[0]), by_time, reverse=self.reverse)
        return keras.ops.mean(states, 0) - last if self.every_time else last

    def compute_output_shape(self, shape):
        return shape[0], shape[2]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every_time", [False, True])
def test_scan(reverse, every_time):
    assert_exact(builder(lambda x: LinearRecurrence(reverse, every_time)(x), 7, False), *examples(7, False))


class Loop(layers.Layer):
    """`function(x, weight)` of a sequence."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def build(self, shape):
        self.weight = self.add_weight(name="weight", shape=(shape[-1], shape[-1]), initializer="orthogonal")

    def call(self, x):
        return self.function(x, tf.convert_to_tensor(self.weight))

    def compute_output_shape(self, shape):
        return shape[0], shape[-1]


def decaying(x, weight):
    """`keras.ops.scan` over the inputs and numbers of the times, which are nobody's."""

    def step(carry, now):
        state, rate = carry
        x, time = now
        state = keras.ops.tanh(keras.ops.matmul(state, weight) / (1 + time) + rate * x)
        return (state, rate * 0.9), (state, rate)

    times = keras.ops.arange(x.shape[1], dtype=x.dtype)
    start = (keras.ops.zeros_like(x[:, 0]), keras.ops.ones((), x.dtype))
    return keras.ops.scan(step, start, (keras.ops.transpose(x, (1, 0, 2)), times))[0][0]


def while_loop(x, weight):
    def body(time, state):
        return time + 1, tf.tanh(state @ weight + tf.gather(x, time, axis=1))

    return tf.while_loop(lambda time, _: time < x.shape[1], body, [0, tf.zeros_like(x[:, 0])])[1]


def tf_scan(x, weight):
    return tf.scan(lambda state, now: tf.tanh(state @ weight + now), tf.transpose(x, [1, 0, 2]), x[:, 0] * 0)[-1]


def test_scan_of_what_is_not_rows():
    assert_exact(builder(lambda x: Loop(decaying)(x), 7, False), *examples(7, False))


@pytest.mark.parametrize(("function", "length"), [(while_loop, 7), (tf_scan, 7)])
def test_other_loops(function, length):
    """Weights in a loop that is nobody's known one take the generic path, which says so, to the right value."""
    build = builder(lambda x: Loop(function)(x), length, False)
    model, (x, y) = build(), examples(length, False, 3)
    _, expected = expected_of(build, model, x, y)
    with pytest.warns(UserWarning, match="slower path .*loop"):
        assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), expected) < 3e-6


def test_cudnn_writes_zeros_under_a_mask(monkeypatch):
    """On a GPU an LSTM holds no output under a mask. Here one is pretended."""

    def build(**options):
        x = keras.Input((7, FEATURES))
        hidden = layers.LSTM(3, return_sequences=True, **options)(layers.Masking()(x))
        return keras.Model(x, layers.Concatenate()([pooled(hidden), layers.LSTM(2, go_backwards=True)(hidden)]))

    model, x = build(), examples(7, True)[0]
    holds, writes = (build(zero_output_for_mask=zeros) for zeros in (False, True))
    for twin in (holds, writes):
        twin.set_weights(model.get_weights())
    assert relative_error(writes(x).numpy(), holds(x).numpy()) > 1e-3
    expected = writes(x).numpy()
    monkeypatch.setattr(import_module("keras.src.backend.tensorflow.rnn"), "_is_gpu_available", lambda: True)

    @tf.function(autograph=False)
    def traced(x):
        with traceable(model):
            return model(x)

    assert relative_error(traced(x).numpy(), expected) < 1e-6
    assert not model.layers[2].zero_output_for_mask
    assert model.layers[2].use_cudnn == "auto"


def test_stateful_layers_are_refused():
    model = keras.Sequential([keras.Input(batch_shape=(6, 5, 2)), layers.LSTM(3, stateful=True), layers.Dense(1)])
    with pytest.raises(UnsupportedModel, match="stateful"):
        gradient_gram(model, np.ones((6, 5, 2), "float32"), np.ones((6, 1), "float32"), loss="mse")
