"""The totals of one part as a file, whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tfstiff.measuring.summation.pair_totals import Arrays
from tfstiff.measuring.summation.probe_sums import ProbeTotals
from tfstiff.records.atomic import write_atomically


def write_part(path: Path, totals: ProbeTotals) -> None:
    """Writes totals to `path`."""
    named: dict[tuple[str | int, ...], np.ndarray] = {
        **{("sums", *key, *name): array for key, arrays in totals.sums.items() for name, array in arrays.items()},
        **{("norms", *key): array for key, array in totals.norms.items()},
        **{
            ("outputs", block, place): array
            for block, outputs in totals.outputs.items()
            for place, array in enumerate(outputs)
        },
    }
    arrays = {json.dumps(name): array for name, array in named.items()}
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_part(path: Path) -> ProbeTotals:
    """Reads what `write_part` wrote.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It is damaged.
    """
    sums: dict[tuple[str, str], Arrays] = {}
    norms: dict[tuple[str, int], np.ndarray] = {}
    outputs: dict[int, tuple[np.ndarray, ...]] = {}
    with np.load(path, allow_pickle=False) as file:
        for member in file.files:
            kind, *name = json.loads(member)
            if kind == "sums":
                layer, pair_set, *rest = name
                sums.setdefault((layer, pair_set), {})[tuple(rest)] = file[member]
            elif kind == "norms":
                norms[name[0], name[1]] = file[member]
            else:
                outputs[name[0]] = (*outputs.get(name[0], ()), file[member])
    return ProbeTotals(sums, norms, outputs)
