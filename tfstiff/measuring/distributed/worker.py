"""A process that sums parts of a job. As a program: `python -m tfstiff.measuring.distributed.worker FOLDER`.

It reads numbers of parts, a line each, answers each with a line when its totals are on disk, and ends with its input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from tfstiff._quiet import import_tensorflow


def compute_part(folder: str, index: int) -> int:
    """Sums a part of the job in `folder` and writes its totals, unless they are there; returns `index`.

    What parts have in common is read and traced once in a process.
    """
    import_tensorflow()
    _opened(folder)(index)
    return index


@lru_cache(maxsize=1)
def _opened(folder: str) -> Callable[[int], None]:
    """A function that sums a part."""
    from tfstiff.measuring.distributed.job import load_job
    from tfstiff.measuring.distributed.part_file import write_part
    from tfstiff.measuring.measure import MeasurementTask
    from tfstiff.measuring.summation.parts import divided

    job = load_job(Path(folder))
    division = job.division
    task = MeasurementTask(job.model(), job.probe(), job.options, memory=division.memory)
    parts = divided(task.blocks, task.pair_sets, division.num_bands)

    def compute(index: int) -> None:
        if not job.part_path(index).exists():
            write_part(job.part_path(index), task.totals(parts[index], division.edges))

    return compute


def main() -> None:
    """The program."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed, here or by a library, is no answer
    (folder,) = sys.argv[1:]
    for line in sys.stdin:
        answers.write(f"{compute_part(folder, int(line))}\n")


if __name__ == "__main__":
    main()
