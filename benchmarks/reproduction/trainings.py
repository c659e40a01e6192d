"""Small trainings whose data, labels and weights follow from a seed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfstiff
from benchmarks.reproduction.tables import PAIR_SETS, stiffnesses
from tfstiff.datasets import load, prepare
from tfstiff.models import build
from tfstiff.runs.batches import STEPS_PER_EXECUTION
from tfstiff.stiffness.per_parameter import ParameterMoments

NUM_CLASSES = 10


@dataclass(frozen=True)
class Part:
    """Images and labels, some of which may be wrong."""

    x: np.ndarray
    y: np.ndarray

    def __getitem__(self, where: slice) -> Part:
        return Part(self.x[where], self.y[where])


def parts(name: str, data_dir: str | None, seed: int, sizes: Sequence[int]) -> list[Part]:
    """Disjoint parts of a training set, in an order that follows from the seed, and the test set, in its own."""
    x, y, x_test, y_test = _images(name, data_dir)
    order = np.random.default_rng([seed, 1]).permutation(len(x))
    ends = np.cumsum(sizes)
    if ends[-1] > len(x):
        raise ValueError(f"{name} has {len(x):,} training images; expected {ends[-1]:,}")
    found = [
        Part(x[order[end - size : end]], y[order[end - size : end]]) for size, end in zip(sizes, ends, strict=True)
    ]
    return [*found, Part(x_test, y_test)]


@cache
def _images(name: str, data_dir: str | None) -> tuple[np.ndarray, ...]:
    data = prepare(load(name, data_dir=data_dir))
    labels = [np.asarray(half.y).astype(np.int32) for half in (data.train, data.validation)]
    return data.train.x, labels[0], data.validation.x, labels[1]


def with_wrong_labels(part: Part, share: float, seed: int) -> Part:
    """That share of the labels, drawn one by one, is replaced by any of the other classes."""
    rng = np.random.default_rng([seed, 2])
    is_wrong = rng.random(len(part.y)) < share
    others = (part.y + rng.integers(1, NUM_CLASSES, len(part.y), dtype=np.int32)) % NUM_CLASSES
    return Part(part.x, np.where(is_wrong, others, part.y))


class Network:
    """A fully connected network that begins anew for each training, and is traced once for all of them.

    Args:
        hidden: Widths of the hidden layers.
    """

    def __init__(self, hidden: Sequence[int]) -> None:
        self._hidden = tuple(hidden)
        self.model = build("fc", (28, 28, 1), NUM_CLASSES, hidden)
        self.model.compile(
            keras.optimizers.Adam(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=STEPS_PER_EXECUTION,
        )
        self._dense = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dense)]
        self.logits = tf.function(self.model, reduce_retracing=True)
        self._sums = tf.function(self._sums_of_powers)

    def begin(self, seed: int, learning_rate: float) -> None:
        """Draws weights as a new network has them, and forgets what the optimizer knew."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(build("fc", (28, 28, 1), NUM_CLASSES, self._hidden).get_weights())
        optimizer = self.model.optimizer
        optimizer.build(self.model.trainable_variables)
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        optimizer.learning_rate.assign(learning_rate)

    def train(self, part: Part, batch_size: int, seed: int, ends: Sequence[int]) -> Iterator[int]:
        """Trains up to each of the steps in turn, and yields it. Batches are whole, and may cross epochs."""
        rng = np.random.default_rng([seed, 3])
        num_epochs = -(-ends[-1] * batch_size // len(part.y))
        order = np.concatenate([rng.permutation(len(part.y)) for _ in range(num_epochs)]).astype(np.int32)
        order = order[: ends[-1] * batch_size].reshape(ends[-1], batch_size)
        x, y = tf.constant(part.x), tf.constant(part.y)
        first = tf.Variable(0, trainable=False)
        last = tf.Variable(0, trainable=False)

        def segment(_: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.from_tensor_slices(tf.constant(order)[first:last])

        batches = tf.data.Dataset.range(1).flat_map(segment).map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows)))
        for end in ends:
            first.assign(last)
            last.assign(end)
            with warnings.catch_warnings():  # Keras does not know how many batches a segment has
                warnings.filterwarnings("ignore", "Your input ran out of data")
                self.model.fit(batches, shuffle=False, verbose=0)
            yield end

    def evaluate(self, part: Part) -> tuple[float, float]:
        """Mean loss and accuracy."""
        logits = np.concatenate([self.logits(part.x[at : at + 1000]).numpy() for at in range(0, len(part.y), 1000)])
        return float(losses_of(logits, part.y).mean()), float((logits.argmax(1) == part.y).mean())

    def moments(self, part: Part) -> ParameterMoments:
        """Of the gradient of each parameter, as of `tfstiff.per_example_gradients`, which need not be formed here.

        In a dense layer the gradient of an example is an outer product, a ⊗ δ; its square is a² ⊗ δ².
        """
        count = len(part.y)
        of_one, of_two = (np.concatenate([one.numpy().ravel() for one in sums]) for sums in self._sums(part.x, part.y))
        mean = of_one.astype(float) / count
        variance = (of_two.astype(float) - count * mean**2) / (count - 1)
        return ParameterMoments(mean, np.maximum(variance, 0), count)

    def _sums_of_powers(self, x: tf.Tensor, y: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        inputs, sums = [], []
        values = tf.reshape(x, [tf.shape(x)[0], -1])
        with tf.GradientTape() as tape:
            for layer in self._dense:
                inputs.append(values)
                sums.append(values @ layer.kernel + layer.bias)
                tape.watch(sums[-1])
                values = layer.activation(sums[-1])
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, values))
        deltas = tape.gradient(loss, sums)
        powers: tuple[list[tf.Tensor], list[tf.Tensor]] = ([], [])
        for of_power, power in zip(powers, (1, 2), strict=True):
            for a, delta in zip(inputs, deltas, strict=True):
                of_power += [tf.matmul(a**power, delta**power, transpose_a=True), tf.reduce_sum(delta**power, 0)]
        return powers

    def measure(self, train: Part, validation: Part) -> tfstiff.Measurement:
        """On the first examples of each, as many as there are."""
        probe = tfstiff.Probe.from_arrays((train.x, train.y), (validation.x, validation.y), size=None)
        return tfstiff.measure(self.model, probe)


def losses_of(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) float64 cross-entropies."""
    logits = logits.astype(float)
    logits -= logits.max(1, keepdims=True)
    return np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]


def quantities(measurement: tfstiff.Measurement, pairs: Sequence[str]) -> dict[str, float]:
    """Sign and cosine, within and between classes, of the pair sets, and what the train half says besides."""
    found = measurement.scalars()
    named = {name: float(found[f"stiffness_{name[:-2]}{PAIR_SETS[name[-2:]]}"]) for name in stiffnesses(*pairs)}
    of_train: Any = measurement["train_train"].statistics
    return named | {
        "train_loss": float(measurement.train.loss),
        "validation_loss": float(measurement.validation.loss),
        "m_coherence": float(of_train["m_coherence"]),
        "noise_scale": float(of_train["noise_scale"]),
        "disparity": float(of_train["gradient_disparity"]),
        "gradient_norm": float(of_train["squared_mean_norm"]),  # squared, unbiased: of noise alone it may be below 0
    }
