"""Trainings that differ in seven factors, and which quantities foretell how they generalise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from benchmarks.reproduction.tables import TABLES, append, missing, read, stiffnesses

FACTORS: dict[str, tuple[Any, Any]] = {
    "dataset": ("mnist", "fashion_mnist"),
    "width": (32, 128),
    "depth": (1, 3),
    "lr": (0.001, 0.005),
    "batch": (16, 64),
    "n": (250, 2000),
    "noise": (0.0, 0.3),
}
STEPS = {"early": 150, "late": 1500}
PROBE, HELD_OUT = 250, 4000
SEEDS = 4
CANDIDATES = dict.fromkeys(stiffnesses("tt", "tv"), 1) | {
    "critical_length": 1,
    "m_coherence": 1,
    "noise_scale": -1,
    "disparity": -1,
    "gsnr": 1,
    "osgr": 1,
    "weight_alignment": 1,
    "train_loss": 1,
    "gradient_norm": -1,
    "validation_loss": -1,
}
OUTCOMES = ("held_out_loss", "gap")
KEYS = ("seed", *FACTORS)


def designs(seeds: int) -> Iterator[dict[str, Any]]:
    for seed in range(seeds):
        for values in itertools.product(*FACTORS.values()):
            yield {"seed": seed} | dict(zip(FACTORS, values, strict=True))


def train_all(data_dir: str | None, seeds: int, is_over: Any, folder: Path = TABLES) -> Iterator[dict[str, Any]]:
    """Makes each training that the table lacks, and yields its design."""
    from benchmarks.reproduction.trainings import Network

    networks: dict[tuple[int, int], Network] = {}
    for design in missing("predictors", KEYS, designs(seeds), is_over, folder):
        shape = (design["width"], design["depth"])
        network = networks.setdefault(shape, Network((shape[0],) * shape[1]))
        append("predictors", [design | trained(network, design, data_dir)], folder)
        yield design


def trained(network: Any, design: dict[str, Any], data_dir: str | None) -> dict[str, float]:
    """The candidates at both moments, and the outcomes."""
    from benchmarks.reproduction.trainings import parts, with_wrong_labels

    seed, noise = design["seed"], design["noise"]
    sizes = (design["n"], PROBE, HELD_OUT)
    train, validation, held_out, _ = (
        with_wrong_labels(part, noise, seed + 1000 * place)
        for place, part in enumerate(parts(design["dataset"], data_dir, seed, sizes))
    )
    network.begin(seed, design["lr"])
    found: dict[str, float] = {}
    for step in network.train(train, design["batch"], seed, list(STEPS.values())):
        moment = next(name for name, when in STEPS.items() if when == step)
        found |= {f"{moment}_{name}": value for name, value in candidates(network, train[:PROBE], validation).items()}
    train_loss, train_accuracy = network.evaluate(train)
    loss, accuracy = network.evaluate(held_out)
    return found | {
        "training_set_loss": train_loss,
        "training_set_accuracy": train_accuracy,
        "held_out_loss": loss,
        "held_out_accuracy": accuracy,
        "gap": loss - train_loss,
    }


def candidates(network: Any, train: Any, validation: Any) -> dict[str, float]:
    import tfstiff
    from benchmarks.reproduction.trainings import quantities
    from tfstiff.stiffness.per_parameter import (
        gradient_signal_to_noise_ratio,
        one_step_generalization_ratio,
    )

    measurement = network.measure(train, validation)
    moments = network.moments(train)
    length = measurement["train_train"].critical_length
    return quantities(measurement, ("tt", "tv")) | {
        "critical_length": float(length.value) if length.status in ("ok", "extrapolated") else float("inf"),
        "gsnr": float(np.nanmean(gradient_signal_to_noise_ratio(moments.mean, moments.variance))),
        "osgr": one_step_generalization_ratio(moments.mean, moments.variance, len(train.y)),
        "weight_alignment": float(tfstiff.weight_alignment(network.model, train.x, train.y).score),
    }


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """For each seed, moment, candidate and outcome: τ over all trainings, and the agreement by factor.

    Seeds of which a training is missing are left out.
    """
    rows = []
    whole = len(list(designs(1)))
    for seed, of_seed in table.groupby("seed"):
        if len(of_seed) < whole:
            continue
        pairs = pairs_by_factor(of_seed)
        for moment, (name, sign), outcome in itertools.product(STEPS, CANDIDATES.items(), OUTCOMES):
            values = sign * of_seed[f"{moment}_{name}"].to_numpy(float)
            good = -of_seed[outcome].to_numpy(float)
            rows.append(
                {
                    "seed": seed,
                    "moment": moment,
                    "candidate": name,
                    "outcome": outcome,
                    "over_all": float(kendalltau(values, good).statistic),
                    "by_factor": by_factor(pairs, values, good),
                }
            )
    return pd.DataFrame(rows)


def pairs_by_factor(designed: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each factor, rows with its lower value, and those that differ from them in it alone."""
    found = []
    for factor in FACTORS:
        others = [name for name in FACTORS if name != factor]
        order = designed.reset_index(drop=True).sort_values([*others, factor]).index.to_numpy()
        found.append((order[::2], order[1::2]))
    return found


def by_factor(pairs: list[tuple[np.ndarray, np.ndarray]], values: np.ndarray, good: np.ndarray) -> float:
    """Mean over factors of the mean agreement in sign, over pairs of trainings that differ in that factor alone.

    The granulated coefficient of Jiang et al. 2019 (arXiv 1912.02178), with two values of each factor.
    """
    agreement = []
    for low, high in pairs:
        with np.errstate(invalid="ignore"):  # ∞ − ∞: two lengths beyond the data are equal
            differences = np.where(values[low] == values[high], 0, np.sign(values[high] - values[low]))
        agreement.append((differences * np.sign(good[high] - good[low])).mean())
    return float(np.mean(agreement))


def table() -> pd.DataFrame:
    return read("predictors")
