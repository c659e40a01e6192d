"""The private parts of Keras that are touched: each test fails when one of them moves."""

from importlib import import_module

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import _keras

STEPS = np.ones((2, 3, 4), "float32")


class Looped(Exception):
    pass


def refuse(name, original):
    def loop(*_, **__):
        assert callable(original)
        raise Looped(name)

    return loop


LOOPS = {
    "rnn": [
        lambda: keras.layers.SimpleRNN(2)(STEPS),
        lambda: keras.layers.RNN(keras.layers.GRUCell(2))(STEPS),
        lambda: keras.layers.LSTM(2, use_cudnn=False)(STEPS),
        lambda: keras.layers.GRU(2, use_cudnn=False, unroll=True)(STEPS),
        lambda: keras.layers.ConvLSTM1D(2, 2)(STEPS[..., None]),
    ],
    "scan": [lambda: keras.ops.scan(lambda carry, x: (carry + x, carry), STEPS[0], STEPS)],
}


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, calls in LOOPS.items() for call in calls])
def test_loops_over_time(name, call):
    with _keras.loops_over_time(refuse), pytest.raises(Looped, match=name):
        call()
    call()


def test_cudnn_is_asked_as_the_layers_ask(monkeypatch):
    """On a GPU, which is pretended: LSTM and GRU of the usual kind hand their sequences over, others do not."""
    kinds = {
        True: [keras.layers.LSTM(2), keras.layers.GRU(2, use_cudnn=True)],
        False: [
            keras.layers.LSTM(2, use_cudnn=False),
            keras.layers.LSTM(2, unroll=True),
            keras.layers.LSTM(2, recurrent_dropout=0.5),
            keras.layers.LSTM(2, activation="relu"),
            keras.layers.GRU(2, reset_after=False),
            keras.layers.GRU(2, use_bias=False),
            keras.layers.SimpleRNN(2),
        ],
    }
    assert not any(_keras.uses_cudnn(layer) for layers in kinds.values() for layer in layers)
    module = import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(module, "_is_gpu_available", lambda: True)
    monkeypatch.setattr(module, "_cudnn_lstm", handed_over)
    monkeypatch.setattr(module, "_cudnn_gru", handed_over)
    for expected, layers in kinds.items():
        for layer in layers:
            assert _keras.uses_cudnn(layer) is expected
            if expected:
                with pytest.raises(Looped, match="cuDNN"):
                    layer(STEPS)
            else:
                layer(STEPS)


def handed_over(*_, **__):
    raise Looped("cuDNN")


def test_values_of_a_function_that_is_still_being_traced():
    weight = tf.Variable(3.0)
    seen = []

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])], autograph=False)
    def traced(x, y):
        halfway = x * weight
        seen.extend(*_keras.evaluate_while_tracing(halfway.graph, [x, y], [halfway, y + 1], [[1.0, 2.0], [0.0]]))
        return halfway + y

    assert traced(np.float32([5]), np.float32([1])).numpy().tolist() == [16]  # and the function is whole
    assert [value.tolist() for value in seen] == [[3, 6], [1]]


def test_the_last_operations_of_a_functional_model():
    inputs = keras.Input((4,))
    first, second, third = (keras.layers.Dense(4, name=name) for name in ("first", "second", "third"))
    hidden = first(inputs)
    outputs = [
        keras.ops.relu(second(hidden)),
        keras.layers.Add(name="sum")([third(hidden), hidden]),
        third(second(hidden)),
    ]
    model = keras.Model(inputs, outputs)

    def names(is_wanted):
        return sorted(operation.name for operation in _keras.last_operations(model, is_wanted))

    dense = ("first", "second", "third")
    assert names(lambda operation: operation.name in dense) == ["first", "second", "third"]  # a sum of two ways
    assert names(lambda operation: operation.name in ("first", "second")) == ["first", "second"]
    assert names(lambda operation: operation.name == "first") == ["first"]
    assert names(lambda operation: False) == []
    assert names(lambda operation: operation.name == "sum") == ["sum"]
