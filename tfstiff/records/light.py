"""Measurements that hold little: losses and times, while what is of a pair set is read when it is asked for.

A thousand runs of thirty measurements have ten million numbers, of which a comparison needs a few from each run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from tfstiff.records.measurement import Measurement
from tfstiff.records.pair_set import PairSetStiffness
from tfstiff.records.record import read_record

_KEPT = 64  # records whose pair sets are kept, of whatever run


def read_light_record(path: Path) -> Measurement:
    """Reads a measurement without its arrays, its layers and, until they are asked for, its pair sets.

    Raises:
        RecordCorrupt: See `read_record`. Asking for a pair set raises it too, where the file has changed since.
    """
    found = read_record(path, with_arrays=False)
    return replace(found, pair_sets=_PairSetsOnDemand(path, tuple(found.pair_sets)), layers={})


class _PairSetsOnDemand(Mapping[str, PairSetStiffness]):
    """The pair sets of one record, read when they are asked for."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path, self._names = path, names

    def __getitem__(self, name: str) -> PairSetStiffness:
        if name not in self._names:
            raise KeyError(name)
        return _pair_sets(self._path, self._path.stat().st_mtime_ns)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@lru_cache(_KEPT)
def _pair_sets(path: Path, _: int) -> Mapping[str, PairSetStiffness]:
    """Of a file as it was when it was last written."""
    return read_record(path, with_arrays=False).pair_sets
