"""The totals of one part as a file, whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfstiff.errors import RecordCorrupt
from tfstiff.measuring.summation.pair_totals import Arrays
from tfstiff.measuring.summation.probe_sums import ProbeTotals
from tfstiff.records.atomic import write_atomically
from tfstiff.records.npz import read_members, write_members
from tfstiff.records.reading import bytes_of


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
    write_atomically(path, lambda file: write_members(file, arrays))


def read_part(path: Path) -> ProbeTotals:
    """Reads what `write_part` wrote.

    Raises:
        RecordCorrupt: It is damaged, or cannot be read.
    """
    content = bytes_of(path)
    try:
        return _totals(read_members(content))
    except Exception as error:  # by the place of the damage; see `tfstiff.records.read_record`
        raise RecordCorrupt(f"The part {path} cannot be read: {type(error).__name__}: {error}") from error


def _totals(members: Mapping[str, np.ndarray]) -> ProbeTotals:
    sums: dict[tuple[str, str], Arrays] = {}
    norms: dict[tuple[str, int], np.ndarray] = {}
    outputs: dict[int, tuple[np.ndarray, ...]] = {}
    for member, array in members.items():
        kind, *name = json.loads(member)
        if kind == "sums":
            layer, pair_set, *rest = name
            sums.setdefault((layer, pair_set), {})[tuple(rest)] = array
        elif kind == "norms":
            norms[name[0], name[1]] = array
        else:
            outputs[name[0]] = (*outputs.get(name[0], ()), array)
    return ProbeTotals(sums, norms, outputs)
