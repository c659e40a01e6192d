"""Whether a GPU computes what the processor does, and how fast: at most ten minutes, and one table.

    python benchmarks/gpu.py                # writes tables/gpu.csv; without a GPU it says so, and does nothing

Of each model (`workloads.py`) the Gram matrix and the measurement on the GPU are compared with those of the processor,
by the same weights in a process that sees no GPU; `measure` is timed in turns with forward+backward on the GPU, and
`torch.func` beside them where PyTorch is there and sees the GPU. A GPU may multiply float32 in fewer digits
(TensorFloat-32), as TensorFlow lets it by default: differences are told with and without.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfstiff.bench.timing import BenchmarkFailed, in_new_process
from tfstiff.records.atomic import write_text

TABLE = Path(__file__).parent / "tables" / "gpu.csv"
MODELS = ("fc", "cnn", "encoder", "lstm", "resnet20")
EXAMPLES, ROUNDS, SECONDS = 1000, 5, 570
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), metavar="NAME,...")
    parser.add_argument("--examples", type=int, default=EXAMPLES, metavar="N", help="of both halves")
    chosen = parser.parse_args(arguments)
    found = in_new_process(devices, "GPU")
    if not found:
        print("TensorFlow sees no GPU here, so there is nothing to compare.")
        return 0
    table = rows(chosen.models.split(","), chosen.examples, "GPU", SECONDS).assign(device=found[0])
    write_text(TABLE, table.to_csv(index=False))
    print(table.to_string(index=False))
    return 0


def devices(kind: str) -> list[str]:
    """What the devices of a kind are called."""
    import tensorflow as tf

    physical = tf.config.list_physical_devices(kind)
    return [tf.config.experimental.get_device_details(one).get("device_name", one.name) for one in physical]


def rows(models: Sequence[str], examples: int, kind: str, seconds: float) -> pd.DataFrame:
    """A row of each model; one that fails, or for which no time is left, has the reason alone.

    Args:
        models: Names in `workloads`.
        examples: Of both halves.
        kind: Of device, on the last of which is computed.
        seconds: For all of them.
    """
    end, found = time.monotonic() + seconds, []
    for name in models:
        row: dict[str, Any] = {"model": name, "examples": examples}
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "processor.npz")
            try:
                for function, environment in ((on_processor, NO_GPU), (on_device, {}), (by_torch, {})):
                    left = end - time.monotonic()
                    if left <= 0:
                        raise BenchmarkFailed(f"No time is left of {seconds:.0f} s.")
                    row |= in_new_process(function, name, examples, path, kind, seconds=left, environment=environment)
            except BenchmarkFailed as error:
                row["reason"] = " ".join(str(error).split())[:200]
        print(row, file=sys.stderr, flush=True)
        found.append(row)
    return pd.DataFrame(found)


def on_processor(name: str, examples: int, path: str, kind: str) -> dict[str, Any]:
    """Leaves weights, the Gram matrix and what is measured for the other processes."""
    import workloads
    from peers.exchange import Exchange

    from tfstiff import gradient_gram

    model, x, y = workloads.build(name, examples)
    weights = [weight.numpy() for weight in model.trainable_weights]
    Exchange(weights, x, y, gradient_gram(model, x, y), 0.0).save(path)
    np.save(f"{path}.means.npy", _means(model, x, y))
    return {}


def on_device(name: str, examples: int, path: str, kind: str) -> dict[str, Any]:
    """Compares with what the processor found, then times."""
    import tensorflow as tf
    import workloads
    from peers.exchange import Exchange

    from tfstiff import gradient_gram, measure
    from tfstiff.bench.throughput import forward_backward
    from tfstiff.bench.timing import take_turns

    given, means = Exchange.load(path), np.load(f"{path}.means.npy")
    place = tf.config.list_logical_devices(kind)[-1].name
    found: dict[str, Any] = {"place": place.rpartition("/")[2].removeprefix("device:")}
    for label, allowed in (("", True), (", full float32", False)):
        tf.config.experimental.enable_tensor_float_32_execution(allowed)
        with tf.device(place):
            model, x, y = workloads.build(name, examples)
            for weight, value in zip(model.trainable_weights, given.weights, strict=True):
                weight.assign(value)
            difference = np.abs(gradient_gram(model, x, y) - given.gram).max() / np.abs(given.gram).max()
            found[f"gram{label}"] = float(f"{difference:.1e}")
            found[f"cosines{label}"] = float(f"{np.abs(_means(model, x, y) - means).max():.1e}")
    tf.config.experimental.enable_tensor_float_32_execution(True)
    with tf.device(place):
        probe = _probe(x, y)
        calls = {"plain": forward_backward(model, x, y), "measure": lambda: measure(model, probe)}
        timings = take_turns(calls, rounds=ROUNDS)
    return found | {
        "measure, ms": round(1e3 * timings["measure"].seconds, 2),
        "forward+backward, ms": round(1e3 * timings["plain"].seconds, 2),
        "ratio": round(timings["measure"].ratio(timings["plain"]), 2),
    }


def by_torch(name: str, examples: int, path: str, kind: str) -> dict[str, Any]:
    """Gradients and their products by `torch.func`, in milliseconds; nothing where PyTorch is not there."""
    try:
        import torch
    except ImportError:
        return {}
    if kind == "GPU":
        if not torch.cuda.is_available():
            return {}
        torch.set_default_device("cuda")
    from peers.runner import compare

    found = compare(name, "torch_func", path, ROUNDS)
    if "reason" in found:
        return {"torch.func": found["reason"]}
    return {"torch.func": round(1e3 * found["seconds"], 2)}


def _probe(x: np.ndarray, y: np.ndarray) -> Any:
    from tfstiff import Probe

    half = len(x) // 2
    return Probe.from_arrays((x[:half], y[:half]), (x[half:], y[half:]), size=None)


def _means(model: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean cosine of each pair set."""
    from tfstiff import measure

    warnings.simplefilter("ignore")
    return np.array([found.mean_cosine for found in measure(model, _probe(x, y)).pair_sets.values()])


if __name__ == "__main__":
    sys.exit(main())
