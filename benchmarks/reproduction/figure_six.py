"""Figure 6 of the first paper: signs between the classes of CIFAR-10, through its own CNN."""

from __future__ import annotations

import numpy as np

from benchmarks.reproduction.trainings import parts

VEHICLES = (0, 1, 8, 9)
RATE, BATCH, PROBE = 1e-3, 32, 400
EPOCH, REST = 1562, 38  # steps: 1,600 in all


def figure_six(data_dir: str | None, seed: int) -> list[float]:
    """Mean sign of validation pairs within and between classes before training, and between vehicles after it."""
    import keras

    import tfstiff
    from tfstiff.models import build

    train, test = parts("cifar10", data_dir, seed, (EPOCH * BATCH,))
    keras.utils.set_random_seed(seed)
    model = build("cnn-v1", train.x.shape[1:], 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss, steps_per_execution=32)
    order = np.random.default_rng([seed, 6]).permutation(len(test.y))[:PROBE]
    probe = tfstiff.Probe.from_arrays((train.x[:PROBE], train.y[:PROBE]), (test.x[order], test.y[order]), size=None)
    begin = tfstiff.measure(model, probe)["val_val"].sign
    for steps in (EPOCH, REST):
        model.fit(train.x[: steps * BATCH], train.y[: steps * BATCH], batch_size=BATCH, verbose=0)
    cells = tfstiff.measure(model, probe)["val_val"].sign.matrix[np.ix_(VEHICLES, VEHICLES)]
    return [float(begin.within), float(begin.between), float(cells[~np.eye(len(VEHICLES), dtype=bool)].mean())]
