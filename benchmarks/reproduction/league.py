"""Rules that say when to stop, in one league: the regret of each in test accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.reproduction.tables import PAIR_SETS, TABLES, append, missing, read, stiffnesses

CONDITIONS = {
    "dataset": ("mnist", "fashion_mnist"),
    "n": (1000, 5000),
    "noise": (0.0, 0.1, 0.2, 0.4),
}
EPOCHS = {1000: 40, 5000: 30}
HIDDEN, BATCH, LEARNING_RATE = (128, 64), 32, 1e-3
PROBE, VALIDATION, TEST = 400, 500, 4000
PATIENCE = 5
SEEDS = 5
KEYS = ("seed", *CONDITIONS)
MONITORS = stiffnesses(*PAIR_SETS)


def designs(seeds: int) -> Iterator[dict[str, Any]]:
    for seed in range(seeds):
        for values in itertools.product(*CONDITIONS.values()):
            yield {"seed": seed} | dict(zip(CONDITIONS, values, strict=True))


def train_all(data_dir: str | None, seeds: int, is_over: Any, folder: Path = TABLES) -> Iterator[dict[str, Any]]:
    """Makes each training that the tables lack, and yields its design."""
    from benchmarks.reproduction.trainings import Network

    network = Network(HIDDEN)
    for design in missing("league_turns", KEYS, designs(seeds), is_over, folder):  # which are written last
        epochs, turns = trained(network, design, data_dir)
        append("league", (design | row for row in epochs), folder)
        append("league_turns", (design | row for row in turns), folder)
        yield design
    for design in missing("league_late", KEYS, designs(seeds), is_over, folder):
        append("league_late", (design | row for row in late_turns(network, design, data_dir)), folder)
        yield design | {"rule": "late turns"}


def data_of(design: dict[str, Any], data_dir: str | None) -> list[Any]:
    """The training, validation and test examples."""
    from benchmarks.reproduction.trainings import Part, parts, with_wrong_labels

    seed, noise, size = design["seed"], design["noise"], design["n"]
    train, validation, test = parts(design["dataset"], data_dir, seed, (size, VALIDATION))
    wrong = [with_wrong_labels(part, noise, seed + 1000 * place) for place, part in enumerate((train, validation))]
    return [*wrong, Part(test.x[:TEST], test.y[:TEST])]


def epochs_of(network: Any, design: dict[str, Any], train: Any) -> Iterator[int]:
    """Trains, and yields each epoch when it is over; 0 before the first."""
    seed, size = design["seed"], design["n"]
    network.begin(seed, LEARNING_RATE)
    yield 0
    steps = size // BATCH  # an epoch, to the step
    for step in network.train(train, BATCH, seed, [steps * epoch for epoch in range(1, EPOCHS[size] + 1)]):
        yield step // steps


def trained(network: Any, design: dict[str, Any], data_dir: str | None) -> tuple[list[dict], list[dict]]:
    """What each epoch was, and for each curve the first turn that was confirmed while it grew."""
    from benchmarks.reproduction.trainings import quantities
    from tfstiff.analysis.readings import loss_influence, reading
    from tfstiff.analysis.turning_points import TurnWatch
    from tfstiff.stiffness.per_parameter import evidence_stopping_score

    train, validation, test = data_of(design, data_dir)
    watches = {name: TurnWatch() for name in ("validation_loss", *MONITORS)}
    rows = []
    for epoch in epochs_of(network, design, train):
        if not epoch:
            continue
        measurement = network.measure(train[:PROBE], validation[:PROBE])
        for name in MONITORS:
            found = reading(measurement, f"{name[:-3]}_{PAIR_SETS[name[-2:]]}")
            watches[name].add(epoch, found.value, found.se, found.influence)
        loss = measurement.validation.loss
        watches["validation_loss"].add(epoch, -loss, influence=-loss_influence(measurement.validation))
        moments = network.moments(train[:PROBE])
        evaluated = {}
        for name, part in (("validation", validation), ("test", test)):
            evaluated[f"{name}_loss"], evaluated[f"{name}_accuracy"] = network.evaluate(part)
        rows.append(
            {"epoch": epoch}
            | quantities(measurement, tuple(PAIR_SETS))
            | evaluated
            | {"evidence": evidence_stopping_score(moments.mean, moments.variance, moments.num_examples)}
        )
    return rows, [_told(name, watch.turn) for name, watch in watches.items()]


def late_turns(network: Any, design: dict[str, Any], data_dir: str | None) -> list[dict]:
    """Of each monitor the first turn that was confirmed where the network has learnt, as `StopWhenStiffnessDrops` does.

    The training is that of `trained`, measured before the first step too, from which the fall of the loss counts.
    """
    from tfstiff.analysis.readings import reading
    from tfstiff.analysis.training_watch import StiffnessTurnsLate
    from tfstiff.analysis.turning_points import TurnWatch

    train, validation, _ = data_of(design, data_dir)
    watches = {name: (StiffnessTurnsLate(), TurnWatch()) for name in MONITORS}

    for epoch in epochs_of(network, design, train):
        measurement = network.measure(train[:PROBE], validation[:PROBE])
        for name, (is_late, watch) in watches.items():
            found = reading(measurement, f"{name[:-3]}_{PAIR_SETS[name[-2:]]}")
            counts = is_late.add(found.value, measurement.train.loss)
            watch.add(epoch, found.value if counts else float("nan"), found.se, found.influence)
    return [_told(f"late {name}", watch.turn) for name, (_, watch) in watches.items()]


def _told(curve: str, turn: Any) -> dict[str, Any]:
    turned = turn.time if turn.status == "confirmed" else float("nan")
    return {"curve": curve, "turned": turned, "sure": turn.confirmed_time}


def ended_and_kept(epochs: pd.DataFrame, turns: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """For each rule, the epoch at which the training ends and the one whose weights are kept, from 1 on."""
    last = len(epochs)
    loss = epochs["validation_loss"].to_numpy(float)
    turned = turns.set_index("curve")

    def turn(curve: str) -> tuple[int, int]:
        found = turned.loc[curve]
        return (last, last) if np.isnan(found["sure"]) else (int(found["sure"]), int(found["turned"]))

    ended, _ = patience(epochs["disparity"].to_numpy(float))
    return {
        "validation loss": patience(loss),
        "Prechelt GL5": generalization_loss(loss),
        "validation turning point": turn("validation_loss"),
        "disparity": (ended, ended),
        "evidence": first_above(epochs["evidence"].to_numpy(float)),
        "last": (last, last),
        **{f"turn of {name}": turn(name) for name in MONITORS},
        **{f"late turn of {name}": turn(f"late {name}") for name in MONITORS if f"late {name}" in turned.index},
        **{f"best {name}": patience(-epochs[name].to_numpy(float)) for name in MONITORS},
    }


def patience(values: np.ndarray, epochs: int = PATIENCE) -> tuple[int, int]:
    """Ends `epochs` after the lowest value so far, and keeps that; NaN is never the lowest."""
    lowest, best = np.inf, 0
    for place, value in enumerate(values):
        if value < lowest:
            lowest, best = value, place
        elif place - best >= epochs:
            return place + 1, best + 1
    return len(values), best + 1


def generalization_loss(loss: np.ndarray, alpha: float = 5.0) -> tuple[int, int]:
    """GL_α of Prechelt 1998: ends where the loss is first α % above its lowest, and keeps that."""
    lowest = np.minimum.accumulate(loss)
    above = np.flatnonzero(loss > lowest * (1 + alpha / 100))
    end = int(above[0]) if len(above) else len(loss) - 1
    return end + 1, int(np.argmin(loss[: end + 1])) + 1


def first_above(values: np.ndarray) -> tuple[int, int]:
    """The first epoch with a value above 0, or the last."""
    above = np.flatnonzero(values > 0)
    end = int(above[0]) + 1 if len(above) else len(values)
    return end, end


def examples_needed(rule: str) -> int:
    """Of validation, by the rule."""
    if rule in ("validation loss", "Prechelt GL5"):
        return VALIDATION
    return PROBE if rule == "validation turning point" or rule.endswith(("tv", "vv")) else 0


def regrets(epochs: pd.DataFrame, turns: pd.DataFrame) -> pd.DataFrame:
    """For each training and rule: the regret in percentage points, and the epochs trained."""
    rows = []
    of_turns = dict(list(turns.groupby(list(KEYS))))
    for key, training in epochs.groupby(list(KEYS)):
        if key not in of_turns:  # a training that was ended while it was written
            continue
        training = training.drop_duplicates("epoch", keep="last").sort_values("epoch")
        accuracy = training["test_accuracy"].to_numpy(float)
        for rule, (ended, kept) in ended_and_kept(
            training, of_turns[key].drop_duplicates("curve", keep="last")
        ).items():
            regret = 100 * (accuracy.max() - accuracy[kept - 1])
            rows.append(
                dict(zip(KEYS, key, strict=True)) | {"rule": rule, "regret": regret, "epochs": ended, "kept": kept}
            )
    return pd.DataFrame(rows)


def by_seed(found: pd.DataFrame) -> pd.DataFrame:
    """Mean regret over the conditions: seeds by rules. Seeds of which a condition is missing are left out."""
    whole = len(list(designs(1)))
    counts = found[found["rule"] == "last"].groupby("seed").size()
    kept = found[found["seed"].isin(counts[counts == whole].index)]
    return kept.pivot_table(index="seed", columns="rule", values="regret", aggfunc="mean")


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return read("league"), pd.concat([read("league_turns"), read("league_late")])
