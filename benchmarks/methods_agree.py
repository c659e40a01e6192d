"""Do all methods give the same Gram matrix? Each, in float32, against `loop` in float64, on real images.

    python benchmarks/methods_agree.py --data-dir DIR

Prints, for each network at its initialisation and after 200 steps of training: the greatest difference relative to the
largest entry, and the share of pairs whose sign differs.
"""

from __future__ import annotations

import argparse

import numpy as np

from tfstiff._quiet import import_tensorflow

METHODS = ("loop", "auto", "structured", "vectorized", "jacobian")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--arch", nargs="*", default=["fc", "cnn", "cnn-v1", "resnet20"])
    arguments = parser.parse_args()
    import_tensorflow()
    import keras

    from tfstiff import gradient_gram, models
    from tfstiff.datasets import load, prepare

    dataset = prepare(load(arguments.dataset, data_dir=arguments.data_dir), train_examples=6400)
    x, y = (array[: arguments.examples] for array in (dataset.train.x, dataset.train.y))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def build(arch: str, precision: str) -> keras.Model:
        keras.config.set_dtype_policy(precision)
        keras.utils.set_random_seed(0)
        model = models.build(arch, x.shape[1:], dataset.num_classes)
        keras.config.set_dtype_policy("float32")
        return model

    print("| network | steps | method | greatest relative difference | signs that differ |")
    print("|---|---|---|---|---|")
    for arch in arguments.arch:
        model, twin = build(arch, "float32"), build(arch, "float64")
        model.compile(keras.optimizers.Adam(8e-4), loss)
        for steps in (0, 200):
            if steps:
                model.fit(dataset.train.x, dataset.train.y, batch_size=32, epochs=1, verbose=0)
            twin.set_weights(model.get_weights())
            exact = gradient_gram(twin, x.astype("float64"), y, loss=loss, method="loop")
            for method in METHODS:
                found = gradient_gram(model, x, y, method=method)
                difference = np.abs(found - exact).max() / np.abs(exact).max()
                signs = np.mean(np.sign(found) != np.sign(exact))
                print(f"| {arch} | {steps} | {method} | {difference:.1e} | {signs:.2%} |", flush=True)


if __name__ == "__main__":
    main()
