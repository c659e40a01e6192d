"""Runs of several learning rates and seeds, made up with NumPy, whose critical lengths are what a test asks for."""

import math
from dataclasses import replace

from synthetic_runs import NAN, SPEC, no_line, series, write_run

from tfstiff.records import CriticalLength


def length(value, status="ok", furthest=0.9, metric="cosine"):
    """A critical length with an interval of 0.1 to both sides."""
    known = math.isfinite(value)
    return replace(
        no_line(),
        value=value,
        status=status,
        low=value - 0.1,
        high=value + 0.1,
        interval="bounded" if known else "unavailable",
        distance_min=0.05,
        distance_max=furthest,
        num_pairs=100,
        metric=metric,
    )


def with_lengths(measured, lengths, space="input"):
    """The measurements with these critical lengths, one a measurement, in all pair sets."""
    return [
        replace(one, pair_sets={name: _changed(stiffness, found, space) for name, stiffness in one.pair_sets.items()})
        for one, found in zip(measured, lengths, strict=True)
    ]


def _changed(stiffness, found: CriticalLength, space):
    like = next(iter(stiffness.spaces.values()))
    return replace(stiffness, spaces={**stiffness.spaces, space: replace(like, critical_length=found)})


def sweep(folder, rates=(1e-4, 1e-3), seeds=(0, 1), number=5, num_classes=2, **spec):
    """A run for each learning rate and seed; ξ falls with both time and rate."""
    runs = []
    for i, rate in enumerate(rates):
        for seed in seeds:
            measured = series(number, num_classes, seed=seed)
            values = [0.85 - 0.1 * i - 0.05 * step + 0.01 * seed for step in range(number)]
            measured = with_lengths(measured, [length(value) for value in values])
            settings = SPEC | {"learning_rate": rate, "seed": seed} | spec
            runs.append(write_run(folder / f"lr{rate:g}-s{seed}", measured, spec=settings))
    return runs


__all__ = ["NAN", "length", "sweep", "with_lengths"]
