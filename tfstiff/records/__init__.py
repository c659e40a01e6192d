"""Measurements and where they are kept. Imports no TensorFlow."""

from tfstiff.records.measurement import PAIR_SETS, HalfSummary, Measurement, scalar_names, scalar_row
from tfstiff.records.pair_set import (
    METRICS,
    BlockStiffness,
    ClassCriticalLengths,
    ClassStiffness,
    CriticalLength,
    DistanceProfile,
    DistanceStiffness,
    PairSetStiffness,
)
from tfstiff.records.record import read_record, write_record
from tfstiff.records.run_folder import RunFolder, open_run
from tfstiff.records.run_writer import RunWriter

__all__ = [
    "METRICS",
    "PAIR_SETS",
    "BlockStiffness",
    "ClassCriticalLengths",
    "ClassStiffness",
    "CriticalLength",
    "DistanceProfile",
    "DistanceStiffness",
    "HalfSummary",
    "Measurement",
    "PairSetStiffness",
    "RunFolder",
    "RunWriter",
    "open_run",
    "read_record",
    "scalar_names",
    "scalar_row",
    "write_record",
]
