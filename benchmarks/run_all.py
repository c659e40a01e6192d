"""Measures everything, and writes `results.json` and `results.md`.

    python benchmarks/run_all.py                     # all of it
    python benchmarks/run_all.py --only peers        # one section; results of the others are kept
    python benchmarks/run_all.py --quick             # few examples, to see that all works; in build/benchmarks

Each case runs in a process of its own. Results are written after each, so that what was measured is there whatever
happens to the next; a case that fails stands in the table with its reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from report import markdown
from sections import Case, Row, growth, measure, methods, peers

from tfstiff.bench.timing import BenchmarkFailed, in_new_process, machine
from tfstiff.records.atomic import write_json, write_text

SECTIONS: dict[str, Any] = {"methods": methods, "measure": measure, "growth": growth, "peers": peers}
_PACKAGES = ("torch", "backpack-for-pytorch", "opacus", "jax")
_SECONDS = 1200  # that one case may take
_RESULTS = Path(__file__).parent
_QUICK_RESULTS = _RESULTS.parent / "build" / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", metavar="SECTION,...", default=",".join(SECTIONS))
    parser.add_argument(
        "--cases", metavar="TEXT", default="", help="only cases whose names hold TEXT; results of the others are kept"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    arguments = parser.parse_args()
    folder = arguments.out or (_QUICK_RESULTS if arguments.quick else _RESULTS)
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown sections {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    folder.mkdir(parents=True, exist_ok=True)
    results = _read(folder / "results.json")
    for name in chosen:
        before = results.get(name, {}).get("rows", []) if arguments.cases else []
        with tempfile.TemporaryDirectory() as shared:
            cases = SECTIONS[name].cases(arguments.quick, shared)
            rows = {case.name: [row for row in before if case.labels.items() <= row.items()] for case in cases}
            for case in cases:
                if arguments.cases in case.name:
                    rows[case.name] = _measured(name, case)
                    described = {"machine": machine(*_PACKAGES), "quick": arguments.quick}
                    results[name] = described | {"rows": [row for found in rows.values() for row in found]}
                    _write(folder, results)


def _measured(section: str, case: Case) -> list[Row]:
    start = time.perf_counter()
    try:
        rows = in_new_process(case.measure, *case.arguments, seconds=_SECONDS, environment=case.environment)
        outcome = "done"
    except BenchmarkFailed as error:
        outcome = " ".join(str(error).split())
        rows = [case.labels | {"reason": f"no result: {outcome[:200]}"}]
    print(f"{section}: {case.name}: {outcome} in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _write(folder: Path, results: dict[str, Any]) -> None:
    ordered = {name: results[name] for name in SECTIONS if name in results}
    write_json(folder / "results.json", ordered)
    write_text(folder / "results.md", markdown(ordered, SECTIONS))


if __name__ == "__main__":
    main()
