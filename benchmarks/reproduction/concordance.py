"""Numbers that others published, computed again from gradient products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.reproduction.tables import TABLES, append, are_there, read

SEEDS = 5
KEYS = ("seed", "check")
HALVES = 60  # random halves of the training set, on each of which a model is trained anew


class Check(NamedTuple):
    """A published number.

    Attributes:
        text: What it is of.
        source: Who published it.
        published: The number, or the ends of a range; None where only a side is known.
        agrees: Whether our interval agrees with it.
    """

    text: str
    source: str
    published: str
    agrees: Callable[[float, float], bool]


def _near(value: float, within: float) -> Callable[[float, float], bool]:
    return lambda low, high: low <= value + within and high >= value - within


CHECKS = {
    "lds_dot": Check(
        "Attribution by gradient products, linear datamodelling score; MNIST 5,000/500, logistic regression",
        "dattri benchmark, read off a bar",
        ".33 ± .01",
        _near(0.33, 0.01),
    ),
    "lds_cosine": Check("The same by gradient cosines", "the same", ".19 ± .01", _near(0.19, 0.01)),
    "wrong_labels": Check(
        "Wrong labels (10 %) by the product of a gradient with itself, area under the ROC; the same model",
        "the same",
        ".98 ± .01",
        _near(0.98, 0.01),
    ),
    "wrong_labels_cosine": Check(
        "The same by its cosine with itself, which is 1 for every example", "the same", ".49", _near(0.5, 0.01)
    ),
    "disparity": Check(
        "Gradient disparity, train–train against train–validation, Pearson's ρ over configurations",
        "Forouzesh and Thiran 2021",
        ".957",
        _near(0.957, 0.02),
    ),
    "coherence_real": Check(
        "m-coherence at its highest, right labels (our network and data are far smaller)",
        "Chatterjee and Zielinski 2020, ImageNet, ResNet-50",
        "≈ 40; above 5",
        lambda low, _: low > 5,
    ),
    "coherence_random": Check("The same with random labels", "the same", "< 5", lambda _, high: high < 5),
}


def train_all(data_dir: str | None, seeds: int, is_over: Any, folder: Path = TABLES) -> Iterator[dict[str, Any]]:
    """Computes what the table lacks, and yields what it was."""
    for seed in range(seeds):
        for names, compute in (
            (("lds_dot", "lds_cosine"), attribution),
            (("wrong_labels", "wrong_labels_cosine"), wrong_labels),
            (("disparity",), disparity),
            (("coherence_real", "coherence_random"), coherence),
        ):
            if (seed, names[0]) in are_there("concordance", KEYS, folder):
                continue
            if is_over():
                return
            values = compute(data_dir, seed)
            append(
                "concordance",
                [{"seed": seed, "check": name, "value": value} for name, value in zip(names, values, strict=True)],
                folder,
            )
            yield {"seed": seed, "check": names[0]}


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
    x, x_test = _scaled(train.x), _scaled(test.x)
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


def _scaled(x: np.ndarray) -> np.ndarray:
    """As long as pixels of mean 0 and variance 1 make them, and not of length 1: for the steps of gradient descent."""
    return x * np.float32(28)


def wrong_labels(data_dir: str | None, seed: int) -> list[float]:
    """Areas under the ROC of |g|², and of cos(g, g)."""
    import tfstiff
    from benchmarks.mislabelled import quality
    from benchmarks.reproduction.trainings import parts, with_wrong_labels

    train, _ = parts("mnist", data_dir, seed, (5000,))
    noisy = with_wrong_labels(train, 0.1, seed)
    x = _scaled(train.x)
    model = _regression()
    _fit(model, x, noisy.y, seed)
    squares = np.array([float(np.sum(g.astype(float) ** 2)) for g in tfstiff.per_example_gradients(model, x, noisy.y)])
    is_wrong = noisy.y != train.y
    return [quality(score, is_wrong)[0] for score in (squares, np.ones(len(squares)))]


def disparity(data_dir: str | None, seed: int) -> list[float]:
    """Over 24 configurations: mean distance of mean gradients of groups of 50, of training alone and across."""
    import tfstiff
    from benchmarks.reproduction.trainings import Network, parts, with_wrong_labels

    network = Network((64,))
    rows = []
    for noise in (0.0, 0.2, 0.5):
        for size in (250, 1000):
            for rate in (0.001, 0.005):
                for steps in (100, 600):
                    train, validation, _ = (
                        with_wrong_labels(part, noise, seed + 1000 * place)
                        for place, part in enumerate(parts("mnist", data_dir, seed, (size, 250)))
                    )
                    network.begin(seed, rate)
                    for _ in network.train(train, 32, seed, [steps]):
                        pass
                    both = train[:250], validation
                    x, y = (np.concatenate([getattr(part, name) for part in both]) for name in "xy")
                    products = tfstiff.gradient_gram(network.model, x, y).astype(float)
                    rows.append(distances(products, 250, 50))
    one, two = np.array(rows).T
    return [float(np.corrcoef(one, two)[0, 1])]


def distances(products: np.ndarray, size: int, group: int) -> tuple[float, float]:
    """Mean |ḡ_A − ḡ_B| over pairs of groups of the first `size` examples, and of one of these and one of the others."""
    count = len(products) // group
    means = products.reshape(count, group, count, group).mean((1, 3))
    squares = means.diagonal()[:, None] + means.diagonal() - 2 * means
    apart = np.sqrt(np.maximum(squares, 0))
    first = size // group
    within = apart[:first, :first][~np.eye(first, dtype=bool)]
    return float(within.mean()), float(apart[:first, first:].mean())


def coherence(data_dir: str | None, seed: int) -> list[float]:
    """The highest m-coherence of 400 training examples while a network trains on 2,000: right and random labels."""
    from benchmarks.reproduction.trainings import Network, parts, with_wrong_labels

    found = []
    for noise in (0.0, 0.9):  # of ten classes, 90 % wrong labels are random ones
        train, validation, _ = parts("mnist", data_dir, seed, (2000, 100))
        train = with_wrong_labels(train, noise, seed)
        network = Network((128, 64))
        network.begin(seed, 0.001)
        steps = [1, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560]
        values = [
            float(network.measure(train[:400], validation)["train_train"].statistics["m_coherence"])
            for _ in network.train(train, 32, seed, steps)
        ]
        found.append(max(values))
    return found


def table() -> pd.DataFrame:
    return read("concordance")
