"""What one step of gradient descent gains on new examples over what it gains on its own: real, and from the GSNR."""

from __future__ import annotations

import numpy as np

from benchmarks.reproduction.attribution import scaled
from benchmarks.reproduction.trainings import Part, parts

SETS, SIZE, NEW = 3, 1000, 5000
RATE, STEPS, MOMENTS = 1e-3, 1000, 20


def one_step(data_dir: str | None, seed: int) -> list[float]:
    """Pearson's ρ along training of the two one-step generalisation ratios (Liu et al. 2020, arXiv 2001.07384)."""
    *sets, new, _ = parts("mnist", data_dir, seed, (SIZE,) * SETS + (NEW,))
    moments = np.unique(np.geomspace(1, STEPS, MOMENTS).round().astype(int))
    sums = sum(_along(part, new, seed + 1000 * place, moments) for place, part in enumerate(sets))
    real, foretold = sums[:, 0] / sums[:, 1], 1 - sums[:, 2] / sums[:, 3]
    return [float(np.corrcoef(real, foretold)[0, 1])]


def _along(train: Part, new: Part, seed: int, moments: np.ndarray) -> np.ndarray:
    """(moments, 4): the fall of both losses in one step, on new examples first; Σ s² / n, Σ ḡ²."""
    import keras
    import tensorflow as tf

    import tfstiff

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.SGD(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, x_new = tf.constant(scaled(train.x)), tf.constant(scaled(new.x))
    y, y_new = tf.constant(train.y), tf.constant(new.y)

    def loss(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images))
        return tf.reduce_mean(tf.cast(losses, tf.float64))  # a step lowers it in its sixth digit

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            value = loss(x, y)
        for weight, gradient in zip(
            model.trainable_variables, tape.gradient(value, model.trainable_variables), strict=True
        ):
            weight.assign_sub(RATE * gradient)

    @tf.function
    def values() -> tuple[tf.Tensor, tf.Tensor]:
        return loss(x_new, y_new), loss(x, y)

    rows = []
    for number in range(1, moments[-1] + 1):
        if number in moments:
            products = tfstiff.gradient_gram(model, train_x := x.numpy(), train.y).astype(float)
            count = len(train_x)
            mean_square = products.mean()
            variance = (np.trace(products) / count - mean_square) * count / (count - 1)
            before = [float(value) for value in values()]
            step()
            falls = [one - float(two) for one, two in zip(before, values(), strict=True)]
            rows.append([*falls, variance / count, mean_square])
        else:
            step()
    return np.array(rows)
