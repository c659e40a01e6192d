"""From sums over the pairs of a pair set to its stiffness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tfstiff.records.pair_set import DistanceStiffness, PairSetStiffness
from tfstiff.stiffness.blocks import block_stiffness
from tfstiff.stiffness.cells import cells_of
from tfstiff.stiffness.class_matrix import class_estimates
from tfstiff.stiffness.critical_length import CriticalLengthRule, Curve
from tfstiff.stiffness.critical_length.linear import fixed_effects, lengths_of_classes
from tfstiff.stiffness.distance import distance_profile
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics import half_statistics
from tfstiff.stiffness.statistics.class_means import class_mean_gram
from tfstiff.stiffness.strata import strata_of
from tfstiff.stiffness.sums import DISAGREEMENT, DistanceSums, PairSetSums

LINEAR = CriticalLengthRule()


def pair_set_stiffness(
    sums: PairSetSums,
    *,
    has_classes: bool,
    rule: CriticalLengthRule = LINEAR,
    groups: np.ndarray | None = None,
) -> PairSetStiffness:
    """Estimates the stiffness of one pair set, with standard errors over the draw of the probe's examples.

    Args:
        sums: Over the pairs of the pair set.
        has_classes: Whether the classes of `sums` are classes, and not those of regression targets.
        rule: How critical lengths are found.
        groups: (C,) group of each class, -1 where it has none; None means that classes are not grouped.

    Raises:
        InvalidInput: The rule asks for fixed effects of classes, and pairs are not compared class by class.
    """
    sides = (sums.classes_rows,) if sums.is_symmetric else (sums.classes_rows, sums.classes_columns)
    cells = cells_of(sums)
    pairs = sums.pair_counts()
    estimates = class_estimates(cells)
    sign, cosine = estimates["sign"], estimates["cosine"]
    has_gram = sums.is_symmetric and sums.num_classes > 1 and not sums.is_sample
    blocks = {} if groups is None else block_stiffness(cells, groups)
    found = PairSetStiffness(
        sign=replace(sign.by_class, blocks=blocks.get("sign")) if has_classes else None,
        cosine=replace(cosine.by_class, blocks=blocks.get("cosine")) if has_classes else None,
        pair_counts=pairs if has_classes else None,
        mean_sign=sign.mean,
        mean_sign_se=sign.mean_se,
        mean_cosine=cosine.mean,
        mean_cosine_se=cosine.mean_se,
        spaces={
            name: _against_distance(space, sides, rule, pairs if sums.is_sample else None)
            for name, space in sums.distance.items()
        },
        num_zero=sums.num_zero,
        num_uncertain_signs=sums.num_uncertain_signs,
        statistics=half_statistics(sums) if sums.is_symmetric else {},
        class_mean_gram=class_mean_gram(HalfSums(sums)) if has_gram else None,
    )
    if (differ := estimates.get(DISAGREEMENT)) is None:
        return found
    return replace(
        found,
        sign_disagreement=replace(differ.by_class, blocks=blocks.get(DISAGREEMENT)) if has_classes else None,
        mean_sign_disagreement=differ.mean,
        mean_sign_disagreement_se=differ.mean_se,
    )


def _against_distance(
    sums: DistanceSums, sides: Sequence[np.ndarray], rule: CriticalLengthRule, pairs: np.ndarray | None
) -> DistanceStiffness:
    """`sides`: the classes of the rows' examples, and of the columns' where they are others."""
    strata = strata_of(sums, len(sides[0]) if len(sides) > 1 else None, pairs)
    curve = Curve(sums, strata, distance_profile(sums, strata), sides, rule.metric, rule.scale)
    of_classes = (fixed_effects(curve), lengths_of_classes(curve)) if curve.is_by_class else (None, None)
    return DistanceStiffness(curve.profile, rule.length(curve), *of_classes)
