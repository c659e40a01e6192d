"""Sweeps: many runs, on one machine or many. All state is in the sweep's folder. Imports no TensorFlow."""

from tfstiff.sweeps.driver import SweepProgress, run_sweep
from tfstiff.sweeps.executor import Executor
from tfstiff.sweeps.folder import Sweep, is_sweep, load_sweep, plan_sweep, write_sweep
from tfstiff.sweeps.identity import spec_from_dict, spec_hash
from tfstiff.sweeps.local import LocalExecutor
from tfstiff.sweeps.state import TrialState
from tfstiff.sweeps.trials import Trial, distinct, grid, named, varied_settings

__all__ = [
    "Executor",
    "LocalExecutor",
    "Sweep",
    "SweepProgress",
    "Trial",
    "TrialState",
    "distinct",
    "grid",
    "is_sweep",
    "load_sweep",
    "named",
    "plan_sweep",
    "run_sweep",
    "spec_from_dict",
    "spec_hash",
    "varied_settings",
    "write_sweep",
]
