"""Runs compared: at equal epoch, at equal training loss, over seeds. Imports no TensorFlow."""

from tfstiff.analysis.comparison.compare import (
    Comparison,
    compare,
    default_quantities,
    known_quantities,
    shared_pair_set,
)
from tfstiff.analysis.comparison.differences import Difference, difference
from tfstiff.analysis.comparison.groups import Group, families, group_runs, separating_settings, settings_of
from tfstiff.analysis.comparison.milestones import common_epochs, common_losses, default_milestones
from tfstiff.analysis.comparison.observations import (
    ComparedRun,
    Milestone,
    Observation,
    at_training_loss,
    length_in_space,
    measurement_at_epoch,
    observe,
    observe_measurement,
)
from tfstiff.analysis.comparison.over_seeds import OverSeeds, over_seeds
from tfstiff.analysis.comparison.trend import LEAST_SEEDS, Trend, trend

__all__ = [
    "LEAST_SEEDS",
    "ComparedRun",
    "Comparison",
    "Difference",
    "Group",
    "Milestone",
    "Observation",
    "OverSeeds",
    "Trend",
    "at_training_loss",
    "common_epochs",
    "common_losses",
    "compare",
    "default_milestones",
    "default_quantities",
    "difference",
    "families",
    "group_runs",
    "known_quantities",
    "length_in_space",
    "measurement_at_epoch",
    "observe",
    "observe_measurement",
    "over_seeds",
    "separating_settings",
    "settings_of",
    "shared_pair_set",
    "trend",
]
