"""What a measurement costs, as a model with three numbers fitted to times here, and what it foretells.

    python benchmarks/cost_model.py                # fits fc and cnn, and compares what it foretells with a larger probe

The time of n examples is `start + factors · n + products · n²`. `factors` is what the per-example factors of one
example take, `products` half of what a pair takes. The rate of matrix products that `products` amounts to, with the
multiply-adds of a pair as `tfstiff bench --explain` counts them, tells how it carries over to another machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
from scipy.optimize import nnls

SIZES = (500, 1000, 2000, 4000)  # examples of both halves, to fit
LARGER = {"fc": 16_000, "cnn": 8000}  # to foretell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="fc,cnn", metavar="NAME,...")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {name: fitted(name, LARGER.get(name, 8000)) for name in arguments.models.split(",")}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print("| model | start, ms | factors, µs an example | products, ns a pair | GFLOP/s | foretold, s | measured, s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, row in found.items():
        print(
            f"| {name} ({row['larger']:,} examples) | {1e3 * row['start']:.0f} | {1e6 * row['factors']:.0f} "
            f"| {1e9 * row['pair']:.1f} | {row['rate'] / 1e9:.0f} | {row['foretold']:.2f} | {row['measured']:.2f} |"
        )


def fitted(name: str, larger: int) -> dict[str, Any]:
    """The model of one network, and its test on a larger probe."""
    times = {size: seconds(name, size) for size in SIZES}
    print(f"{name}: " + ", ".join(f"{size}: {value:.3f} s" for size, value in times.items()), file=sys.stderr)
    n = np.array(SIZES, float)
    design = np.stack([np.ones_like(n), n, n**2], 1)
    observed = np.array(list(times.values()))
    (start, factors, products), _ = nnls(design / observed[:, None], np.ones_like(observed))  # relative errors
    multiply_adds = multiply_adds_of_a_pair(name)
    return {
        "start": start,
        "factors": factors,
        "pair": 2 * products,
        "rate": multiply_adds / products,  # two operations a multiply-add, half of all ordered pairs
        "larger": larger,
        "foretold": float(start + factors * larger + products * larger**2),
        "measured": seconds(name, larger),
    }


def seconds(name: str, count: int) -> float:
    """The median time of a measurement of `count` examples, half of them of each split, after the first."""
    import workloads  # not at the top, so that --help is quick

    import tfstiff

    model, x, y = workloads.build(name, count)
    half = count // 2
    probe = tfstiff.Probe.from_arrays((x[:half], y[:half]), (x[half:], y[half:]), size=None)
    tfstiff.measure(model, probe)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        tfstiff.measure(model, probe)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def multiply_adds_of_a_pair(name: str) -> float:
    """As the plan counts them: what twice as many examples cost above twice as much."""
    import workloads

    from tfstiff.gradients import explain

    half, full = 500, 1000
    model, x, y = workloads.build(name, full)
    few, many = (sum(step.multiply_adds for step in explain(model, x[:n], y[:n])) for n in (half, full))
    return (many - 2 * few) / half**2


if __name__ == "__main__":
    main()
