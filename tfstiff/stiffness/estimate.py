"""From sums over the pairs of a pair set to its stiffness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.records.pair_set import METRICS, DistanceStiffness, PairSetStiffness
from tfstiff.stiffness.blocks import block_stiffness
from tfstiff.stiffness.cells import cells_of
from tfstiff.stiffness.class_matrix import class_estimates
from tfstiff.stiffness.critical_length import SCALES, binned_length, line_lengths
from tfstiff.stiffness.crossings import first_crossing, isotonic_length
from tfstiff.stiffness.distance import distance_profile
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.resampling import PairValues
from tfstiff.stiffness.statistics import half_statistics
from tfstiff.stiffness.statistics.class_means import class_mean_gram
from tfstiff.stiffness.strata import strata_of
from tfstiff.stiffness.sums import DistanceSums, PairSetSums

CRITICAL_LENGTH_METHODS = ("linear", "fixed_effects", "linear_binned", "first_crossing", "isotonic")


def pair_set_stiffness(
    sums: PairSetSums,
    *,
    has_classes: bool,
    critical_length_method: str = "linear",
    critical_length_metric: str = "cosine",
    distance: str = "cosine",
    groups: np.ndarray | None = None,
    pairs: Mapping[str, PairValues] | None = None,
) -> PairSetStiffness:
    """Estimates the stiffness of one pair set, with standard errors over the draw of the probe's examples.

    Args:
        sums: Over the pairs of the pair set.
        has_classes: Whether the classes of `sums` are classes, and not those of regression targets.
        critical_length_method: `linear`, through pairs; `fixed_effects`, with an intercept for each class;
            `linear_binned`, through the means of bins; `first_crossing`, of the curve of bins; or `isotonic`, of the
            decreasing curve that fits pairs best.
        critical_length_metric: Of which stiffness: `sign` or `cosine`.
        distance: Kind of the distances: `cosine`, `cosine_similarity`, `l1` or `l2`.
        groups: (C,) group of each class, -1 where it has none; None means that classes are not grouped.
        pairs: Every compared pair, with values of that metric, by name of the space. Without them `isotonic` is
            unavailable.

    Raises:
        InvalidInput: A method, metric or distance is unknown, or `fixed_effects` is asked for where pairs are not
            compared class by class.
    """
    for name, value, known in (
        ("method for critical lengths", critical_length_method, CRITICAL_LENGTH_METHODS),
        ("metric", critical_length_metric, METRICS),
        ("distance", distance, SCALES),
    ):
        if value not in known:
            raise unknown_name(f"Unknown {name}.", value, known)
    sides = (sums.classes_rows,) if sums.is_symmetric else (sums.classes_rows, sums.classes_columns)
    how = (critical_length_method, critical_length_metric, distance)
    cells = cells_of(sums)
    estimates = class_estimates(cells)
    sign, cosine = estimates["sign"], estimates["cosine"]
    blocks = {} if groups is None else block_stiffness(cells, groups)
    return PairSetStiffness(
        sign=replace(sign.by_class, blocks=blocks.get("sign")) if has_classes else None,
        cosine=replace(cosine.by_class, blocks=blocks.get("cosine")) if has_classes else None,
        pair_counts=sums.pair_counts() if has_classes else None,
        mean_sign=sign.mean,
        mean_sign_se=sign.mean_se,
        mean_cosine=cosine.mean,
        mean_cosine_se=cosine.mean_se,
        spaces={
            name: _against_distance(space, sides, *how, (pairs or {}).get(name))
            for name, space in sums.distance.items()
        },
        num_zero=sums.num_zero,
        num_uncertain_signs=sums.num_uncertain_signs,
        statistics=half_statistics(sums) if sums.is_symmetric else {},
        class_mean_gram=class_mean_gram(HalfSums(sums)) if sums.is_symmetric and sums.num_classes > 1 else None,
    )


def check_critical_length(method: str, compared: str) -> None:
    """Checks that a method suits the pairs that are compared.

    Raises:
        InvalidInput: It does not.
    """
    if method == "fixed_effects" and compared != "within":
        raise InvalidInput(
            "Critical lengths with fixed effects of classes compare pairs of the same class.",
            expected='distance_pairs="within", and two classes or more',
            received=compared,
            remedy="Compare these pairs, or choose another method for critical lengths.",
        )


def _against_distance(
    sums: DistanceSums,
    sides: Sequence[np.ndarray],
    method: str,
    metric: str,
    distance: str,
    pairs: PairValues | None,
) -> DistanceStiffness:
    """`sides`: the classes of the rows' examples, and of the columns' where they are others."""
    strata, scale = strata_of(sums, len(sides[0]) if len(sides) > 1 else None), SCALES[distance]
    profile = distance_profile(sums, strata)
    length, fixed_effects, by_class = line_lengths(sums, strata, metric, scale)
    if method == "fixed_effects":
        if fixed_effects is None:
            raise InvalidInput("Fixed effects of classes need pairs compared class by class, of several classes.")
        length = fixed_effects
    elif method == "linear_binned":
        length = binned_length(sums, strata, profile, metric, scale)
    elif method == "first_crossing":
        length = first_crossing(sums, profile, sides, metric, direction=scale.direction)
    elif method == "isotonic":
        length = isotonic_length(pairs, metric, direction=scale.direction)
    return DistanceStiffness(profile, length, fixed_effects, by_class)
