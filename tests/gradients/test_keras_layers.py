"""Every Keras layer with weights, alone and in company, with and without bias: exact, without the generic path."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfstiff.gradients import gradient_gram

Case = tuple[Callable[[], keras.layers.Layer], tuple[int, ...]]  # a builder, and the shape of one input

# Layer class -> cases. What is listed here takes the structured path for every weight.
EXACT: dict[str, list[Case]] = {
    "Dense": [
        (lambda: layers.Dense(4), (5,)),
        (lambda: layers.Dense(4, use_bias=False), (5,)),
        (lambda: layers.Dense(4), (3, 5)),
        (lambda: layers.Dense(4, activation="tanh"), (2, 3, 5)),
    ],
    "EinsumDense": [
        (lambda: layers.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="de"), (4, 3)),
        (lambda: layers.EinsumDense("abc,bcd->abd", (4, 2), bias_axes="bd"), (4, 3)),
        (lambda: layers.EinsumDense("ab,bc->ac", 3), (4,)),
        (lambda: layers.EinsumDense("abcd,cde->abe", (2, 3)), (2, 3, 4)),
    ],
    "Conv1D": [
        (lambda: layers.Conv1D(3, 3, strides=2), (9, 2)),
        (lambda: layers.Conv1D(3, 3, dilation_rate=2, padding="causal", use_bias=False), (9, 2)),
        (lambda: layers.Conv1D(4, 2, groups=2), (9, 2)),
    ],
    "Conv2D": [
        (lambda: layers.Conv2D(3, (3, 2), strides=(2, 3), padding="same"), (6, 7, 2)),
        (lambda: layers.Conv2D(4, 3, groups=2, use_bias=False), (6, 6, 4)),
        (lambda: layers.Conv2D(3, 3, dilation_rate=2, padding="same"), (6, 7, 2)),
    ],
    "Conv3D": [
        (lambda: layers.Conv3D(3, (3, 2, 3), strides=(1, 2, 1), padding="same"), (4, 5, 4, 2)),
        (lambda: layers.Conv3D(2, 2, use_bias=False), (3, 3, 3, 2)),
    ],
    "Conv1DTranspose": [
        (lambda: layers.Conv1DTranspose(3, 3, strides=2), (5, 2)),
        (lambda: layers.Conv1DTranspose(3, 3, padding="same", use_bias=False), (5, 2)),
    ],
    "Conv2DTranspose": [
        (lambda: layers.Conv2DTranspose(3, 3, strides=2, padding="same"), (4, 5, 2)),
        (lambda: layers.Conv2DTranspose(3, (2, 3), use_bias=False), (4, 5, 2)),
    ],
    "Conv3DTranspose": [(lambda: layers.Conv3DTranspose(2, 3, strides=2), (3, 2, 3, 2))],
    "DepthwiseConv1D": [(lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (6, 2))],
    "DepthwiseConv2D": [
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"), (7, 6, 2)),
        (lambda: layers.DepthwiseConv2D((2, 3), dilation_rate=2, use_bias=False), (7, 6, 2)),
    ],
    "SeparableConv1D": [(lambda: layers.SeparableConv1D(3, 3, depth_multiplier=2), (6, 2))],
    "SeparableConv2D": [(lambda: layers.SeparableConv2D(3, 3, use_bias=False), (6, 6, 2))],
    "BatchNormalization": [
        (lambda: layers.BatchNormalization(), (5,)),
        (lambda: layers.BatchNormalization(center=False), (4, 4, 3)),
        (lambda: layers.BatchNormalization(scale=False, axis=1), (4, 3)),
    ],
    "LayerNormalization": [
        (lambda: layers.LayerNormalization(), (5,)),
        (lambda: layers.LayerNormalization(axis=(1, 2), center=False), (3, 4)),
        (lambda: layers.LayerNormalization(scale=False), (3, 4)),
    ],
    "GroupNormalization": [(lambda: layers.GroupNormalization(2), (3, 3, 4))],
    "RMSNormalization": [(lambda: layers.RMSNormalization(), (5,))],
    "SpectralNormalization": [
        (lambda: layers.SpectralNormalization(layers.Dense(3)), (5,)),
        (lambda: layers.SpectralNormalization(layers.Conv2D(2, 2)), (4, 4, 2)),
    ],
    "PReLU": [(lambda: layers.PReLU(), (4, 3)), (lambda: layers.PReLU(shared_axes=[1, 2]), (4, 4, 3))],
    "MultiHeadAttention": [
        (lambda: _SelfAttention(layers.MultiHeadAttention(2, 3)), (4, 6)),
        (lambda: _SelfAttention(layers.MultiHeadAttention(2, 3, value_dim=2, use_bias=False)), (4, 6)),
    ],
    "GroupQueryAttention": [(lambda: _SelfAttention(layers.GroupQueryAttention(3, 4, 2)), (4, 6))],
    "AdditiveAttention": [(lambda: _SelfAttention(layers.AdditiveAttention()), (4, 6))],
    "Attention": [(lambda: _SelfAttention(layers.Attention(use_scale=True)), (4, 6))],
    "SimpleRNN": [(lambda: layers.SimpleRNN(3), (3, 2)), (lambda: layers.SimpleRNN(3, use_bias=False), (3, 2))],
    "LSTM": [
        (lambda: layers.LSTM(3), (3, 2)),
        (lambda: layers.LSTM(3, unroll=True, return_sequences=True), (3, 2)),
        (lambda: layers.LSTM(3, go_backwards=True, use_bias=False), (3, 2)),
    ],
    "GRU": [
        (lambda: layers.GRU(3), (3, 2)),
        (lambda: layers.GRU(3, reset_after=False, return_sequences=True), (3, 2)),
    ],
    "RNN": [(lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), (3, 2))],
    "ConvLSTM1D": [(lambda: layers.ConvLSTM1D(2, 3), (2, 5, 2))],
    "ConvLSTM2D": [(lambda: layers.ConvLSTM2D(2, 2, padding="same"), (2, 4, 3, 2))],
    "ConvLSTM3D": [(lambda: layers.ConvLSTM3D(1, 2), (2, 3, 3, 3, 1))],
    "Bidirectional": [
        (lambda: layers.Bidirectional(layers.LSTM(2, return_sequences=True)), (3, 4)),
        (lambda: layers.Bidirectional(layers.GRU(2), merge_mode="sum"), (3, 4)),
    ],
    "TimeDistributed": [
        (lambda: layers.TimeDistributed(layers.Dense(3)), (4, 2)),
        (lambda: layers.TimeDistributed(layers.Conv1D(2, 2)), (3, 4, 2)),
    ],
    "Embedding": [(lambda: _Lookup(layers.Embedding(7, 3)), (4,))],
    "ReversibleEmbedding": [(lambda: _Lookup(layers.ReversibleEmbedding(7, 3)), (4,))],
}
# Layers that the oldest Keras we install with lacks.
LATER = {"ReversibleEmbedding"}
# Layers with weights of which some take the generic path, and why. There are none now.
GENERIC: dict[str, str] = {}
# Parts and bases of the layers above, which are never called by themselves.
PARTS = {"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells", "Wrapper", "Layer"}
# Wrappers of other frameworks' models and saved functions; they do not run on this backend or hold no Keras weights.
FOREIGN = {"FlaxLayer", "JaxLayer", "TorchModuleWrapper", "TFSMLayer"}


class _SelfAttention(keras.layers.Layer):
    def __init__(self, attention: keras.layers.Layer) -> None:
        super().__init__()
        self.attention = attention

    def build(self, shape: tuple[int | None, ...]) -> None:
        if isinstance(self.attention, layers.Attention):
            self.attention.build([shape, shape])
        else:
            self.attention.build(shape, shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if isinstance(self.attention, layers.Attention):
            return self.attention([x, x])
        return self.attention(x, x)


class _Lookup(keras.layers.Layer):
    """Rows of a table by rounded inputs."""

    def __init__(self, table: keras.layers.Layer) -> None:
        super().__init__()
        self.table = table

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.table.build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.table(keras.ops.cast(keras.ops.abs(x) * 10, "int32") % 7)


def _cases() -> list:
    """Alone always; in company the first case of each class, which is where weights before and behind it are seen."""
    return [
        pytest.param(builder, shape, in_company, id=f"{name}-{index}-{'company' if in_company else 'alone'}")
        for name, found in EXACT.items()
        if name not in LATER or hasattr(layers, name)
        for index, (builder, shape) in enumerate(found)
        for in_company in ((False, True) if index == 0 else (False,))
    ]


@pytest.mark.parametrize(("builder", "shape", "in_company"), _cases())
def test_every_layer_is_exact(
    builder: Callable[[], keras.layers.Layer], shape: tuple[int, ...], in_company: bool
) -> None:
    """Against one eager tape per example in double precision, of the same layers with the same weights."""
    random = np.random.default_rng(0)

    def build() -> keras.Model:
        keras.utils.set_random_seed(1)
        inputs = keras.Input(shape)
        if not in_company:
            return keras.Model(inputs, layers.Flatten()(builder()(inputs)))
        x = layers.Dense(shape[-1], activation="tanh")(inputs)
        x = layers.Flatten()(builder()(x))
        return keras.Model(inputs, layers.Dense(3)(x))

    model = build()
    keras.config.set_dtype_policy("float64")
    try:
        twin = build()
    finally:
        keras.config.set_dtype_policy("float32")
    for weight in model.trainable_weights:
        weight.assign(weight.numpy() + 0.3 * random.normal(size=weight.shape))
    twin.set_weights(model.get_weights())
    x = random.normal(size=(5, *shape)).astype("float32")
    y = random.normal(size=model(x).shape).astype("float32")

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the generic path warns
        gram = gradient_gram(model, x, y, loss="mse")

    rows = []
    for example, target in zip(x.astype("float64"), y.astype("float64"), strict=True):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((twin(example[None], training=False) - target) ** 2)
        weights = [weight.value for weight in twin.trainable_weights]
        gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        rows.append(np.concatenate([np.ravel(tf.convert_to_tensor(gradient)) for gradient in gradients]))
    exact = np.array(rows) @ np.array(rows).T
    error = np.abs(gram - exact).max()
    if error > 3e-6 * np.abs(exact).max():
        # Where terms cancel, single precision is the limit: what one tape per example makes of it is allowed tenfold.
        assert error <= 10 * np.abs(gradient_gram(model, x, y, loss="mse", method="loop") - exact).max()


def test_no_layer_with_weights_is_missing() -> None:
    """A layer that Keras adds must be put into one of the lists; those without weights are told by building them."""
    aliases: dict[type, str] = {}
    for name, found in inspect.getmembers(layers, inspect.isclass):
        if issubclass(found, keras.layers.Layer):
            aliases[found] = found.__name__ if hasattr(layers, found.__name__) else name
    known = EXACT.keys() | GENERIC.keys() | PARTS | FOREIGN
    missing = {name for found, name in aliases.items() if name not in known and _may_have_weights(found)}
    assert not missing
    assert known - set(aliases.values()) <= LATER


def _may_have_weights(layer: type) -> bool:
    """Whether the class, or one below `keras.layers.Layer`, adds trainable weights or holds layers that do."""
    own = [base for base in layer.__mro__ if issubclass(base, keras.layers.Layer) and base is not keras.layers.Layer]
    return any("add_weight" in inspect.getsource(base) for base in own) and layer not in (
        layers.Normalization,  # holds statistics, not trainable
        layers.IntegerLookup,
        layers.StringLookup,
        layers.STFTSpectrogram,  # a fixed filter bank
    )
