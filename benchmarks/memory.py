"""How far a measurement stays within `memory_limit`: its peak against limits, models and sizes of probe.

    python benchmarks/memory.py                             # some minutes on two cores; goes on where it was ended
    python benchmarks/memory.py --models fc --halves 500    # some of it; the rest of the table is kept

Each case has a process of its own, in which a probe of 100 + 100 examples has been measured before, so that what is
made once (the traced graph) is left out. The peak is that of the memory that the operating system counts as resident,
above what it was before; inputs made ready, pairs and sums are in it, the arrays that the probe is of are not.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from tfstiff.bench.throughput import GIVE_MEMORY_BACK
from tfstiff.bench.timing import BenchmarkFailed, in_new_process, peak_memory
from tfstiff.records.atomic import write_text

MODELS, HALVES, LIMITS = ("fc", "cnn", "lstm"), (500, 5000), (100, 200, 500, 1000)  # examples a half; MB
MOST = 1.25  # times the limit
TABLE = Path(__file__).parent / "tables" / "memory.csv"
_CASE = ["model", "half", "limit"]
_WARM_UP = 100
_SECONDS = 900  # that one case may take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), metavar="NAME,...")
    parser.add_argument("--halves", default=",".join(map(str, HALVES)), metavar="N,...", help="examples of each half")
    parser.add_argument("--limits", default=",".join(map(str, LIMITS)), metavar="MB,...")
    parser.add_argument("--anew", action="store_true", help="measure what is in the table too")
    arguments = parser.parse_args()
    halves, limits = ([int(text) for text in given.split(",")] for given in (arguments.halves, arguments.limits))
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=_CASE)
    for case in [(name, half, limit) for half in halves for name in arguments.models.split(",") for limit in limits]:
        is_there = (table[_CASE] == list(case)).all(axis=1)
        if is_there.any() and not arguments.anew:
            continue
        try:
            row = in_new_process(measured, *case, seconds=_SECONDS, environment=GIVE_MEMORY_BACK)
        except BenchmarkFailed as error:
            print(f"{case}: {error}", file=sys.stderr)
            continue
        table = pd.concat([table[~is_there], pd.DataFrame([row])]).sort_values(["half", "model", "limit"])
        write_text(TABLE, table.to_csv(index=False))
        print(f"{case}: {row['peak']} MB, {row['ratio']} times the limit, {row['seconds']} s", file=sys.stderr)
    print(table.to_string(index=False))
    above = table[table["ratio"] > MOST]
    print(f"{len(table) - len(above)} of {len(table)} within {MOST} times the limit.")


def measured(name: str, half: int, limit: int) -> dict[str, Any]:
    """One row of the table; megabytes are of 10⁶ bytes."""
    import workloads  # not at the top, so that --help is quick

    import tfstiff

    warnings.simplefilter("ignore")
    model, x, y = workloads.build(name, 2 * half)

    def probe(count: int) -> tfstiff.Probe:
        ends = slice(count), slice(half, half + count)
        return tfstiff.Probe.from_arrays(*((x[some], y[some]) for some in ends), size=None)

    tfstiff.measure(model, probe(_WARM_UP), memory_limit=limit * 10**6)
    chosen, start = probe(half), time.perf_counter()
    peak = peak_memory(lambda: tfstiff.measure(model, chosen, memory_limit=limit * 10**6))
    seconds = time.perf_counter() - start
    if peak is None:
        raise BenchmarkFailed("The system does not tell the peak of a process's memory.")
    return {
        **dict(zip(_CASE, (name, half, limit), strict=True)),
        "inputs": round(x.nbytes / 1e6),
        "peak": round(peak / 1e6),
        "ratio": round(peak / 1e6 / limit, 2),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
