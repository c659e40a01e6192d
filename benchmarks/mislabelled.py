"""Whether scores of single examples find wrong labels, against other people's scores.

    python -m benchmarks.mislabelled run --data-dir DIR      # what the table lacks: an hour or two
    python -m benchmarks.mislabelled run --only mnist,fc,0.1,uniform,60000 --data-dir DIR
    python -m benchmarks.mislabelled table                   # areas under the ROC curve; with --precision also that

A part of the training labels is replaced: by any other class (`uniform`), or by the one that looks most like it
(`lookalike`). A network is trained on all of them, and after some epochs every training example is scored. Told are the
area under the ROC curve and the precision among as many as are wrong, means over seeds with 95 % intervals by Student's
t. Ours compare an example with 500 others, whose labels are right; `… of training` with the 500 first training examples
themselves, wrong labels included, as the probe does.

Peers: loss; EL2N and the length of the gradient (GraNd at that moment; Paul et al. 2021, arXiv 2107.07075); the product
of the gradient with the mean gradient of the others (TracIn; Pruthi et al. 2020, arXiv 2002.08484); and confident
learning (Northcutt et al. 2021, arXiv 1911.00068), as the library cleanlab has it, of out-of-sample predictions: three
further trainings, each without a third of the examples.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy.special import softmax

import tfstiff
from benchmarks.reproduction.tables import append, are_there, read
from benchmarks.reproduction.trainings import NUM_CLASSES, Part, parts, with_wrong_labels
from benchmarks.reproduction.verdicts import mean_of
from tfstiff.measuring.directional import directional_stiffness
from tfstiff.measuring.ranking import score_examples
from tfstiff.models import MODELS
from tfstiff.records.example_frame import own_and_others
from tfstiff.runs.batches import STEPS_PER_EXECUTION

FOLDER = Path(__file__).parent / "tables"
REFERENCE = 500
FOLDS = 3
BATCH, RATE = 64, 8e-4
KEYS = ("dataset", "arch", "share", "kind", "train", "seed")
LOOKALIKES = {
    "mnist": (6, 7, 3, 8, 9, 3, 0, 1, 3, 4),
    "fashion_mnist": (6, 3, 4, 1, 2, 7, 0, 5, 0, 7),
    "cifar10": (8, 9, 0, 5, 7, 3, 2, 4, 0, 1),
}
EPOCHS = {5000: (2, 6), 60000: (1, 4)}  # by the number of training examples
SEEDS = 5


class Cell(NamedTuple):
    """One training."""

    dataset: str
    arch: str
    share: float
    kind: str
    train: int
    seed: int


def cells(seeds: int = SEEDS) -> Iterator[Cell]:
    """What tells most first: `fc`, the set of the aim (MNIST whole, `fc`, a tenth of the labels), a tenth in `cnn`."""
    kinds = [(dataset, kind) for dataset in LOOKALIKES for kind in ("uniform", "lookalike")]
    for some in (range(min(3, seeds)), range(3, seeds)):
        for arch, shares in (("fc", (0.05, 0.1, 0.2)), ("aim", ()), ("cnn", (0.1,)), ("cnn", (0.05, 0.2))):
            for seed in some:
                if arch == "aim":
                    yield Cell("mnist", "fc", 0.1, "uniform", 60000, seed)
                for dataset, kind in kinds:
                    for share in shares:
                        yield Cell(dataset, arch, share, kind, 5000, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and score what the table lacks")
    run.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    run.add_argument("--seeds", type=int, default=SEEDS)
    run.add_argument(
        "--only", default="", help="first keys of the trainings to make: dataset,arch,share,kind,train,seed"
    )
    table = commands.add_parser("table", help="print what was found")
    table.add_argument("--precision", action="store_true", help="precision at the share, in place of the area")
    arguments = parser.parse_args()
    if arguments.command == "table":
        print(in_markdown(read("mislabelled", FOLDER), "precision" if arguments.precision else "area"))
        return
    there = are_there("mislabelled", KEYS, FOLDER)
    wanted = [key for key in arguments.only.split(",") if key]
    trainer = Trainer()
    for cell in cells(arguments.seeds):
        if tuple(cell) in there or [str(key) for key in cell[: len(wanted)]] != wanted:
            continue
        began = time.perf_counter()
        append("mislabelled", found(cell, trainer, arguments.data_dir), FOLDER)
        print(f"{time.perf_counter() - began:6.1f} s  {', '.join(map(str, cell))}", file=sys.stderr, flush=True)


class Trainer:
    """Networks that begin anew for each training, and are traced once for all of them."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], keras.Model] = {}

    def begin(self, cell: Cell, shape: tuple[int, ...]) -> keras.Model:
        """A network of new weights, and an optimizer that remembers nothing."""
        keras.utils.set_random_seed(cell.seed)
        fresh = MODELS[cell.arch](shape, NUM_CLASSES)
        model = self._models.setdefault((cell.dataset, cell.arch), fresh)
        if model is fresh:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.Adam(RATE), loss, steps_per_execution=STEPS_PER_EXECUTION)
            model.optimizer.build(model.trainable_variables)
        model.set_weights(fresh.get_weights())
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        model.optimizer.learning_rate.assign(RATE)
        return model


