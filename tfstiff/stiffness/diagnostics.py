"""All quantities beside stiffness that come at no extra pass, in one value."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.records.diagnostics import GradientDiagnostics
from tfstiff.stiffness import alignment, coherence
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.sums import PairSetSums


def gradient_diagnostics(sums: PairSetSums) -> GradientDiagnostics:
    """Computes what the sums over one half of the probe tell besides its stiffness.

    Args:
        sums: Of a symmetric pair set: `train_train` or `val_val`. With a single class, as regression targets have it,
            what compares classes is NaN.

    Raises:
        InvalidInput: The pair set is of two halves, which has no self products.
    """
    half = HalfSums(sums)
    found = coherence.coherence(half)
    noise = coherence.noise_scale(found)
    alpha = coherence.m_coherence(half)
    diversity = coherence.gradient_diversity(alpha)
    has_classes = sums.num_classes > 1
    in_class = alignment.in_class_alignment(half)
    defined = in_class[~np.isnan(in_class)]
    return GradientDiagnostics(
        mean_squared_norm=found.mean_squared_norm,
        squared_mean_norm=found.squared_mean_norm,
        coherence=found.value,
        coherence_se=found.se,
        m_coherence=alpha,
        gradient_diversity=diversity,
        batch_size_bound=len(half.classes) * diversity,
        noise_scale=noise.value,
        noise_scale_low=noise.low,
        noise_scale_high=noise.high,
        smallest_cosine=sums.smallest_cosine,
        negative_share=alignment.negative_share(sums),
        participation_ratio=coherence.participation_ratio(half),
        in_class_alignment=float(defined.mean()) if has_classes and len(defined) else math.nan,
        label_alignment=alignment.label_alignment(half),
        class_mean_gram=alignment.class_mean_gram(half) if has_classes else None,
        within_class_trace=alignment.within_class_trace(half) if has_classes else math.nan,
    )
