"""Damages every kind of file at random, many times, and sees that its reader returns or says in words what is wrong.

    python -m benchmarks.fuzzing --inputs 1000000

A reader that raises anything but an error of tfstiff's, takes more than a second, or more memory than it should, ends
this with the file that it was, kept for a look. `tests/faults/test_fuzzing.py` runs a bounded number of inputs.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

_TESTS = Path(__file__).parents[1] / "tests"
_SECONDS = 1.0  # for one input; a busy machine may need more: --seconds
_MEMORY = 2 * 2**30  # above what the process had at the beginning


def drawn(random: np.random.Generator, kinds: tuple[str, ...]) -> tuple[str, float, int, int]:
    """One edit, as `edited` takes it."""
    return kinds[random.integers(len(kinds))], random.random(), int(random.integers(1, 60)), int(random.integers(256))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="in all, divided among the readers")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="that one input may take")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.path[:0] = [str(_TESTS), str(_TESTS / "faults")]
    from readers import KINDS, edited, readers

    from tfstiff.errors import TfstiffError

    counts: Counter[tuple[str, str]] = Counter()
    slowest: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        known = readers(Path(made))
        began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for number, (name, reader) in enumerate(known.items()):
            random = np.random.default_rng([options.seed, number])
            for _ in range(options.inputs // len(known)):
                edits = [drawn(random, KINDS) for _ in range(random.integers(1, 6))]
                content = edited(reader.content, edits)
                start = time.perf_counter()
                try:
                    reader.on(content)
                    outcome = "read"
                except TfstiffError as error:
                    outcome = type(error).__name__
                except BaseException:
                    kept = Path(tempfile.mkstemp(prefix=f"fuzzed-{name.replace(' ', '-')}-")[1])
                    kept.write_bytes(content)
                    print(f"{name}: {kept}")
                    raise
                took = time.perf_counter() - start
                slowest[name] = max(slowest.get(name, 0.0), took)
                counts[name, outcome] += 1
                if took > options.seconds:
                    sys.exit(f"{name}: one input took {took:.1f} s")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - began
            if grown > _MEMORY:
                sys.exit(f"{name}: {grown / 1e9:.1f} GB more memory")
            outcomes = ", ".join(f"{outcome} {count}" for (one, outcome), count in counts.items() if one == name)
            print(f"{name:>12}: {outcomes}; slowest {1e3 * slowest[name]:.0f} ms", flush=True)
    print(f"{sum(counts.values()):,} inputs: typed errors alone")


if __name__ == "__main__":
    main()