def found(cell: Cell, trainer: Trainer, data_dir: str | None) -> list[dict[str, Any]]:
    """The rows of one training: by epoch and score, area and precision."""
    if cell.train < 60000:
        right, held, _ = parts(cell.dataset, data_dir, cell.seed, (cell.train, REFERENCE))
    else:
        right, held, _ = _whole(cell, data_dir)
    train = with_wrong_labels(right, cell.share, cell.seed)
    is_wrong = train.y != right.y
    if cell.kind == "lookalike":
        train = Part(right.x, np.where(is_wrong, np.array(LOOKALIKES[cell.dataset], np.int32)[right.y], right.y))
    moments = EPOCHS[cell.train]
    outside = _out_of_sample(cell, trainer, train, moments)
    model = trainer.begin(cell, train.x.shape[1:])
    rows, before = [], 0
    for epoch in moments:
        model.fit(train.x, train.y, batch_size=BATCH, epochs=epoch - before, verbose=0)
        before = epoch
        for name, score in (scores(model, train, held) | confident_learning(train.y, outside[epoch])).items():
            area, precision = quality(score, is_wrong)
            rows.append({**cell._asdict(), "epoch": epoch, "score": name, "area": area, "precision": precision})
    return rows


def _whole(cell: Cell, data_dir: str | None) -> list[Part]:
    """All training images, and some of the test set in the place of those held out."""
    train, test = parts(cell.dataset, data_dir, cell.seed, (cell.train,))
    order = np.random.default_rng([cell.seed, 4]).permutation(len(test.y))[:REFERENCE]
    return [train, Part(test.x[order], test.y[order]), test]


def _out_of_sample(cell: Cell, trainer: Trainer, train: Part, moments: tuple[int, ...]) -> dict[int, np.ndarray]:
    """By epoch, (n, classes) the probabilities of trainings that have not seen the example."""
    fold = np.random.default_rng([cell.seed, 5]).permutation(len(train.y)) % FOLDS
    result = {epoch: np.empty((len(train.y), NUM_CLASSES)) for epoch in moments}
    for number in range(FOLDS):
        model, is_in, before = trainer.begin(cell, train.x.shape[1:]), fold != number, 0
        for epoch in moments:
            model.fit(train.x[is_in], train.y[is_in], batch_size=BATCH, epochs=epoch - before, verbose=0)
            before = epoch
            logits = model.predict(train.x[~is_in], batch_size=500, verbose=0).astype(float)
            result[epoch][~is_in] = softmax(logits, 1)
    return result


