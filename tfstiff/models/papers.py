"""The papers' networks, by name. Logits out; no normalisation layers. Imports Keras when one is built.

`fc` and `cnn` are those of the ICLR 2020 submission, `fc-v1` and `cnn-v1` those of the first version (arXiv, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfstiff.errors import InvalidInput

if TYPE_CHECKING:
    import keras

Shape = tuple[int, ...]


def fc(input_shape: Shape, num_classes: int, hidden: Sequence[int] = (500, 300, 100)) -> keras.Model:
    """Fully connected, ReLU: X → 500 → 300 → 100 → y."""
    import keras

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Flatten(),
            *(keras.layers.Dense(units, activation="relu") for units in hidden),
            keras.layers.Dense(num_classes),
        ],
        name="fc",
    )


def fc_v1(input_shape: Shape, num_classes: int, hidden: Sequence[int] = (500, 400, 300, 200, 100)) -> keras.Model:
    """Fully connected with five hidden layers, ReLU.

    The widths are lost from the text of the first version; these are our choice, tapering over the range that the later
    version uses.
    """
    model = fc(input_shape, num_classes, hidden)
    model.name = "fc-v1"
    return model


def cnn(input_shape: Shape, num_classes: int, channels: Sequence[int] = (16, 32, 32)) -> keras.Model:
    """3×3 convolutions of 16, 32 and 32 channels, each with ReLU and 2×2 max pooling, then one dense layer.

    The papers do not say how the convolutions pad; here they keep the size ("same").
    """
    import keras

    blocks = [
        layer
        for width in channels
        for layer in (
            keras.layers.Conv2D(width, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
        )
    ]
    return keras.Sequential(
        [keras.Input(_image(input_shape)), *blocks, keras.layers.Flatten(), keras.layers.Dense(num_classes)], name="cnn"
    )


def cnn_v1(input_shape: Shape, num_classes: int) -> keras.Model:
    """As `cnn`, with 32, 64, 128 and 256 channels."""
    model = cnn(input_shape, num_classes, (32, 64, 128, 256))
    model.name = "cnn-v1"
    return model


def resnet20(input_shape: Shape, num_classes: int) -> keras.Model:
    """ResNet-20 (He et al. 2016, version 1) without batch normalisation: three stages of three residual blocks.

    Without normalisation the signal doubles in variance at every block, so the last convolution of each block starts at
    zero, which makes every block the identity at initialisation (Zhang, Dauphin and Ma 2019, "Fixup").
    """
    import keras

    inputs = keras.Input(_image(input_shape))
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage > 0 and block == 0 else 1
            y = keras.layers.Conv2D(width, 3, strides=stride, padding="same", activation="relu")(x)
            y = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(y)
            if stride > 1:
                x = keras.layers.Conv2D(width, 1, strides=stride)(x)
            x = keras.layers.ReLU()(keras.layers.add([x, y]))
    outputs = keras.layers.Dense(num_classes)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs, name="resnet20")


def _image(input_shape: Shape) -> Shape:
    if len(input_shape) != 3:
        raise InvalidInput(
            "A convolutional network needs images.",
            expected="examples of shape (height, width, channels)",
            received=input_shape,
            remedy="Use --arch fc for other data.",
        )
    return input_shape
