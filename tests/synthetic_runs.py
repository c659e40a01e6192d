"""Runs made up with NumPy, for the tests of what reads runs."""

from pathlib import Path

import numpy as np

from tfstiff import load_run
from tfstiff.records import (
    PAIR_SETS,
    ClassStiffness,
    CriticalLength,
    DistanceProfile,
    DistanceStiffness,
    HalfSummary,
    Measurement,
    PairSetStiffness,
    RunWriter,
)

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
NAN = float("nan")


def by_class(matrix):
    num_classes = len(matrix)
    same = np.eye(num_classes, dtype=bool)
    within, between = float(np.nanmean(matrix[same])), float(np.nanmean(matrix[~same]))
    influence = np.full(50, 0.02 / np.sqrt(50), np.float32)
    return ClassStiffness(
        matrix=matrix,
        matrix_se=np.where(np.isnan(matrix), np.nan, 0.05),
        matrix_df=np.full_like(matrix, 40.0),
        within=within,
        within_se=0.02,
        within_df=200.0,
        between=between,
        between_se=0.01,
        between_df=200.0,
        contrast=within - between,
        contrast_se=0.02,
        contrast_df=200.0,
        within_pairs=within * 0.99,
        within_pairs_se=0.02,
        between_pairs=between * 0.99,
        between_pairs_se=0.01,
        within_influence=influence,
        between_influence=influence / 2,
        num_empty_cells=int(np.isnan(matrix).sum()),
    )


def critical_length(intercept, slope, low=0.05, high=0.9, num_pairs=2000):
    value = -intercept / slope if slope < 0 else NAN
    if slope >= 0:
        status = "no_decay"
    elif value > 2:
        status = "beyond"
    elif value > high:
        status = "extrapolated"
    else:
        status = "ok" if value >= low else "all_nonpositive"
    return CriticalLength(
        value=value,
        status=status,
        low=value - 0.1,
        high=value + 0.2,
        interval="unavailable" if slope >= 0 else "bounded",
        intercept=intercept,
        slope=slope,
        covariance=np.array([[4e-4, -6e-4], [-6e-4, 16e-4]]),
        distance_min=low,
        distance_max=high,
        num_pairs=num_pairs,
    )


def no_line():
    nothing = np.full((2, 2), NAN)
    return CriticalLength(NAN, "too_few_pairs", NAN, NAN, "unavailable", NAN, NAN, nothing, NAN, NAN, 1)


def binned(edges, mean, count):
    se = np.where(count > 30, 0.02, np.nan)
    return DistanceProfile(edges, count, np.minimum(count, 60), mean, se, np.sign(mean) * 0.5, se)


def pair_set(rng, progress, num_classes, holes=False):
    """`progress` runs from 0 at the initialisation to 1."""
    slope = -0.3 - 1.0 * progress
    intercept = 0.9 - 0.1 * progress
    fit = critical_length(intercept, slope)
    edges = np.linspace(0, 1, 21)
    centres = (edges[:-1] + edges[1:]) / 2
    count = np.round(600 * np.exp(-(((centres - 0.45) / 0.2) ** 2))).astype(np.int64)
    count[centres > 0.9] = 0
    mean = np.where(count > 0, intercept + slope * centres + rng.normal(0, 0.03, 20), np.nan)
    spaces = {"input": DistanceStiffness(binned(edges, mean, count), fit)}
    if num_classes == 0:
        return PairSetStiffness(None, None, None, 0.1 - progress, 0.03, 0.05 + 0.2 * progress, 0.02, spaces)
    same = np.eye(num_classes)
    blocks = (np.arange(num_classes)[:, None] % 3 == np.arange(num_classes) % 3) * 0.5 * progress * (1 - progress) * 4
    sign = same * (1 - 0.7 * progress) - (1 - same) * (1 - progress - blocks) + rng.normal(0, 0.05, same.shape)
    cosine = same * (0.7 - 0.5 * progress) - (1 - same) * (0.3 - 0.3 * progress - blocks / 2)
    cosine = cosine + rng.normal(0, 0.03, same.shape)
    sign, cosine = np.clip(sign, -1, 1), np.clip(cosine, -1, 1)
    sign[0, 1] = cosine[0, 1] = 0.0
    counts = np.full(same.shape, 25)
    if holes:
        for matrix in (sign, cosine):
            matrix[1, :] = np.nan
            matrix[:, 1] = np.nan
        counts[1] = counts[:, 1] = 0
    return PairSetStiffness(by_class(sign), by_class(cosine), counts, -0.8, 0.03, 0.0, 0.02, spaces)


def measurement(step, epoch, progress, num_classes=10, class_names=None, holes=False, seed=0):
    rng = np.random.default_rng([seed, step])
    names = class_names or (FASHION if num_classes == 10 else tuple(f"class {i}" for i in range(num_classes)))
    accuracy = NAN if num_classes == 0 else 0.1 + 0.8 * progress
    return Measurement(
        train=HalfSummary(250, 2.3 - 2.1 * progress, accuracy, 0, 0),
        validation=HalfSummary(250, 2.3 - 1.8 * progress + max(0, progress - 0.7), accuracy * 0.97, 0, 0),
        pair_sets={name: pair_set(rng, progress, num_classes, holes) for name in PAIR_SETS},
        class_names=names[:num_classes],
        step=step,
        epoch=epoch,
        updates=step,
        learning_rate=8e-4,
        method="structured",
    )


def series(number, num_classes=10, last_epoch=20.0, steps_per_epoch=1875, **options):
    """`number` measurements: the initialisation, then evenly in the logarithm of the step."""
    steps = [0]
    if number > 1:
        steps += np.unique(np.geomspace(8, last_epoch * steps_per_epoch, number - 1).astype(int)).tolist()
    return [
        measurement(step, step / steps_per_epoch, (i / max(1, number - 1)), num_classes, **options)
        for i, step in enumerate(steps)
    ]


SPEC = {"dataset": "fashion_mnist", "arch": "cnn", "learning_rate": 8e-4}


def write_run(folder: Path, measurements, spec=SPEC, status="completed"):
    writer = RunWriter(folder)
    writer.write_config(spec)
    writer.write_status(status)
    for one in measurements:
        writer.add(one, seconds=0.5)
    return load_run(folder)
