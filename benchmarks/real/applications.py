"""One model of each family of `keras.applications`, on small images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from real.case import CLASSES, EXAMPLES, Case, labels

# By family: the smallest model of it, and the smallest images that it takes.
FAMILIES = {
    "ConvNeXt": ("ConvNeXtTiny", 32),
    "DenseNet": ("DenseNet121", 32),
    "EfficientNet": ("EfficientNetB0", 32),
    "EfficientNetV2": ("EfficientNetV2B0", 32),
    "InceptionResNetV2": ("InceptionResNetV2", 75),
    "InceptionV3": ("InceptionV3", 75),
    "MobileNet": ("MobileNet", 32),
    "MobileNetV2": ("MobileNetV2", 32),
    "MobileNetV3": ("MobileNetV3Small", 32),
    "NASNet": ("NASNetMobile", 32),
    "ResNet": ("ResNet50", 32),
    "ResNetV2": ("ResNet50V2", 32),
    "VGG": ("VGG16", 32),
    "Xception": ("Xception", 71),
}


def cases() -> dict[str, Case]:
    """By name of the model."""
    return {
        name: Case(f"keras.applications {family}", lambda name=name, size=size: _build(name, size))
        for family, (name, size) in FAMILIES.items()
    }


def _build(name: str, size: int) -> tuple[keras.Model, Any, np.ndarray]:
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None
    )
    random = np.random.default_rng(0)
    for weight in model.non_trainable_weights:  # batch statistics as after some training
        if weight.path.endswith("moving_variance"):
            weight.assign(random.uniform(0.5, 2, weight.shape))
    x = random.normal(size=(EXAMPLES, size, size, 3)).astype("float32")
    return model, x, labels(random, (), CLASSES)
