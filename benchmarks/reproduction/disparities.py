"""Distances of the mean gradients of groups of examples (gradient disparity), of networks on MNIST."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reproduction.trainings import Network, Part, losses_of, parts, with_wrong_labels

RISES = 5  # epochs in which a rule sees its measure rise, and ends
EPOCHS = 40
FOLDS = 5


def disparity(data_dir: str | None, seed: int) -> list[float]:
    """Over 24 configurations, Pearson's ρ of that of training groups of 50 and that across to validation groups.

    As it is, and rescaled.
    """
    import tfstiff

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
                    losses = losses_of(network.logits(x).numpy(), y)
                    rows.append((*distances(products, 250, 50), *distances(products, 250, 50, losses)))
    plain_within, plain_across, within, across = np.array(rows).T
    return [float(np.corrcoef(*pair)[0, 1]) for pair in ((plain_within, plain_across), (within, across))]


def distances(
    products: np.ndarray, size: int, group: int, losses: np.ndarray | None = None
) -> tuple[float, float | None]:
    """Mean |ḡ_A − ḡ_B| over pairs of groups of the first `size` examples, and of one of these and one of the others.

    With losses, each ḡ is divided by the standard deviation of its group's losses (Forouzesh and Thiran 2021, 3.1).
    None where there are no others.
    """
    count = len(products) // group
    means = products.reshape(count, group, count, group).mean((1, 3))
    if losses is not None:
        scale = np.maximum(losses.reshape(count, group).std(1), np.finfo(np.float32).tiny)
        means = means / scale / scale[:, None]
    squares = means.diagonal()[:, None] + means.diagonal() - 2 * means
    apart = np.sqrt(np.maximum(squares, 0))
    first = size // group
    within = float(apart[:first, :first][~np.eye(first, dtype=bool)].mean())
    return within, float(apart[:first, first:].mean()) if count > first else None


def stopping(data_dir: str | None, seed: int) -> list[float]:
    """Test accuracy where disparity ends the training, minus that where 5-fold cross-validation does, in points."""
    import tfstiff

    train, test = parts("mnist", data_dir, seed, (256,))
    test = test[:5000]
    model = alexnet()
    begin = model.get_weights()

    def of_all(_: Part) -> float:
        products = tfstiff.gradient_gram(model, train.x, train.y).astype(float)
        return distances(products, 256, 32, losses_of(model(train.x).numpy(), train.y))[0]

    by_disparity = _stopped(model, begin, train, train, test, of_all, seed)
    folds = np.random.default_rng([seed, 5]).permutation(256) % FOLDS
    by_folds = [
        _stopped(
            model,
            begin,
            Part(train.x[folds != fold], train.y[folds != fold]),
            Part(train.x[folds == fold], train.y[folds == fold]),
            test,
            lambda held: float(losses_of(model(held.x).numpy(), held.y).mean()),
            seed,
        )
        for fold in range(FOLDS)
    ]
    return [100 * (by_disparity - float(np.mean(by_folds)))]


def alexnet() -> Any:
    """Five convolutions and two hidden dense layers, as AlexNet has them, for images of 28 × 28."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(28.0),  # images have length 1: to pixels of variance 1
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(256, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(0.001), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _stopped(
    model: Any, begin: list[np.ndarray], train: Part, held: Part, test: Part, measure: Any, seed: int
) -> float:
    """Test accuracy of the epoch at which the measure has risen for the last time that is allowed."""
    import keras

    keras.utils.set_random_seed(seed)
    model.set_weights(begin)
    model.compile(keras.optimizers.Adam(0.001), model.loss)
    rises, before = 0, np.inf
    for _ in range(EPOCHS):
        model.fit(train.x, train.y, batch_size=32, verbose=0)
        now = measure(held)
        rises += now > before
        before = now
        if rises == RISES:
            break
    return float((model.predict(test.x, batch_size=500, verbose=0).argmax(1) == test.y).mean())
