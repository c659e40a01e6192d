"""Whether the proof at run time refuses models that are right, what it catches, and what share of a first call it is.

    python benchmarks/proof.py                          # 200 random deep ReLU networks with fitted batch statistics
    python benchmarks/proof.py --application MobileNetV2 --size 64

A network is right here by construction: plain Keras layers in inference mode. Each is measured with
`method="structured"`, which refuses what the proof does not agree with, after its batch statistics were fitted to the
data, so that units stand at the kinks of their ReLUs as often as after training. One trace serves all networks of an
architecture.
"""

from __future__ import annotations

import argparse
import time
import warnings

import keras
import numpy as np

import tfstiff
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
NUM_EXAMPLES = 40  # that the batch statistics are fitted to
NUM_CLASSES = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200, help="random networks, over all architectures")
    parser.add_argument("--application", metavar="NAME", help="one of keras.applications instead")
    parser.add_argument("--size", type=int, default=32, help="pixels of an image's side, for an application")
    arguments = parser.parse_args()
    if arguments.application:
        architectures = {arguments.application: lambda: application(arguments.application, arguments.size)}
        count = 1
    else:
        architectures = {f"dense {depth} x {width}": dense(depth, width) for depth in (8, 30) for width in (32, 100)}
        architectures |= {
            f"convolutions {depth} x {width}": convolutional(depth, width) for depth in (8, 20) for width in (8, 16)
        }
        count = -(-arguments.networks // len(architectures))
    print("| architecture | networks | refused | proof, s | first call, s | share |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, build in architectures.items():
        refused, proof, first = false_refusals(build(), count)
        print(f"| {name} | {count} | {refused} | {proof:.2f} | {first:.2f} | {proof / first:.0%} |", flush=True)


def false_refusals(model: keras.Model, count: int) -> tuple[int, float, float]:
    """(networks refused, seconds that the first proof adds, seconds of the first call with it), over random weights."""
    refused, times = 0, []
    for seed in range(count):
        x, y = randomised(model, seed)
        start = time.perf_counter()
        plan = plan_for(model, x, y, GradientOptions(method="structured"), loss=LOSS)
        plan.gradients(x, y)
        computed = time.perf_counter()
        plan.unsettle()
        try:
            plan.prove(x, y)
        except tfstiff.UnsupportedModel as error:
            refused += 1
            warnings.warn(f"refused: {error}", stacklevel=1)
        proved = time.perf_counter()
        times.append((proved - computed, proved - start))
    return refused, *times[0]


def randomised(model: keras.Model, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws weights and examples, and fits the batch statistics to these."""
    rng = np.random.default_rng(seed)
    shape = model.input_shape[1:]
    x = rng.normal(size=(NUM_EXAMPLES, *shape)).astype("float32")
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            scale = np.sqrt(2 / np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(scale=scale, size=weight.shape))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    return x, np.arange(NUM_EXAMPLES) % NUM_CLASSES


def dense(depth: int, width: int):
    """A builder of Dense–BatchNormalization–ReLU layers."""

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((64,))])
        for _ in range(depth):
            model.add(keras.layers.Dense(width, use_bias=False))
            model.add(keras.layers.BatchNormalization())
            model.add(keras.layers.ReLU())
        model.add(keras.layers.Dense(NUM_CLASSES))
        return model

    return build


def convolutional(depth: int, width: int):
    """A builder of Conv2D–BatchNormalization–ReLU layers on images of 16 x 16 pixels."""

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((16, 16, 3))])
        for place in range(depth):
            strides = 2 if place in (depth // 3, 2 * depth // 3) else 1
            model.add(keras.layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False))
            model.add(keras.layers.BatchNormalization())
            model.add(keras.layers.ReLU())
        model.add(keras.layers.GlobalAveragePooling2D())
        model.add(keras.layers.Dense(NUM_CLASSES))
        return model

    return build


def application(name: str, size: int) -> keras.Model:
    """A model of keras.applications with random weights."""
    build = getattr(keras.applications, name)
    return build(weights=None, input_shape=(size, size, 3), classes=NUM_CLASSES, classifier_activation=None)


if __name__ == "__main__":
    main()