def confident_learning(y: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    from cleanlab.rank import get_label_quality_scores

    return {
        f"cleanlab, {name.replace('_', ' ')} (peer)": -get_label_quality_scores(y, probabilities, method=name)
        for name in ("self_confidence", "normalized_margin")
    }


def scores(model: keras.Model, train: Part, held: Part) -> dict[str, np.ndarray]:
    """By name, (n,), large where a label looks wrong."""
    probe = tfstiff.Probe.from_arrays((train.x, train.y), (held.x, held.y), size=None)
    own = tfstiff.Probe.from_arrays((train.x, train.y), (train.x[:REFERENCE], train.y[:REFERENCE]), size=None)
    result = {}
    for name, one in (("", probe), (" of training", own)):
        scored = score_examples(model, one)
        stiffness = scored.stiffness["validation"]
        of = own_and_others(stiffness, scored.classes, "cosine")
        mean = of["own"][0]
        if name:  # an example that is one of those it is compared with has the cosine 1 with itself
            counts = stiffness.counts[np.arange(len(mean)), scored.classes]
            is_one = np.arange(len(mean)) < REFERENCE
            mean = np.where(is_one, (mean * counts - 1) / np.maximum(counts - 1, 1), mean)
        result |= {f"−cosine with its class{name}": -mean, f"closest class − own{name}": of["closest"][0] - mean}
        if not name:
            result |= {
                "−sign with its class": -own_and_others(stiffness, scored.classes, "sign")["own"][0],
                "−cosine with the most opposed class": -of["opposed"][0],
                "−mean cosine with all classes": -np.nanmean(stiffness.cosine, 1),
                "loss (peer)": scored.loss,
                "EL2N (peer)": scored.el2n,
                "gradient length (peer)": scored.gradient_norm,
                "normalised margin in the sample (peer)": -scored.margin,
                "−product with the mean gradient (peer)": -products_with_mean(model, train, held),
            }
    return {name: np.nan_to_num(np.asarray(score, float)) for name, score in result.items()}


def products_with_mean(model: keras.Model, train: Part, held: Part) -> np.ndarray:
    """(n,): of each training gradient with the mean gradient of the others, so what a step on it does to their loss."""
    with tf.GradientTape() as tape:
        loss = model.loss(held.y, model(held.x))
    return directional_stiffness(model, train.x, train.y, tape.gradient(loss, model.trainable_variables)).products[:, 0]


def quality(score: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and the share that is wrong among as many as are wrong."""
    from scipy.stats import rankdata

    ranks, count = rankdata(score), int(wrong.sum())
    area = (ranks[wrong].sum() - count * (count + 1) / 2) / (count * (len(wrong) - count))
    return float(area), float(wrong[np.argsort(-score, kind="stable")[:count]].mean())


def in_markdown(table: pd.DataFrame, value: str) -> str:
    """A row a score and moment, a column a kind of wrong labels, the best of each column in bold."""
    lines: list[str] = []
    for (train, arch, dataset), group in table.groupby(["train", "arch", "dataset"], sort=False):
        lines += ["", f"{dataset}, {arch}, {train:,} examples, {group['seed'].nunique()} seeds", ""]
        wide = group.pivot_table(index=["epoch", "score"], columns=["kind", "share"], values=value, aggfunc="mean")
        wide = wide.sort_index(key=lambda level: level).assign(order=-wide.mean(1)).reset_index()
        wide = wide.sort_values(["epoch", "order"]).set_index(["epoch", "score"]).drop(columns="order")
        widths = group.groupby(["epoch", "score", "kind", "share"])[value].agg(half_width)
        heads = [f"{kind} {share:.0%}" for kind, share in wide.columns]
        lines += ["| epoch | score | " + " | ".join(heads) + " |", "|---:|---|" + "---:|" * len(heads)]
        for (epoch, name), row in wide.iterrows():
            texts = []
            for column, mean in row.items():
                text = f"{mean:.3f} ± {widths[epoch, name, *column]:.3f}"
                texts.append(f"**{text}**" if mean == wide[column].max() else text)
            lines.append(f"| {epoch} | {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def half_width(values: pd.Series) -> float:
    """Of the 95 % interval of the mean; NaN of fewer than three."""
    found = mean_of(values)
    return (found.high - found.low) / 2


if __name__ == "__main__":
    main()
