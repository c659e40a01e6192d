"""Measurements and where they are kept. Imports no TensorFlow."""

from tfstiff.records.measurement import (
    METRICS,
    PAIR_SETS,
    ClassStiffness,
    CriticalLength,
    DistanceProfile,
    HalfSummary,
    Measurement,
    PairSetStiffness,
    scalar_names,
)
from tfstiff.records.record import read_record, write_record
from tfstiff.records.run_folder import Run, RunWriter, load_run, scalar_row

__all__ = [
    "METRICS",
    "PAIR_SETS",
    "ClassStiffness",
    "CriticalLength",
    "DistanceProfile",
    "HalfSummary",
    "Measurement",
    "PairSetStiffness",
    "Run",
    "RunWriter",
    "load_run",
    "read_record",
    "scalar_names",
    "scalar_row",
    "write_record",
]
