from functools import partial

import keras
import numpy as np
import pytest

from tfstiff.bench import GRADIENTS
from tfstiff.bench.throughput import PLAIN, forward_backward, throughput
from tfstiff.errors import InvalidInput


def build(examples=24):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    model.compile(loss="mse")
    x = np.random.default_rng(0).standard_normal((examples, 3), np.float32)
    return model, x, x[:, :2]


def test_every_method_has_a_row():
    said = []
    plain, auto, loop = throughput(build, ("auto", "loop"), rounds=2, seconds=1e-6, say=said.append)
    assert [row.method for row in (plain, auto, loop)] == [PLAIN, "auto", "loop"]
    assert (plain.examples, auto.examples, loop.examples) == (24, 24, 16)  # a slow one has no time for all
    assert plain.ratio == 1
    assert all(row.seconds > 0 and row.ratio > 0 and not row.reason for row in (auto, loop))
    assert loop.described()["examples_per_second"] == pytest.approx(16 / loop.seconds)
    assert said


def test_the_gradients_alone_have_a_row(monkeypatch):
    rows = []

    def chunks(model, x, y):
        rows.append(len(x))
        yield from (np.ones((len(x) // 2, 26)) for _ in range(2))

    monkeypatch.setattr("tfstiff.bench.throughput.gradient_chunks", chunks)
    monkeypatch.setattr("tfstiff.bench.throughput.in_new_process", lambda *_, **__: {GRADIENTS: 7})
    _, gradients = throughput(build, (GRADIENTS,), rounds=2, seconds=60)
    assert (gradients.method, gradients.examples, gradients.peak_memory) == (GRADIENTS, 24, 7)
    assert gradients.seconds > 0
    assert rows == [16, 16, 24, 24, 24]  # tried on a few, then once before two rounds


def test_a_method_that_does_not_support_the_model(monkeypatch):
    def refuse(*_, **options):
        raise ValueError("No.\nBecause.")

    monkeypatch.setattr("tfstiff.bench.throughput.gradient_gram", refuse)
    _, auto = throughput(partial(build, 4), rounds=1)
    assert auto.reason == "not supported: No."
    assert auto.seconds is auto.examples_per_second is None


def test_unknown_methods_are_refused():
    with pytest.raises(InvalidInput, match="Unknown method"):
        throughput(build, ("auto", "magic"))


def test_forward_backward_is_the_summed_loss():
    model, x, y = build()
    expected = np.sum(np.mean((model.predict(x, verbose=0) - y) ** 2, axis=1))
    assert forward_backward(model, x, y)() == pytest.approx(expected, rel=1e-5)
