"""Whether scores of single examples find wrong labels, against other people's scores.

    python benchmarks/mislabelled.py                       # MNIST, fc, 10 % wrong labels, 3 seeds
    python benchmarks/mislabelled.py --dataset cifar10 --arch cnn --share 0.2 --kind lookalike --seeds 5

A part of the training labels is replaced: by any other class (`uniform`), or by the one that looks most like it
(`lookalike`). A network is trained on all of them, and at some moments every training example is scored. Told are the
area under the ROC curve and the precision among as many as are wrong, means over seeds with 95 % intervals by Student's
t. Ours compare an example with 1,000 validation examples, whose labels are right; `… of training` with the 1,000 first
training examples themselves, wrong labels included, as the probe does.

Peers: loss; EL2N and the length of the gradient (GraNd at that moment; Paul et al. 2021, arXiv 2107.07075); the product
of the gradient with the mean gradient of its class (as TracIn has it; Pruthi et al. 2020, arXiv 2002.08484); and the
normalised margin by which confident learning ranks labels (Northcutt et al. 2021, arXiv 1911.00068; `cleanlab` has that
of out-of-sample predictions, here they are those of the model that trains).
"""

from __future__ import annotations

import argparse
import sys
import time

import keras
import numpy as np

import tfstiff
from tfstiff.datasets import load, prepare
from tfstiff.gradients.directional import products_by_weight
from tfstiff.gradients.gram import chunks_of, proved_plan
from tfstiff.gradients.options import GradientOptions
from tfstiff.measuring.directional import class_mean_directions
from tfstiff.measuring.ranking import score_examples
from tfstiff.models import MODELS
from tfstiff.records.example_frame import own_and_others
from tfstiff.stiffness.intervals import quantile

REFERENCE = 1000
LOOKALIKES = {
    "mnist": (6, 7, 3, 8, 9, 3, 0, 1, 3, 4),
    "fashion_mnist": (6, 3, 4, 1, 2, 7, 0, 5, 0, 7),
    "fashion_mnist_mini": (6, 3, 4, 1, 2, 7, 0, 5, 0, 7),
    "cifar10": (8, 9, 0, 5, 7, 3, 2, 4, 0, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist", choices=sorted(LOOKALIKES))
    parser.add_argument("--arch", default="fc", choices=("fc", "cnn"))
    parser.add_argument("--share", type=float, default=0.1, help="of the labels, which are made wrong")
    parser.add_argument("--kind", default="uniform", choices=("uniform", "lookalike"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 2, 4], help="after which examples are scored")
    parser.add_argument("--train", type=int, help="training examples; default: all")
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    arguments = parser.parse_args()
    found: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for seed in range(arguments.seeds):
        for epoch, scores, wrong in trained(arguments, seed):
            for name, score in scores.items():
                found.setdefault((epoch, name), []).append(quality(score, wrong))
    print(f"\n{arguments.dataset}, {arguments.arch}, {arguments.share:.0%} {arguments.kind}, {arguments.seeds} seeds\n")
    print("| epoch | score | area under the ROC | precision at the share |")
    print("|---:|---|---:|---:|")
    for (epoch, name), values in sorted(found.items(), key=lambda item: (item[0][0], -np.mean(item[1], 0)[0])):
        cells = " | ".join(with_interval(np.array(one)) for one in zip(*values, strict=True))
        print(f"| {epoch} | {name} | {cells} |")


def trained(arguments: argparse.Namespace, seed: int):
    """After each of the epochs: (epoch, by name the scores (n,), large where a label looks wrong, which are wrong)."""
    data = prepare(load(arguments.dataset, data_dir=arguments.data_dir), train_examples=arguments.train, seed=seed)
    x, right = data.train.x, np.asarray(data.train.y).astype(int)
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(right)) < arguments.share
    others = (right + rng.integers(1, 10, len(right))) % 10
    if arguments.kind == "lookalike":
        others = np.array(LOOKALIKES[arguments.dataset])[right]
    y = np.where(wrong, others, right)
    held = (data.validation.x, np.asarray(data.validation.y).astype(int))
    size = (None, min(REFERENCE, len(held[1])))
    probe = tfstiff.Probe.from_arrays((x, y), held, size=size, seed=seed)
    own = tfstiff.Probe.from_arrays((x, y), (x[:REFERENCE], y[:REFERENCE]), size=None)
    keras.utils.set_random_seed(seed)
    model = MODELS[arguments.arch](x.shape[1:], 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(arguments.learning_rate), loss)
    before = 0
    for epoch in sorted(arguments.epochs):
        model.fit(x, y, batch_size=32, epochs=epoch - before, verbose=0)
        before = epoch
        began = time.perf_counter()
        scores = ours_and_peers(model, probe, own)
        seconds = time.perf_counter() - began
        print(f"seed {seed}, epoch {epoch}: {len(y):,} examples scored in {seconds:.1f} s", file=sys.stderr, flush=True)
        yield epoch, scores, wrong


def ours_and_peers(model: keras.Model, probe: tfstiff.Probe, own: tfstiff.Probe) -> dict[str, np.ndarray]:
    found = {}
    for name, one in (("", probe), (" of training", own)):
        scored = score_examples(model, one)
        stiffness = scored.stiffness["validation"]
        parts = own_and_others(stiffness, scored.classes, "cosine")
        mean = parts["own"][0]
        if name:  # an example that is one of those it is compared with has the cosine 1 with itself
            counts = stiffness.counts[np.arange(len(mean)), scored.classes]
            is_one = np.arange(len(mean)) < REFERENCE
            mean = np.where(is_one, (mean * counts - 1) / np.maximum(counts - 1, 1), mean)
        found |= {f"−cosine with its class{name}": -mean, f"closest class − own{name}": parts["closest"][0] - mean}
        if not name:
            found |= {
                "−sign with its class": -own_and_others(stiffness, scored.classes, "sign")["own"][0],
                "−cosine with the most opposed class": -parts["opposed"][0],
                "−mean cosine with all classes": -np.nanmean(stiffness.cosine, 1),
                "loss (peer)": scored.loss,
                "EL2N (peer)": scored.el2n,
                "gradient length (peer)": scored.gradient_norm,
                "normalised margin (peer)": -scored.margin,
                "−product with mean gradient of its class (peer)": -products_with_class_means(model, probe),
            }
    return found


def products_with_class_means(model: keras.Model, probe: tfstiff.Probe) -> np.ndarray:
    """(n,): of each training gradient with the mean gradient of the validation examples of its class."""
    half = probe.validation
    plan, x, y = proved_plan(model, half.x, half.y, GradientOptions(), None, None)
    means = class_mean_directions(plan, x, y)
    own = [int(name) for name in means.names].index
    plan, x, y = proved_plan(model, probe.train.x, probe.train.y, GradientOptions(), None, None)
    products = [
        sum(products_by_weight(plan.factors(*chunk), plan.layout, means.parts).values())
        for chunk in chunks_of(plan, x, y)
    ]
    return np.concatenate(products)[np.arange(len(y)), [own(label) for label in probe.train.y.tolist()]]


def quality(score: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and the share that is wrong among as many as are wrong."""
    from scipy.stats import rankdata

    ranks, count = rankdata(score), int(wrong.sum())
    area = (ranks[wrong].sum() - count * (count + 1) / 2) / (count * (len(wrong) - count))
    return float(area), float(wrong[np.argsort(-score, kind="stable")[:count]].mean())


def with_interval(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    width = float(quantile(len(values) - 1)) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {width:.3f}"


if __name__ == "__main__":
    main()
