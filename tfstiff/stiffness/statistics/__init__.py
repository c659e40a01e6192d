"""What the sums over one half of the probe tell besides its stiffness: a file a statistic, or a few that go together.

A line in `_FILES` is all that it takes for one to be recorded, shown, drawn, reported and exported.
"""

from importlib import import_module

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics.statistic import Estimate, Statistic
from tfstiff.stiffness.sums import PairSetSums

__all__ = ["STATISTICS", "Estimate", "Statistic", "half_statistics"]

_FILES = (  # in the order in which they are told
    "coherence",
    "m_coherence",
    "noise_scale",
    "negative_pairs",
    "participation_ratio",
    "in_class_alignment",
    "label_alignment",
    "class_means",
    "gradient_disparity",
)
STATISTICS: tuple[Statistic, ...] = tuple(
    statistic for name in _FILES for statistic in import_module(f"{__name__}.{name}").STATISTICS
)


def half_statistics(sums: PairSetSums) -> dict[str, float]:
    """All statistics of one half of the probe, by name.

    Args:
        sums: Of a symmetric pair set: `train_train` or `val_val`.

    Raises:
        InvalidInput: The pair set is of two halves, which has no self products.
    """
    half = HalfSums(sums)
    return {name: value for statistic in STATISTICS for name, value in statistic.values(half).items()}
