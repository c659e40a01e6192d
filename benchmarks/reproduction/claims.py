"""What the papers claim, on runs like theirs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.reproduction.tables import TABLES, append, missing, read

DATA = (("fashion_mnist", "fc"), ("mnist", "fc"), ("cifar10", "cnn"))
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
RATE = 1e-3
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"train_examples": 5000, "epochs": 10},
    "permuted": {"train_examples": 5000, "epochs": 10, "permute_labels": True},
    "few": {"train_examples": 1500, "epochs": 60},
}
PROBE = 400
SEEDS = 5
KEYS = ("seed", "dataset", "arch", "kind", "lr")
GROUP = ["dataset", "arch", "seed"]


def designs(seeds: int) -> Iterator[dict[str, Any]]:
    """Those of the slowest network come last."""
    for data in (DATA[:2], DATA[2:]):
        for seed in range(seeds):
            for dataset, arch in data:
                for kind in KINDS:
                    for rate in RATES if kind == "plain" else (RATE,):
                        yield {"seed": seed, "dataset": dataset, "arch": arch, "kind": kind, "lr": rate}


def train_all(data_dir: str | None, seeds: int, is_over: Any, folder: Path = TABLES) -> Iterator[dict[str, Any]]:
    """Makes each run that the tables lack, and yields its design."""
    import tfstiff
    import tfstiff.runs.run

    tfstiff.runs.run.draw_figures = lambda *_: None  # nobody looks at them, and they take a third of the time
    for design in missing("claims_turns", KEYS, designs(seeds), is_over, folder):  # which are written last
        spec = tfstiff.RunSpec(
            design["dataset"],
            arch=design["arch"],
            learning_rate=design["lr"],
            seed=design["seed"],
            probe_size=(PROBE, PROBE),
            data_dir=data_dir,
            **KINDS[design["kind"]],
        )
        with tempfile.TemporaryDirectory() as place:
            measurements = tfstiff.run(spec, Path(place) / "run").measurements
        append("claims", (design | row(measurement) for measurement in measurements), folder)
        append("claims_turns", [design | turns(measurements)], folder)
        yield design


def row(measurement: Any) -> dict[str, Any]:
    of_train, across = measurement["train_train"], measurement["train_val"]
    found = {"step": measurement.step, "epoch": float(measurement.epoch)}
    for name, half in (("train", measurement.train), ("validation", measurement.validation)):
        found |= {f"{name}_loss": float(half.loss), f"{name}_accuracy": float(half.accuracy)}
    for short, pairs in (("tt", of_train), ("tv", across), ("vv", measurement["val_val"])):
        for metric in ("sign", "cosine"):
            matrix = getattr(pairs, metric)
            found |= {
                f"{metric}_within_{short}": float(matrix.within),
                f"{metric}_between_{short}": float(matrix.between),
            }
    for metric in ("sign", "cosine"):
        matrix = getattr(of_train, metric)
        found[f"{metric}_z_of_contrast"] = float(matrix.contrast / matrix.contrast_se) if matrix.contrast_se else np.nan
    cells = of_train.sign.matrix[~np.eye(len(of_train.sign.matrix), dtype=bool)]
    length = across.critical_length
    return found | {
        "share_of_pairs_stiff": float((cells[np.isfinite(cells)] > 0).mean()),
        "xi": float(length.value),
        "xi_low": float(length.low),
        "xi_high": float(length.high),
        "xi_status": length.status,
        "xi_slope": float(length.slope),
    }


def turns(measurements: Any) -> dict[str, float]:
    """Epochs of the turning points that are confirmed of the whole training; NaN of the others."""
    from tfstiff.analysis.turns_of_training import turning_points

    found = turning_points(measurements, "cosine_within_train_val").rules
    return {
        f"{rule}_{what}": float(getattr(turn, what)) if turn.status == "confirmed" else np.nan
        for rule, turn in found.items()
        for what in ("time", "confirmed_time")
    }


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measurements, and turning points, of the runs that are whole."""
    rows, turned = read("claims"), read("claims_turns")
    if turned.empty:
        return rows, turned
    turned = turned.drop_duplicates(list(KEYS), keep="last")
    rows = rows.merge(turned[list(KEYS)], on=list(KEYS)).drop_duplicates([*KEYS, "step"], keep="last")
    return rows.sort_values([*KEYS, "step"]), turned


def censored(found: pd.DataFrame) -> np.ndarray:
    """ξ for ranks: where it is beyond the data, or there is none, it counts as the largest."""
    is_known = found["xi_status"].isin(["ok", "extrapolated"]).to_numpy()
    return np.where(is_known, found["xi"].to_numpy(float), np.inf)


