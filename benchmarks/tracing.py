"""What a first call takes as a network grows deeper, or its convolutions fall into more groups.

    python benchmarks/tracing.py

The network is a chain of `depth` blocks of convolution, normalisation and ReLU, or one convolution in groups. Of each:
operations in the trace, and processor seconds of the first call of `gradient_gram` and of the model's own first traced
gradient, in a process of its own. What grows in proportion doubles from row to row.
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np

from tfstiff.bench.throughput import forward_backward
from tfstiff.bench.timing import in_new_process, processor_seconds
from tfstiff.gradients import gradient_gram
from tfstiff.gradients.plan import plan_for

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
_EXAMPLES, _SIDE = 6, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 20, 40, 80])
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 96, 192, 384])
    chosen = parser.parse_args()
    print("| network | operations | first call, s | own first gradient, s | × |")
    print("|---|---:|---:|---:|---:|")
    cases = [("depth", depth) for depth in chosen.depths] + [("groups", groups) for groups in chosen.groups]
    for kind, size in cases:
        found = in_new_process(measured, kind, size)
        first, own = found["first"], found["own"]
        print(f"| {kind} {size} | {found['operations']:,} | {first:.2f} | {own:.2f} | {first / own:.1f} |", flush=True)


def network(kind: str, size: int) -> keras.Model:
    """The network of a row."""
    layers = keras.layers
    if kind == "depth":
        block = (lambda: layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization, layers.ReLU)
        inner = [layer() for _ in range(size) for layer in block]
    else:
        inner = [layers.Conv2D(384, 1), layers.Conv2D(384, 3, groups=size, padding="same")]
    return keras.Sequential([keras.Input((_SIDE, _SIDE, 3)), *inner, layers.GlobalAveragePooling2D(), layers.Dense(10)])


def measured(kind: str, size: int) -> dict[str, Any]:
    """Operations of the trace, and processor seconds of both first calls."""
    keras.utils.set_random_seed(0)
    model = network(kind, size)
    model.compile("sgd", LOSS)
    x = np.random.default_rng(0).normal(size=(_EXAMPLES, _SIDE, _SIDE, 3)).astype(np.float32)
    y = np.arange(_EXAMPLES) % 10
    model(x)
    own = processor_seconds(forward_backward(model, x, y))
    first = processor_seconds(lambda: gradient_gram(model, x, y))
    graph = plan_for(model, x, y).parts[0].graph
    return {"own": own, "first": first, "operations": len(graph.get_operations())}


if __name__ == "__main__":
    main()
