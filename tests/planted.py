"""Measurements of examples whose gradients are planted, made with NumPy."""

import dataclasses

import numpy as np
from plain_sums import sums_of
from synthetic_runs import measurement

from tfstiff.records.scores import ExampleScores
from tfstiff.stiffness.example_stiffness import stiffness_of_examples

NAMES = ("cat", "dog", "cow")
SIZES = (36, 30)


def gradients(seed=0, spread=0.15):
    """(n, 12) of each half: near the axis of the example's class, and its class."""
    rng = np.random.default_rng(seed)
    classes = [np.arange(size) % 3 for size in SIZES]
    return [np.eye(3, 12)[y] + spread * rng.normal(size=(len(y), 12)) for y in classes], classes


def measured(
    parts, classes, predicted=None, pair_sets=("train_train", "train_val", "val_val"), *, step=5, gram=False, el2n=None
):
    """A measurement with the scores of these examples; `predicted` and `el2n` of the training half."""
    sides = {"train_train": (0, 0), "train_val": (0, 1), "val_val": (1, 1)}
    sums = {
        name: sums_of(
            parts[i], classes[i], num_classes=3, **({} if i == j else {"gradients2": parts[j], "classes2": classes[j]})
        )
        for name, (i, j) in sides.items()
        if name in pair_sets
    }
    rng = np.random.default_rng(step)
    m = measurement(step, step / 10, 0.4, 3, NAMES)
    halves = {}
    for place, half in enumerate(("train", "validation")):
        y = classes[place]
        scores = ExampleScores(
            rng.random(len(y)),
            np.linalg.norm(parts[place], axis=1),
            None if place else el2n,
            margin=rng.random(len(y)).astype(np.float32),
            predicted=(y if predicted is None or place else predicted).astype(np.int32),
            classes=y.astype(np.int32),
            stiffness=stiffness_of_examples(sums, half),
        )
        halves[half] = dataclasses.replace(getattr(m, half), num_examples=len(y), scores=scores)
    both = np.concatenate(parts)
    return dataclasses.replace(m, **halves, gram=(both @ both.T).astype(np.float32) if gram else None)
