"""What a measurement costs as probes, networks and classes grow, beside what a model with six numbers foretells.

    python benchmarks/curves.py                   # a quarter of an hour on two cores; goes on where it was ended
    python benchmarks/curves.py --only classes    # one curve; rows of the others are kept
    python benchmarks/curves.py --largest 70000   # with all examples of a data set such as Fashion-MNIST

The networks are `fc` with other hidden layers, on random images. The model, of n examples of both halves, P weights, C
classes and c multiply-adds a pair (for dense layers their inputs and outputs, and for sums by class 12 for each class
in a block):

    start + (example + weight · P + class · C) · n + (pair + product · c) · n² / 2.

Its numbers are fitted to the rows marked `fit` (three widths, 10 and 100 classes, 1000 examples to 8000: of fewer the
blocks are small, and their products slower), and foretell the others. That of several processes is half of the rest
each, and what one process more took beside that.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from tfstiff.bench.timing import BenchmarkFailed, in_new_process
from tfstiff.records.atomic import write_text

TABLE = Path(__file__).parent / "tables" / "curves.csv"
WITHIN = 0.25
_INPUTS, _SHAPE = 784, (28, 28, 1)
_SECONDS = 900  # that one row may take
_BLOCK = 2000  # rows of a block of `fc`
# Three values and their squares, by row and by column: matrix products of a tile with the classes of its sides.
_FOR_CLASS = 12


class Case(NamedTuple):
    """A row.

    Attributes:
        curve: What grows.
        examples: n, of both halves.
        hidden: Widths of the hidden layers, joined by "-".
        classes: C.
        processes: How many measure; 0 means the one that asks.
    """

    curve: str
    examples: int
    hidden: str = "500-300-100"
    classes: int = 10
    processes: int = 0


def cases(largest: int) -> list[Case]:
    """All rows; those of the curve `fit` come first."""
    sizes = [size for size in (500, 16_000, 32_000, 70_000) if size <= largest]
    return [
        *(Case("fit", size) for size in (1000, 2000, 4000, 8000)),
        *(Case("fit", size, hidden) for hidden in ("250-150-50", "1000-600-200") for size in (1000, 4000)),
        Case("fit", 2000, classes=100),
        *(Case("examples", size) for size in sizes),
        *(Case("width", 2000, hidden) for hidden in ("125-75-25", "2000-1200-400")),
        *(Case("depth", 2000, "-".join(["300"] * depth)) for depth in (1, 4, 8)),
        *(Case("classes", 4000, classes=classes) for classes in (100, 1000)),
        *(Case("processes", 8000, processes=processes) for processes in (1, 2)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="CURVE,...", help="which curves; those that are fitted are always there")
    parser.add_argument("--largest", type=int, default=16_000, metavar="N", help="examples of the largest probe")
    parser.add_argument("--anew", action="store_true", help="measure what is in the table too")
    arguments = parser.parse_args()
    wanted = None if arguments.only is None else {"fit", *arguments.only.split(",")}
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=[*Case._fields, "seconds"])
    for case in cases(arguments.largest):
        is_there = (table[list(Case._fields)] == list(case)).all(axis=1)
        if (wanted is not None and case.curve not in wanted) or (is_there.any() and not arguments.anew):
            continue
        try:
            seconds = in_new_process(measured, case, seconds=_SECONDS)
        except BenchmarkFailed as error:
            print(f"{case}: {error}", file=sys.stderr)
            continue
        print(f"{case}: {seconds:.3f} s", file=sys.stderr, flush=True)
        row = pd.DataFrame([{**case._asdict(), "seconds": round(seconds, 4)}])
        table = pd.concat([table[~is_there], row], ignore_index=True)
        _write(table)
    table = _write(table)
    print(table.to_string(index=False))
    others = table[(table["curve"] != "fit") & table["foretold"].notna()]
    print(f"{int((others['off'].abs() <= WITHIN).sum())} of {len(others)} within {WITHIN:.0%}.")


def _write(table: pd.DataFrame) -> pd.DataFrame:
    """Writes the table with what is foretold, and returns that."""
    table = foretold(table)
    write_text(TABLE, table.to_csv(index=False))
    return table


def measured(case: Case) -> float:
    """The median seconds of three measurements after the first; of several processes the seconds of one."""
    import keras

    import tfstiff
    from tfstiff import models
    from tfstiff.measuring.distributed import measure_in_parts

    warnings.simplefilter("ignore")
    keras.utils.set_random_seed(0)
    random, half = np.random.default_rng(0), case.examples // 2
    model = models.fc(_SHAPE, case.classes, hidden=_widths(case.hidden))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = random.standard_normal((case.examples, *_SHAPE), np.float32)
    y = np.concatenate([random.permutation(np.arange(half) % case.classes) for _ in range(2)])
    probe = tfstiff.Probe.from_arrays((x[:half], y[:half]), (x[half:], y[half:]), size=None)
    times = []
    for turn in range(1 if case.processes else 4):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            if case.processes:
                measure_in_parts(model, probe, Path(folder) / "job", processes=case.processes)
            else:
                tfstiff.measure(model, probe)
            times.append(time.perf_counter() - begin)
        if turn and sum(times) > 120:
            break
    return float(np.median(times[1:] or times))


def foretold(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what the model says of each row, in seconds, and how far off that is, as a share of the measured.

    Args:
        table: Rows of `Case`, with `seconds`. While there are few to fit, nothing is foretold.
    """
    design = np.array([_terms(row) for row in table.itertuples()], float)
    fitted = (table["curve"] == "fit").to_numpy(bool)
    if fitted.sum() < design.shape[1]:
        return table.assign(foretold=np.nan, off=np.nan)
    observed = table["seconds"].to_numpy(float)
    numbers, _ = nnls(design[fitted] / observed[fitted, None], np.ones(fitted.sum()))  # relative errors
    said = design @ numbers
    several = table["processes"].to_numpy(int)
    more = observed[several == 1] - said[several == 1]  # what a process more takes beside the measurement
    said = np.where(several > 1, said / np.maximum(several, 1) + (more[0] if len(more) else np.nan), said)
    said[several == 1] = np.nan
    return table.assign(foretold=said.round(4), off=((said - observed) / observed).round(3))


def _terms(row: Any) -> list[float]:
    sizes = [_INPUTS, *_widths(row.hidden), row.classes]
    weights = sum((before + 1) * after for before, after in pairwise(sizes))
    multiply_adds = sum(before + after for before, after in pairwise(sizes))
    n = float(row.examples)
    blocks = math.ceil(n / 2 / _BLOCK)  # of a half, ordered by class
    multiply_adds += _FOR_CLASS * min(row.classes, math.ceil(row.classes / blocks) + (blocks > 1))
    return [1.0, n, n * weights, n * row.classes, n**2 / 2, n**2 / 2 * multiply_adds]


def _widths(hidden: str) -> tuple[int, ...]:
    return tuple(map(int, hidden.split("-")))


if __name__ == "__main__":
    main()
