"""Text classifiers of two recurrent layers: first and later calls, and memory, against what training takes.

    python benchmarks/recurrence.py                          # all, each in a process of its own
    python benchmarks/recurrence.py --steps 200 --examples 100

`Embedding → Bidirectional(LSTM or GRU) twice → Dense`, with and without a mask over half of the rows. A first call is
set against the first step of `fit` with the same model and batch, a later one and its memory against forward+backward.
Processor seconds, so that another user of the machine does not count.
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfstiff
from tfstiff.bench.timing import BenchmarkFailed, in_new_process, peak_memory, processor_seconds

VOCABULARY, UNITS = 2000, 64
_REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--cells", nargs="+", default=["LSTM", "GRU"])
    parser.add_argument("--seconds", type=int, default=1200, help="after which a case is given up")
    chosen = parser.parse_args()
    print("| cell | steps | mask | examples | first, s | × fit's first step | later, s | × forward+backward | MB | × |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for steps in chosen.steps:
        for cell in chosen.cells:
            for is_masked in (False, True):
                case = (cell, steps, is_masked, chosen.examples)
                print(_row(case, chosen.seconds), flush=True)


def _row(case: tuple[str, int, bool, int], seconds: int) -> str:
    cell, steps, is_masked, examples = case
    try:
        found = in_new_process(measured, *case, seconds=seconds)
    except BenchmarkFailed as reason:
        return f"| {cell} | {steps} | {is_masked} | {examples} | {str(reason).splitlines()[0]} |"
    first, later, memory = (found[name] for name in ("first", "later", "memory"))
    return (
        f"| {cell} | {steps} | {'half' if is_masked else 'none'} | {examples} | {first[0]:.1f} | "
        f"{first[0] / first[1]:.1f} | {later[0]:.2f} | {later[0] / later[1]:.1f} | {memory[0] / 1e6:.0f} | "
        f"{memory[0] / memory[1]:.1f} |"
    )


def classifier(cell: str, steps: int, is_masked: bool) -> keras.Model:
    """The model."""
    layer = getattr(keras.layers, cell)
    inputs = keras.Input((steps,), dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, UNITS, mask_zero=is_masked)(inputs)
    x = keras.layers.Bidirectional(layer(UNITS, return_sequences=True))(x)
    x = keras.layers.Bidirectional(layer(UNITS))(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def measured(cell: str, steps: int, is_masked: bool, examples: int) -> dict[str, tuple[float, float]]:
    """Ours and training's: processor seconds of a first and a later call, and bytes at the peak of a later one."""
    random = np.random.default_rng(0)
    x = random.integers(1, VOCABULARY, (examples, steps)).astype("int32")
    x[: examples // 2, steps // 2 :] = 0
    y = random.integers(0, 2, (examples, 1)).astype("float32")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    fitted = classifier(cell, steps, is_masked)
    fitted.compile("sgd", loss)
    fit = processor_seconds(lambda: fitted.train_on_batch(x, y))
    model = classifier(cell, steps, is_masked)
    weights = [weight.value for weight in model.trainable_weights]
    inputs, targets = tf.constant(x), tf.constant(y)

    @tf.function(autograph=False)
    def forward_backward() -> list[Any]:
        with tf.GradientTape() as tape:
            value = loss(targets, model(inputs, training=False))
        return [tf.convert_to_tensor(part) for part in tape.gradient(value, weights)]

    def gram() -> None:
        tfstiff.gradient_gram(model, x, y, loss=loss)

    first = processor_seconds(gram)
    forward_backward()
    later, plain = (min(processor_seconds(function) for _ in range(_REPEATS)) for function in (gram, forward_backward))
    memory = [float(peak_memory(function) or np.nan) for function in (gram, forward_backward)]
    return {"first": (first, fit), "later": (later, plain), "memory": (memory[0], memory[1])}


if __name__ == "__main__":
    main()
