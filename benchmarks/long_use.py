"""Measures one model many times in one process: memory must stay flat, and nothing be traced again.

    python benchmarks/long_use.py --measurements 2000

The weights change between measurements, as they do in training. Told are the resident memory of the process and the
traces that all of TensorFlow's functions in it have made.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfstiff

SETTLED = 200  # measurements, after which memory is compared
GROWTH = 0.05  # of the memory then, that 1000 measurements may add


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def traces() -> int:
    """How often the traced functions that are alive were traced."""
    kind = type(tf.function(lambda: None))
    return sum(one.experimental_get_tracing_count() for one in gc.get_objects() if type(one) is kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measurements", type=int, default=2000)
    number = parser.parse_args().measurements
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="tanh"), layers.Dropout(0.5), layers.Dense(3)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 4)).astype("float32"), np.arange(24) % 3
    probe = tfstiff.Probe.from_arrays(train=(x, y), validation=(-x, y))
    begun, found = time.perf_counter(), {}
    for count in range(1, number + 1):
        model.set_weights([weight + rng.normal(scale=0.01, size=weight.shape) for weight in model.get_weights()])
        tfstiff.measure(model, probe)
        if count in (1, 10, SETTLED) or count % 500 == 0 or count == number:
            gc.collect()
            found[count] = resident(), traces()
            seconds = time.perf_counter() - begun
            print(
                f"{count:>6}: {found[count][0] / 2**20:7.1f} MiB, {found[count][1]} traces, {seconds:.0f} s", flush=True
            )
    before, after = found[min(SETTLED, number)], found[number]
    allowed = before[0] * GROWTH * max(1.0, (number - SETTLED) / 1000)
    sys.exit(after[1] != before[1] or after[0] - before[0] > allowed)


if __name__ == "__main__":
    main()
