"""A whole run, measurements included, against plain `model.fit(x, y, batch_size=32)` of the same model and data.

    python benchmarks/against_plain_fit.py --dataset cifar10 --arch cnn --epochs 3 --data-dir DIR

The two take turns, in a process each, so that both see the same machine; times are of `fit` alone and of everything
after the imports (data, model, fit, records, figures).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tfstiff._quiet import import_tensorflow
from tfstiff.bench.timing import Timing, in_new_process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist_mini")
    parser.add_argument("--arch", default="fc")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=8e-4)
    parser.add_argument("--data-dir")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {"plain": [], "tfstiff": []}
    for repeat in range(arguments.repeats):
        for kind, measure in (("plain", plain), ("tfstiff", ours)):
            results[kind].append(in_new_process(measure, arguments))
            print(f"{repeat + 1}/{arguments.repeats} {kind}: {results[kind][-1]}", file=sys.stderr)
    for figure in ("fit", "everything"):
        timings = {kind: Timing(tuple(row[figure] for row in rows)) for kind, rows in results.items()}
        print(
            f"{figure}: tfstiff {timings['tfstiff'].seconds:.1f} s, plain fit {timings['plain'].seconds:.1f} s, "
            f"ratio {timings['tfstiff'].ratio(timings['plain']):.2f}"
        )


def plain(arguments: argparse.Namespace) -> dict[str, float]:
    """Keras' defaults: NumPy arrays in, one step per execution."""
    import_tensorflow()
    import keras

    from tfstiff import models
    from tfstiff.datasets import load, prepare

    start = time.perf_counter()
    dataset = prepare(load(arguments.dataset, data_dir=arguments.data_dir))
    train = dataset.train
    keras.utils.set_random_seed(0)
    model = models.build(arguments.arch, train.x.shape[1:], dataset.num_classes)
    model.compile(
        keras.optimizers.Adam(arguments.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    before = time.perf_counter()
    model.fit(train.x, train.y, batch_size=32, epochs=arguments.epochs, verbose=0)
    end = time.perf_counter()
    return {
        "fit": round(end - before, 2),
        "everything": round(end - start, 2),
        "images_per_second": round(arguments.epochs * len(train) / (end - before)),
    }


def ours(arguments: argparse.Namespace) -> dict[str, float]:
    """`tfstiff run` with its defaults."""
    import_tensorflow()
    from tfstiff import RunSpec, run

    options = {name: getattr(arguments, name) for name in ("dataset", "arch", "epochs", "learning_rate", "data_dir")}
    with tempfile.TemporaryDirectory() as folder:
        finished = run(RunSpec(**options), Path(folder) / "run")
        timings = finished.timings
        return {
            "fit": timings["seconds_in_fit"],
            "everything": timings["seconds"],
            "images_per_second": timings["images_per_second"],
            "measuring": timings["seconds_measuring"],
            "measurements": len(finished.measurements),
        }


if __name__ == "__main__":
    main()
