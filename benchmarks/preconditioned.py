"""How often Adam's own geometry turns the sign of products of gradients, over training; and what that costs.

    python benchmarks/preconditioned.py                                   # Fashion-MNIST fc and CIFAR-10 cnn
    python benchmarks/preconditioned.py --network fashion_mnist:fc --optimizer rmsprop --probe-size 500 --epochs 10
    python benchmarks/preconditioned.py --cost                            # fc, 500 + 500: counted and measured

Told is the share of pairs, of a training and a validation example, whose product with the optimizer's diagonal between
the gradients has another sign than without it, with half the width of its 95 % interval over the draw of the probe; and
the stiffness between classes with it and without.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfstiff
from tfstiff.analysis.measured_rows import with_half_width
from tfstiff.analysis.readings import reading, reading_of_pairs
from tfstiff.bench.timing import processor_seconds
from tfstiff.models import build

PAIRS = "train_val"
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["fashion_mnist:fc", "cifar10:cnn"], help="data set and arch")
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--probe-size", type=int, default=200)
    parser.add_argument("--train-examples", type=int)
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--cost", action="store_true", help="measure times alone, with --probe-size of each half")
    arguments = parser.parse_args()
    if arguments.cost:
        cost(arguments.probe_size)
        return
    for network in arguments.network:
        disagreement(*network.split(":"), arguments)


def disagreement(dataset: str, arch: str, arguments: argparse.Namespace) -> None:
    """Trains a network, and prints a row a measurement."""
    spec = tfstiff.RunSpec(
        dataset=dataset,
        arch=arch,
        optimizer=arguments.optimizer,
        learning_rate=arguments.learning_rate,
        epochs=arguments.epochs,
        probe_size=(arguments.probe_size, arguments.probe_size),
        train_examples=arguments.train_examples,
        pair_sets=(PAIRS,),
        preconditioner="optimizer",
        data_dir=arguments.data_dir,
        offline=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        measurements = tfstiff.run(spec, Path(folder) / "run").measurements
    print(f"\n{dataset} {arch}, {arguments.optimizer}, {arguments.probe_size} + {arguments.probe_size}", flush=True)
    print(f"{'epoch':>8}{'within':>12}{'between':>12}{'sign between, D':>18}{'without':>12}")
    for found in measurements:
        shares = [
            with_half_width(reading(found, f"sign_disagreement_{kind}_{PAIRS}")) for kind in ("within", "between")
        ]
        signs = [
            with_half_width(reading_of_pairs(sets[PAIRS], "sign_between")) for sets in (found.pair_sets, found.plain)
        ]
        print(f"{found.epoch:8.3g}{shares[0]:>12}{shares[1]:>12}{signs[0]:>18}{signs[1]:>12}", flush=True)


def cost(size: int) -> None:
    """Prints what a measurement of `fc` costs beside the matrix product of its formed gradients."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2 * size, 28, 28, 1)).astype("float32"), np.arange(2 * size) % 10
    model = build("fc", (28, 28, 1), 10)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(x[:32], y[:32])
    num_weights = model.count_params()
    probe = tfstiff.Probe.from_arrays((x[:size], y[:size]), (x[size:], y[size:]), size=None)
    gradients = tf.constant(tfstiff.per_example_gradients(model, x, y))
    multiply = tf.function(lambda: tf.matmul(gradients, gradients, transpose_b=True))
    print(
        f"fc, {size} + {size}: {4 * size**2 * num_weights / 1e9:.0f} GMAC in the product of formed gradients",
        flush=True,
    )
    product = seconds(lambda: multiply().numpy())
    print(f"that product {product:.2f} s of processor time", flush=True)
    for preconditioner in ("none", "optimizer"):

        def measured(preconditioner: str = preconditioner) -> None:
            tfstiff.measure(model, probe, preconditioner=preconditioner)

        found = seconds(measured)
        print(f"measure, preconditioner {preconditioner}: {found:.2f} s, {found / product:.2f} of it", flush=True)


def seconds(call: Callable[[], object]) -> float:
    """The least processor time of a few calls, after a first one. (Time on the clock would count what else runs.)"""
    call()
    return min(processor_seconds(call) for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
