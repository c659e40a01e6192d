"""Fails every operation of a run on its disk in turn, and sees that nothing is lost and that the run can go on.

    python -m benchmarks.injection --every 1

Each open, write, sync, rename, … of a short run with checkpoints and kept models at every step fails once in each way:
with an error, after half of the bytes, and as where the process is killed there. Then the folder must be readable, each
record in it equal to that of an undisturbed run, `tfstiff show` must work, and the same run again must come to the same
records, bit for bit. `tests/faults/test_injection.py` runs a sample.

Measurements are made up (`--real` takes true ones), since what is looked at are files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="fail every so many operations")
    parser.add_argument("--first", type=int, default=0, help="begin at this one")
    parser.add_argument("--all", action="store_true", help="each write of a file, not its first and last alone")
    parser.add_argument("--real", action="store_true", help="true measurements")
    options = parser.parse_args()
    sys.path[:0] = [str(_TESTS), str(_TESTS / "faults")]
    from faulty_disk import MODES, Disk
    from injected_runs import injected, made_up, places, specification, undisturbed

    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as made, made_up(options.real):
        place = Path(made)
        spec, folder = specification(place), place / "run"
        disk = Disk(folder)
        operations, expected = undisturbed(disk, spec, folder)
        print(f"{len(operations)} operations, {len(places(operations))} without writes between the first and the last")
        chosen = list(range(len(operations))) if options.all else places(operations)
        for number in chosen[options.first :: options.every]:
            for mode in MODES:
                ended = injected(disk, spec, folder, number, mode, expected)
                counts[mode, ended] += 1
                print(f"{number:>5} {mode:>6} {operations[number]}: {ended}", flush=True)
    for (mode, ended), count in sorted(counts.items()):
        print(f"{mode:>6}: {count} ended with {ended}")
    print(f"{sum(counts.values())} injections: nothing was lost")


if __name__ == "__main__":
    main()