def _one(run: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
    """Start, best, and the measurements up to best."""
    place = int(run["validation_loss"].to_numpy().argmin())
    return run.iloc[0], run.iloc[place], run.iloc[: place + 1]


def _ranks(one: Any, two: Any) -> float:
    return float(spearmanr(one, two).statistic) if len(one) > 2 and len(set(one)) > 1 and len(set(two)) > 1 else np.nan


def _fall(run: pd.DataFrame) -> float:
    _, _, until = _one(run)
    return float(run["sign_within_tv"].iloc[-1] - run["sign_within_tv"].iloc[len(until) - 1 :].max())


def _permuted(run: pd.DataFrame) -> float:
    early = run[run["train_loss"] > 2.2]
    return float(early["share_of_pairs_stiff"].iloc[-1] - 0.05) if len(early) else np.nan


def _lag(turned: pd.Series) -> float:
    stiffness, loss = turned["stiffness_drop_time"], turned["validation_minimum_time"]
    if not (stiffness > 0 and loss > 0):
        return 1.0
    return abs(float(np.log10(stiffness / loss))) - 0.5


def _length_falls(run: pd.DataFrame) -> float:
    known = run[
        run["xi_status"].isin(["ok", "extrapolated"]) & np.isfinite(run["xi_low"]) & np.isfinite(run["xi_high"])
    ]
    return _ranks(known["step"], known["xi"])


# Of the runs of one kind at one rate: claim → what it is of, and the statistic of one run
OF_A_RUN: dict[str, tuple[str, Callable[[pd.DataFrame], float]]] = {
    "1": ("plain", lambda run: float(run.iloc[0]["cosine_within_tt"] - run.iloc[0]["cosine_between_tt"])),
    "1s": ("plain", lambda run: float(run.iloc[0]["sign_between_tt"])),
    "2": ("plain", lambda run: float(_one(run)[1]["sign_between_tt"] - run.iloc[0]["sign_between_tt"])),
    "2m": ("plain", lambda run: float(_one(run)[1]["share_of_pairs_stiff"] - 0.5)),
    "3": ("plain", lambda run: float(_one(run)[1]["sign_within_tv"] - 0.5)),
    "4": ("few", _fall),
    "5": ("plain", lambda run: float((_one(run)[2].eval("cosine_within_tt - cosine_within_vv")).abs().max() - 0.1)),
    "6": ("permuted", _permuted),
    "7": ("plain", lambda run: float(_one(run)[1]["xi_slope"])),
    "8": ("plain", _length_falls),
    "11": ("plain", lambda run: float(_one(run)[1]["cosine_z_of_contrast"] - _one(run)[1]["sign_z_of_contrast"])),
}
ABOVE_ZERO = ("1", "2", "2m", "3", "9b", "11")  # is what the claim says of its statistic; of the others, below
CLAIMS = {
    "1": "At the start, stiffness within classes is above that between them",
    "1s": "At the start there is no consistent stiffness between classes",
    "2": "Stiffness between classes rises while the network learns",
    "2m": "Then most pairs of classes are stiff",
    "3": "Stiffness within classes stays high until the network overfits",
    "4": "It falls once the network overfits",
    "4t": "It turns at the moment the losses part (within a factor of 3)",
    "5": "Train-train and validation-validation agree until then",
    "6": "With permuted labels there is no stiffness between classes",
    "7": "Within a class, the cosine falls with distance",
    "8": "ξ falls while the network learns",
    "9": "The higher the learning rate, the smaller ξ, at equal epoch",
    "9l": "The same at equal training loss",
    "9b": "The higher the learning rate, the stiffer different classes, at equal loss",
    "11": "Cosine shows structure within classes, sign between them",
}


def statistics(rows: pd.DataFrame, turned: pd.DataFrame) -> pd.DataFrame:
    """The statistic of each claim, data set and seed."""
    found = []
    at_rate = rows[np.isclose(rows["lr"], RATE)]
    for (dataset, arch, seed), runs in at_rate.groupby(GROUP):
        of = {"dataset": dataset, "arch": arch, "seed": seed}
        for claim, (kind, statistic) in OF_A_RUN.items():
            run = runs[runs["kind"] == kind]
            if len(run):
                found.append(of | {"claim": claim, "value": statistic(run)})
    for _, of_run in turned[turned["kind"] == "few"].iterrows():
        found.append({key: of_run[key] for key in GROUP} | {"claim": "4t", "value": _lag(of_run)})
    for (dataset, arch, seed), runs in rows[rows["kind"] == "plain"].groupby(GROUP):
        if runs["lr"].nunique() == len(RATES):
            of = {"dataset": dataset, "arch": arch, "seed": seed}
            found += [of | {"claim": claim, "value": value} for claim, value in _of_rates(runs).items()]
    return pd.DataFrame(found)


def _of_rates(runs: pd.DataFrame) -> dict[str, float]:
    by_rate = [run for _, run in runs.groupby("lr")]
    rates = [float(run["lr"].iloc[0]) for run in by_rate]
    last = pd.DataFrame([run.iloc[-1] for run in by_rate])
    level = 1.05 * max(float(run["train_loss"].min()) for run in by_rate)
    equal = pd.DataFrame([run[run["train_loss"] <= level].iloc[0] for run in by_rate])
    return {
        "9": _ranks(rates, censored(last)),
        "9l": _ranks(rates, censored(equal)),
        "9b": _ranks(rates, equal["sign_between_tt"]),
    }
