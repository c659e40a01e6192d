"""What watching for a turn costs at the 30th, 300th and 3,000th measurement of one training.

    python benchmarks/along_training.py
    python benchmarks/along_training.py --examples 2000 --counts 30 10000

A value is measured at even steps on the same examples, with the influence of each. It rises all the time; it is level;
or it turns in the middle and then falls a little, less than what confirms it, so that a rule looks at everything after
the maximum again and again. Processor seconds of `TurnWatch.add`, the mean of the last measurements up to each count,
and the memory that the watch holds beside the influences, which are those of the measurements.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from tfstiff.analysis.turning_points import TurnWatch, departure, turning_point

_LAST = 10  # measurements that a mean is of

_SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rises": lambda share: share,
    "level": lambda share: 0 * share,
    "turns": lambda share: np.minimum(share, 0.5) - 0.0002 * np.maximum(share - 0.5, 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[30, 300, 3000])
    parser.add_argument("--examples", type=int, default=1000)
    chosen = parser.parse_args()
    counts = sorted(chosen.counts)
    print(f"| rule | curve | {' | '.join(f'ms, {count}th' for count in counts)} | MB, {counts[-1]}th |")
    print(f"|---|---|{'---:|' * (len(counts) + 1)}")
    for rule in (turning_point, departure):
        for name, shape in _SHAPES.items():
            points = history(shape, counts[-1], chosen.examples)
            seconds, held = seconds_of(TurnWatch(rule), points, counts), held_by(TurnWatch(rule), points)
            cells = [*(f"{1e3 * one:.3f}" for one in seconds), f"{held / 1e6:.2f}"]
            print(f"| {rule.__name__} | {name} | {' | '.join(cells)} |", flush=True)


def history(shape: Callable[[np.ndarray], np.ndarray], number: int, examples: int) -> list[tuple[float, np.ndarray]]:
    """The values, and (examples,) the influence of each example on each."""
    rng = np.random.default_rng(0)
    each = rng.normal(size=examples)
    found = []
    for truth in shape(np.arange(number) / number):
        values = truth + 0.01 * (each + 0.5 * rng.normal(size=examples))
        influence = (values - values.mean()) / np.sqrt(examples * (examples - 1))
        found.append((float(values.mean()), influence.astype(np.float32)))
    return found


def seconds_of(watch: TurnWatch, points: list[tuple[float, np.ndarray]], counts: list[int]) -> list[float]:
    """Processor seconds of one more measurement at each count."""
    seconds = []
    for index, (value, influence) in enumerate(points):
        start = time.process_time()
        watch.add(float(index), value, influence=influence)
        seconds.append(time.process_time() - start)
    return [float(np.mean(seconds[max(count - _LAST, 0) : count])) for count in counts]


def held_by(watch: TurnWatch, points: list[tuple[float, np.ndarray]]) -> int:
    """Bytes that a watch holds in the end, beside the influences."""
    tracemalloc.start()
    for index, (value, influence) in enumerate(points):
        watch.add(float(index), value, influence=influence)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held


if __name__ == "__main__":
    main()
