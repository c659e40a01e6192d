"""The simple gradient noise scale: at which batch size noise and gradient are alike."""

from __future__ import annotations

import math

from tfstiff.stiffness.statistics.coherence import Coherence, coherence
from tfstiff.stiffness.statistics.statistic import Estimate, Statistic

_INTERVAL = 1.96  # standard errors to either side: 95 %


def noise_scale(found: Coherence) -> Estimate:
    """The simple gradient noise scale, B_simple = tr(Σ) / |G|² (McCandlish et al. 2018, arXiv 1812.06162).

    Σ is the covariance of the gradients of single examples and G their expectation: (D − O) / O = (1 − γ) / γ. Training
    in batches far below it is slowed down by noise, far above it wastes examples. It is infinite where O ≤ 0: then no
    mean gradient stands out of the noise.

    The interval is that of γ, γ ± 1.96 se, carried over, since γ is nearly normal and its inverse is not. Where γ may
    be 0, the interval has no upper end.

    Args:
        found: The coherence.
    """

    def scale(value: float) -> float:
        if math.isnan(value):
            return math.nan
        return (1 - min(value, 1.0)) / value if value > 0 else math.inf

    margin = _INTERVAL * found.se
    return Estimate(scale(found.value), low=scale(found.value + margin), high=scale(found.value - margin))


STATISTICS = (
    Statistic(
        "noise_scale",
        "simple gradient noise scale",
        "examples",
        lambda half: noise_scale(coherence(half)),
        "McCandlish et al. 2018, arXiv 1812.06162",
        beside=("low", "high"),
    ),
)
