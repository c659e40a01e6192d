"""Changes the code at random places, one at a time, and sees whether a test notices.

    pip install -e ".[test,mutants]"
    python benchmarks/mutants --count 200

A change is a comparison, an operator, a number, a condition, a returned value, an argument or a statement that is
another, or missing. It is put to the tests that reach its line, the quickest first, until one fails. What was found is
kept in `build/mutants`, and a second call goes on from there; `--reach tests/…` looks anew at what these tests reach,
and `--again` puts to the tests again what survived.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import os
import random
import sys
import time
from pathlib import Path

from changes import Change, changes_of
from reach import Reach
from trial import SURVIVED, verdict, warm_up

PACKAGES = ("tfstiff/stiffness", "tfstiff/gradients")
TESTS = ("tests/stiffness", "tests/gradients", "tests/measuring")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="changes drawn (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--only", default="", help="of those drawn, the changes of files with this in their paths")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of tests a change, at most (default: 60)")
    parser.add_argument("--reach", nargs="*", metavar="TESTS", help="look anew at what these, or all tests, reach")
    parser.add_argument("--again", action="store_true", help="put to the tests again what survived")
    parser.add_argument("--folder", type=Path, default=Path("build/mutants"), help="of the results")
    return parser.parse_args()


def drawn(count: int, seed: int) -> list[Change]:
    """Those of NumPy alone, which are cheap, come first; each kind in random order, so that a part is a sample, too."""
    files = [file for package in PACKAGES for file in sorted(Path(package).rglob("*.py"))]
    found = random.Random(seed).sample([change for file in files for change in changes_of(file)], count)
    return sorted(found, key=lambda change: change.file.startswith(PACKAGES[1]))


def table(rows: list[dict[str, str]]) -> str:
    killed = sum(row["verdict"] != SURVIVED for row in rows)
    lines = [f"{killed} of {len(rows)} changes are noticed.", ""]
    lines += ["| where | before | after | noticed by |", "|---|---|---|---|"]
    for row in rows:
        cells = (" ".join(row[name].split()).replace("|", "\\|") for name in ("where", "before", "after", "verdict"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = parsed()
    os.environ |= {"CI": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    reach = Reach(arguments.folder / "reach.json")
    if arguments.reach is not None or not reach.seconds:
        if os.fork() == 0:  # what the tests import must be new in each trial
            reach.watch([package.replace("/", ".") for package in PACKAGES], arguments.reach or TESTS)
            os._exit(0)
        os.wait()
        reach = Reach(arguments.folder / "reach.json")
    kept = arguments.folder / "results.json"
    results: dict[str, dict[str, str]] = json.loads(kept.read_text()) if kept.exists() else {}
    warm_up()
    gc.freeze()
    changes = [one for one in drawn(arguments.count, arguments.seed) if arguments.only in one.file]
    for number, change in enumerate(changes, 1):
        known = results.get(repr(change))
        if known and not (arguments.again and known["verdict"] == SURVIVED):
            continue
        began = time.monotonic()
        tests = reach.tests(change.file, change.line, change.end_line, arguments.limit)
        allowed = 60 + 10 * sum(reach.seconds[test] for test in tests)
        found = verdict(change, tests, allowed) if tests else SURVIVED
        if found.startswith("broken"):
            sys.exit(f"{change}: {found}")
        row = dataclasses.asdict(change) | {"where": f"{change.file}:{change.line}", "verdict": found}
        results[repr(change)] = row
        kept.write_text(json.dumps(results))
        took = f"{len(tests)} tests, {time.monotonic() - began:.0f} s"
        print(f"{number}/{len(changes)} {change}: {found} ({took})", flush=True)
    text = table([results[repr(change)] for change in changes])
    (arguments.folder / "table.md").write_text(text)
    print(text.splitlines()[0])


if __name__ == "__main__":
    main()
