"""A training example's influence, and wrong labels, by products of gradients: logistic regression on MNIST."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

HALVES = 60  # random halves of the training set, on each of which a model is trained anew


def _regression() -> Any:
    import keras

    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, use_bias=False)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, steps_per_execution=32)
    return model


def _fit(model: Any, x: np.ndarray, y: np.ndarray, seed: int) -> None:
    import keras

    keras.utils.set_random_seed(seed)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.optimizer.build(model.trainable_variables)
    for variable in model.optimizer.variables:
        if variable is not model.optimizer.learning_rate:
            variable.assign(variable * 0)
    model.fit(x, y, batch_size=64, epochs=20, verbose=0)


def attribution(data_dir: str | None, seed: int) -> list[float]:
    """Mean over test examples of Spearman's ρ, over random halves, of foretold and real losses (Park et al. 2023)."""
    import tfstiff
    from benchmarks.reproduction.trainings import losses_of, parts

    train, test, _ = parts("mnist", data_dir, seed, (5000, 500))
    x, x_test = scaled(train.x), scaled(test.x)
    model = _regression()
    _fit(model, x, train.y, seed)
    products = tfstiff.gradient_gram(model, x, train.y, x_test, test.y).astype(float)
    norms, norms_test = (
        np.sqrt(np.array([float(np.sum(g**2)) for g in tfstiff.per_example_gradients(model, a, b)]))
        for a, b in ((x, train.y), (x_test, test.y))
    )
    cosines = products / np.maximum(np.outer(norms, norms_test), 1e-30)
    rng = np.random.default_rng([seed, 4])
    foretold: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    losses = []
    for place in range(HALVES):
        rows = np.sort(rng.choice(len(train.y), len(train.y) // 2, replace=False))
        _fit(model, x[rows], train.y[rows], 1000 * seed + place)
        losses.append(losses_of(model(x_test).numpy(), test.y))
        for kind, matrix in zip(foretold, (products, cosines), strict=True):
            kind.append(matrix[rows].sum(0))
    real = -np.array(losses)
    return [
        float(np.mean([spearmanr(one[:, at], real[:, at]).statistic for at in range(real.shape[1])]))
        for one in map(np.array, foretold)
    ]


def scaled(x: np.ndarray) -> np.ndarray:
    """As long as pixels of mean 0 and variance 1 make them, and not of length 1: for the steps of gradient descent."""
    return x * np.float32(28)


def wrong_labels(data_dir: str | None, seed: int) -> list[float]:
    """Areas under the ROC of |g|², and of cos(g, g)."""
    import tfstiff
    from benchmarks.mislabelled import quality
    from benchmarks.reproduction.trainings import parts, with_wrong_labels

    train, _ = parts("mnist", data_dir, seed, (5000,))
    noisy = with_wrong_labels(train, 0.1, seed)
    x = scaled(train.x)
    model = _regression()
    _fit(model, x, noisy.y, seed)
    squares = np.array([float(np.sum(g.astype(float) ** 2)) for g in tfstiff.per_example_gradients(model, x, noisy.y)])
    is_wrong = noisy.y != train.y
    return [quality(score, is_wrong)[0] for score in (squares, np.ones(len(squares)))]
