"""Runs compared: at equal epoch, at equal training loss, over seeds. Imports no TensorFlow."""

from tfstiff.analysis.comparison.compare import Comparison, common_epochs, common_losses, compare
from tfstiff.analysis.comparison.groups import Group, families, group_runs
from tfstiff.analysis.comparison.observations import Observation, Place, observe, quantities
from tfstiff.analysis.comparison.over_seeds import OverSeeds, over_seeds
from tfstiff.analysis.comparison.trend import LEAST_SEEDS, Trend, trend

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
