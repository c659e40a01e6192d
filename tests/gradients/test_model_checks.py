"""Models that are refused in words, or warned of, for what they do while they are called."""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gram, relative_error
from small_models import SOFTMAX, dense_net, labelled, sequential

import tfstiff
from tfstiff import UnsupportedModel, gradient_gram
from tfstiff.gradients import METHODS

layers = keras.layers
HALF = np.array([[1.0], [1.0], [0.0], [0.0]], "float32")


class Masked(keras.layers.Layer):
    """Masks its kernel by assigning to it, as PixelCNN does, or by computing with a masked one."""

    def __init__(self, assigns):
        super().__init__()
        self.assigns = assigns

    def build(self, _):
        self.kernel = self.add_weight(shape=(4, 3), name="kernel")

    def call(self, x):
        if self.assigns:
            self.kernel.assign(self.kernel * HALF)
            return keras.ops.matmul(x, self.kernel)
        return keras.ops.matmul(x, self.kernel * HALF)


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_that_assigns_to_its_weight(method):
    with pytest.raises(UnsupportedModel, match=r"assigns to its trainable weight .*kernel"):
        gradient_gram(sequential((4,), Masked(True)), *labelled((4,)), loss=SOFTMAX, method=method)


def test_a_layer_that_computes_with_a_changed_weight_is_measured():
    def build():
        return sequential((4,), Masked(False))

    model = build()
    x, y = labelled((4,))
    expected = reference_gram(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), expected) < 1e-5


class Untracked(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__()
        self.holder = (lambda variable: lambda: variable)(tf.Variable(2.0, name="temperature", **options))

    def call(self, x):
        return x * self.holder()


def test_variables_that_keras_does_not_track_are_named():
    x, y = labelled((4,))
    with pytest.warns(UserWarning, match=r"does not track: temperature:0\. Neither does `fit` train them"):
        gradient_gram(sequential((4,), layers.Dense(3), Untracked()), x, y, loss=SOFTMAX)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient_gram(sequential((4,), layers.Dense(3), Untracked(trainable=False)), x, y, loss=SOFTMAX)
        frozen = sequential((4,), layers.Dense(3), layers.BatchNormalization(), layers.Dense(3))
        frozen.layers[0].trainable = False
        gradient_gram(frozen, x, y, loss=SOFTMAX)


class WithoutCall(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)
        self.dense.build((None, 4))
        self.built = True


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_call(method):
    x, y = labelled((4,))
    model = WithoutCall()
    with pytest.raises(UnsupportedModel, match="no method `call`"):
        gradient_gram(model, x, y, loss=SOFTMAX, method=method)

    def objective(model, x, y):
        return SOFTMAX.call(y, model.dense(x))

    assert gradient_gram(model, x, y, objective=objective, method=method).any()


@pytest.mark.parametrize("count", [6, 20])
@pytest.mark.parametrize("method", METHODS)
def test_in_batch_negatives(method, count):
    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    towers = layers.Embedding(20, 8)(user), keras.ops.transpose(layers.Embedding(30, 8)(item))
    model = keras.Model([user, item], keras.ops.matmul(*towers))
    index = np.arange(count)
    with pytest.raises(UnsupportedModel, match="entry for each example of the batch, as with in-batch negatives"):
        gradient_gram(
            model,
            [index, index + 3],
            np.eye(count, dtype="float32"),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            method=method,
        )


def test_a_trace_that_fails_takes_the_generic_path_with_its_reason(monkeypatch):
    from tfstiff.gradients import structured

    def fails(*_):
        raise TypeError("no such luck")

    monkeypatch.setattr(structured, "find_uses", fails)
    model = dense_net()
    x, y = labelled((4,), 12)
    with pytest.warns(UserWarning, match="slower path vectorized .*TypeError: no such luck"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, reference_gram(float64_twin(dense_net, model), x, y, SOFTMAX)) < 1e-5
    with pytest.raises(UnsupportedModel, match="no such luck"):
        gradient_gram(model, x, y, loss=SOFTMAX, method="structured")


def test_the_errors_are_public():
    assert issubclass(tfstiff.UnsupportedModel, tfstiff.InvalidInput)
    assert issubclass(tfstiff.InvalidInput, tfstiff.TfstiffError)


STRIDED = """
import keras, numpy as np, tfstiff
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((17, 17, 5))])
for _ in range(3):
    model.add(keras.layers.Conv2D(5, 1, strides=2, padding="same"))
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(3))
x, y = np.random.default_rng(0).normal(size=(6, 17, 17, 5)).astype("float32"), np.arange(6) % 3
options = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
grams = [tfstiff.gradient_gram(model, x, y, method=m, **options) for m in ("auto", "loop", "jacobian", "vectorized")]
one = [tfstiff.gradient_gram(model, x[:1], y[:1], method=m, **options) for m in ("auto", "loop", "jacobian")]
for gram in grams[1:]:
    np.testing.assert_allclose(gram, grams[0], rtol=1e-4, atol=1e-4 * np.abs(gram).max())
for gram in one:
    np.testing.assert_allclose(gram, grams[0][:1, :1], rtol=1e-4)
print("survived")
"""

EXPONENTIAL = """
import keras, numpy as np, tensorflow as tf, tfstiff
class Rotated(keras.layers.Layer):
    def build(self, _):
        self.weight = self.add_weight(shape=(8, 8), name="weight", initializer="random_normal")
    def call(self, x):
        weight = tf.convert_to_tensor(self.weight)
        return tf.matmul(x, tf.linalg.expm(weight - tf.transpose(weight)))
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((8,)), Rotated(), keras.layers.Dense(3)])
x, y = np.random.default_rng(0).normal(size=(6, 8)).astype("float32"), np.arange(6) % 3
options = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
loop = tfstiff.gradient_gram(model, x, y, method="loop", **options)
np.testing.assert_allclose(tfstiff.gradient_gram(model, x, y, **options), loop, rtol=1e-4, atol=1e-5)
for method in ("jacobian", "vectorized"):
    try:
        found = tfstiff.gradient_gram(model, x, y, method=method, **options)
        np.testing.assert_allclose(found, loop, rtol=1e-4, atol=1e-5)
    except tfstiff.UnsupportedModel as error:
        print(method, error)
print("survived")
"""


def test_what_corrupts_memory_is_not_run():
    """Each of these ended the process: a strided convolution of one example, and a vectorised product."""
    command = [sys.executable, "-W", "ignore", "-c", STRIDED + EXPONENTIAL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout, done.stderr[-2000:])
    assert done.stdout.count("survived\n") == 2


WITHOUT_ONEDNN = """
import keras, numpy as np, tfstiff
layers = keras.layers
x, y = np.random.default_rng(0).normal(size=(6, 5, 5, 4)).astype("float32"), np.arange(6) % 3
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
for groups in (1, 2):
    model = keras.Sequential(
        [keras.Input((5, 5, 4)), layers.Conv2D(6, 3, groups=groups), layers.Flatten(), layers.Dense(3)]
    )
    for method in ("auto", "loop"):
        try:
            print(groups, tfstiff.gradient_gram(model, x, y, loss=loss, method=method).shape)
        except tfstiff.UnsupportedModel as error:
            print(groups, "TF_ENABLE_ONEDNN_OPTS=1" in str(error))
"""


def test_convolutions_in_groups_without_onednn():
    """TensorFlow fuses them with their bias, or differentiates them, and then cannot compute it."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_ONEDNN],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        check=True,
    )
    assert done.stdout.split("\n")[:4] == ["1 (6, 6)", "1 (6, 6)", "2 True", "2 True"]
