"""Fails where a measurement has become slower, as a ratio to forward and backward of the same examples.

    python benchmarks/guard.py             # under a minute; exit code 1 past 1.3 times the ratio in tables/guard.csv
    python benchmarks/guard.py --store     # after a change that is meant: stores the ratios of this processor

A ratio carries over from one day to the next, since both sides wait for the same machine: within a round they take
turns, the median of the rounds counts, and what seems slower is measured up to three times, of which the best
counts. It carries over less well to another processor, of other caches and units. So all is done by one thread,
whatever the number of cores, and ratios are stored by processor. One that is not in the table is held to twice the
largest ratio there is: that finds what has gone wrong by a large factor, and no more.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

TABLE = Path(__file__).parent / "tables" / "guard.csv"
MARGIN, MARGIN_ELSEWHERE = 1.3, 2.0
TRIES, ROUNDS = 3, 9
_ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
# Name in `workloads`, examples of each half, and what makes it small.
WORKLOADS: dict[str, tuple[int, dict[str, Any]]] = {
    "fc": (250, {}),
    "cnn": (100, {}),
    "encoder": (20, {"depth": 1}),
    "lstm": (100, {"units": 32}),
}


class Bound(NamedTuple):
    """What a ratio must not pass.

    Attributes:
        most: The bound; infinite where nothing is stored.
        why: Where it is from, in words.
    """

    most: float
    why: str


class Verdict(NamedTuple):
    """What was found of one workload.

    Attributes:
        ratios: One a try.
        bound: What the best of them must not pass.
    """

    ratios: list[float]
    bound: Bound

    @property
    def holds(self) -> bool:
        """Whether the best try is within the bound."""
        return min(self.ratios) <= self.bound.most


def bound_of(table: pd.DataFrame, workload: str, processor: str) -> Bound:
    """The bound of a workload on a processor, from the ratios that are stored."""
    stored = table[table["workload"] == workload]
    here = stored.loc[stored["processor"] == processor, "ratio"]
    if len(here):
        ratio = float(here.iloc[-1])
        return Bound(MARGIN * ratio, f"{MARGIN} times {ratio:.2f}")
    if len(stored):
        ratio = float(stored["ratio"].max())
        return Bound(MARGIN_ELSEWHERE * ratio, f"{MARGIN_ELSEWHERE:g} times {ratio:.2f}, of another processor")
    return Bound(float("inf"), "nothing is stored")


def verdict(measured: Callable[[], float], bound: Bound, tries: int = TRIES) -> Verdict:
    """Measures until a ratio is within the bound, at most `tries` times."""
    ratios = [measured()]
    while min(ratios) > bound.most and len(ratios) < tries:
        ratios.append(measured())
    return Verdict(ratios, bound)


def with_ratios(table: pd.DataFrame, processor: str, ratios: Mapping[str, float]) -> pd.DataFrame:
    """The table with the ratios of a processor, in place of those that it had."""
    others = table[(table["processor"] != processor) | ~table["workload"].isin(list(ratios))]
    rows = [{"processor": processor, "workload": name, "ratio": round(ratio, 2)} for name, ratio in ratios.items()]
    return pd.concat([others, pd.DataFrame(rows)]).sort_values(["processor", "workload"], ignore_index=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="store_true", help="store the ratios of this processor")
    store = parser.parse_args().store
    os.environ.update(_ONE_THREAD)  # before TensorFlow is imported
    from tfstiff.records.atomic import write_text

    processor = processor_name()
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["processor", "workload", "ratio"])
    found, failed = {}, []
    for name in WORKLOADS:
        bound = Bound(0.0, "to be stored") if store else bound_of(table, name, processor)
        result = verdict(ratio_of(name), bound)
        found[name] = float(pd.Series(result.ratios).median())
        print(f"{name}: {', '.join(f'{ratio:.2f}' for ratio in result.ratios)}; at most {bound.most:.2f}: {bound.why}")
        failed += [] if store or result.holds else [name]
    if store:
        table = with_ratios(table, processor, found)
        write_text(TABLE, table.to_csv(index=False))
    if failed:
        print(
            f"A measurement of {', '.join(failed)} has become slower. Where it is meant to: "
            "python benchmarks/guard.py --store",
            file=sys.stderr,
        )
    return 1 if failed else 0


def processor_name() -> str:
    """What tells a processor from others: its name alone is the same for several generations of some makers."""
    from tfstiff.bench.timing import machine

    found = [str(machine()["processor"])]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        found += [f"{name} {number}" for name, number in re.findall(r"^(cpu family|model)\s*:\s*(\w+)$", first, re.M)]
    return "; ".join(found)


def ratio_of(name: str) -> Callable[[], float]:
    """A call that tells how many times as long as forward and backward a measurement takes."""
    import workloads

    from tfstiff import Probe, measure
    from tfstiff.bench.throughput import forward_backward
    from tfstiff.bench.timing import take_turns

    half, widths = WORKLOADS[name]
    warnings.simplefilter("ignore")
    model, x, y = workloads.build(name, 2 * half, **widths)
    probe = Probe.from_arrays((x[:half], y[:half]), (x[half:], y[half:]), size=None)
    calls = {"plain": forward_backward(model, x, y), "measure": lambda: measure(model, probe)}

    def ratio() -> float:
        timings = take_turns(calls, rounds=ROUNDS)
        return timings["measure"].ratio(timings["plain"])

    return ratio


if __name__ == "__main__":
    sys.exit(main())
