"""Whether what is asked for suits the probe."""

from __future__ import annotations

from tfstiff.datasets.groupings import Grouping, chosen_grouping
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.measuring.sampling import pair_sample


def check_suits(options: MeasureOptions, probe: Probe) -> Grouping | None:
    """Checks, before anything is computed, that options suit a probe.

    Returns:
        The groups of its classes.

    Raises:
        InvalidInput: They do not.
    """
    compared = options.distance_pairs if (probe.num_classes or 1) > 1 else "all"
    options.critical_length_rule().check(compared)
    pair_sample(options, probe)
    return chosen_grouping(options.groups, probe.class_names)
