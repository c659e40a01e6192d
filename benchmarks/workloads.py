"""The models that are measured, by name, with random examples: the built-in ones, a transformer encoder and an LSTM."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np

from tfstiff import models

CLASSES = 10
IMAGE, TOKENS, STEPS = (32, 32, 3), (128, 128), (50, 32)


def encoder(shape: tuple[int, ...], classes: int, depth: int = 4, heads: int = 4) -> keras.Model:
    """A transformer encoder that normalises before each block; its outputs are averaged over the tokens."""
    width = shape[-1]
    x = inputs = keras.Input(shape)
    for _ in range(depth):
        y = keras.layers.LayerNormalization()(x)
        x = keras.layers.add([x, keras.layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(4 * width, activation="relu")(y)
        x = keras.layers.add([x, keras.layers.Dense(width)(y)])
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(classes)(x), name="encoder")


def lstm(shape: tuple[int, ...], classes: int, units: int = 64) -> keras.Model:
    return keras.Sequential(
        [keras.Input(shape), keras.layers.LSTM(units), keras.layers.Dense(classes)],
        name="lstm",
    )


_MODELS = {
    "fc": (models.fc, (28, 28, 1)),
    "fc-v1": (models.fc_v1, (28, 28, 1)),
    "cnn": (models.cnn, IMAGE),
    "cnn-v1": (models.cnn_v1, IMAGE),
    "resnet20": (models.resnet20, IMAGE),
    "encoder": (encoder, TOKENS),
    "lstm": (lstm, STEPS),
}


def build(name: str, examples: int, **widths: Any) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A compiled model, inputs and labels, the same at each call on any backend of Keras.

    Weights that begin at zero are given small values: the gradients of others would be zero through them, and no
    difference between two computations would be seen.
    """
    builder, shape = _MODELS[name]
    keras.utils.set_random_seed(0)
    model = builder(shape, CLASSES, **widths)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if not np.any(weight.numpy()):
            weight.assign(random.normal(0, 0.02, weight.shape))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = random.standard_normal((examples, *shape), np.float32)
    return model, x, random.integers(0, CLASSES, examples)


def builder(name: str, examples: int, **widths: Any) -> partial:
    """`build` with its arguments, to be called in another process."""
    return partial(build, name, examples, **widths)
