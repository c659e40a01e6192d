"""The papers' networks, by name. Logits out; no normalisation layers. Imports Keras when one is built.

`fc` and `cnn` are those of the ICLR 2020 submission, `fc-v1` and `cnn-v1` those of the first version (arXiv, 2019).
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tfstiff.errors import InvalidInput, TfstiffError, unknown_name

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


MODELS: dict[str, Callable[..., keras.Model]] = {
    "fc": fc,
    "cnn": cnn,
    "fc-v1": fc_v1,
    "cnn-v1": cnn_v1,
    "resnet20": resnet20,
}


def check_name(arch: str) -> None:
    """Checks that a network is known by its name, or is named as a function of the user's own. Imports nothing.

    Raises:
        InvalidInput: It is not.
    """
    module, colon, name = arch.partition(":") if isinstance(arch, str) else ("", "", "")
    if arch not in MODELS and not (module and colon and name):
        raise unknown_name("Unknown architecture.", arch, [*MODELS, "package.module:function"])


def build(arch: str, input_shape: Shape, num_classes: int, hidden: Sequence[int] | None = None) -> keras.Model:
    """Builds a network by name, or by the import path of the user's own builder.

    Args:
        arch: A name in `MODELS`, or `package.module:function`. The function is called with `(input_shape, num_classes)`
            and returns a Keras model whose outputs are logits; importing it runs its module's code.
        input_shape: Shape of one example.
        num_classes: Number of outputs.
        hidden: Widths of the hidden layers of `fc` and `fc-v1`.

    Raises:
        InvalidInput: The name is unknown, the import or the builder fails, the builder returns no Keras model, or
            `hidden` does not apply.
    """
    import keras

    check_name(arch)
    builder = MODELS.get(arch) or _of_users(arch)
    if hidden is not None:
        if arch not in ("fc", "fc-v1"):
            raise InvalidInput(
                "Hidden widths apply to fully connected networks only.", expected="fc | fc-v1", received=arch
            )
        return builder(input_shape, num_classes, hidden)
    model = builder(input_shape, num_classes)
    if not isinstance(model, keras.Model):
        raise InvalidInput(
            f"The architecture {arch} did not build a Keras 3 model.", expected="keras.Model", received=type(model)
        )
    return model


def _of_users(arch: str) -> Callable[..., keras.Model]:
    """The builder of the user's own, of which whatever it raises is told as an error of the architecture."""
    function = _imported(arch)

    def build(input_shape: Shape, num_classes: int) -> keras.Model:
        try:
            return function(input_shape, num_classes)
        except TfstiffError:
            raise
        except Exception as error:
            raise InvalidInput(
                f"The architecture {arch} cannot be built: {_told(error)}.",
                expected="a function (input_shape, num_classes) that returns a Keras model",
            ) from error

    return build


def _told(error: Exception) -> str:
    """What was raised, and where."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"


def _imported(arch: str) -> Callable[..., keras.Model]:
    module_name, _, name = arch.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # of any kind: importing runs the module
        raise InvalidInput(
            f"The architecture {arch} cannot be imported: "
            f"{error if isinstance(error, ImportError | AttributeError) else _told(error)}.",
            expected="package.module:function, importable from here",
            remedy="Run from the folder that holds the module, or add that folder to PYTHONPATH.",
        ) from error
    if not callable(found):
        raise InvalidInput(f"The architecture {arch} is no function.", received=type(found))
    return found


def _image(input_shape: Shape) -> Shape:
    if len(input_shape) != 3:
        raise InvalidInput(
            "A convolutional network needs images.",
            expected="examples of shape (height, width, channels)",
            received=input_shape,
            remedy="Use --arch fc for other data.",
        )
    return input_shape
