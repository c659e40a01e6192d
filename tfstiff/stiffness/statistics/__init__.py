"""What the sums over one half of the probe tell besides its stiffness: a file a statistic, or a few that go together.

A line in `STATISTICS` is all that it takes for one to be recorded, shown, drawn, reported and exported.
"""

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics import (
    class_means,
    coherence,
    gradient_disparity,
    in_class_alignment,
    label_alignment,
    m_coherence,
    negative_pairs,
    noise_scale,
    participation_ratio,
)
from tfstiff.stiffness.statistics.statistic import Estimate, Statistic
from tfstiff.stiffness.sums import PairSetSums

__all__ = ["STATISTICS", "Estimate", "Statistic", "half_statistics"]

STATISTICS: tuple[Statistic, ...] = (
    *coherence.STATISTICS,
    *m_coherence.STATISTICS,
    *noise_scale.STATISTICS,
    *negative_pairs.STATISTICS,
    *participation_ratio.STATISTICS,
    *in_class_alignment.STATISTICS,
    *label_alignment.STATISTICS,
    *class_means.STATISTICS,
    *gradient_disparity.STATISTICS,
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
