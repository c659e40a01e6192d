"""Runs compared: at equal epoch, at equal training loss, over seeds. Imports no TensorFlow."""

from tfstiff.sweeps.comparison.compare import Comparison, common_epochs, common_losses, compare
from tfstiff.sweeps.comparison.groups import Group, families, group_runs
from tfstiff.sweeps.comparison.observations import Observation, Place, observe, quantities
from tfstiff.sweeps.comparison.over_seeds import OverSeeds, over_seeds
from tfstiff.sweeps.comparison.trend import LEAST_SEEDS, Trend, trend

__all__ = [
    "LEAST_SEEDS",
    "Comparison",
    "Group",
    "Observation",
    "OverSeeds",
    "Place",
    "Trend",
    "common_epochs",
    "common_losses",
    "compare",
    "families",
    "group_runs",
    "observe",
    "over_seeds",
    "quantities",
    "trend",
]
