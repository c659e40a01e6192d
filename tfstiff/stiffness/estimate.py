"""From sums over the pairs of a pair set to its stiffness."""

from __future__ import annotations

from collections.abc import Mapping

from tfstiff.errors import InvalidInput
from tfstiff.records.pair_set import METRICS, DistanceStiffness, PairSetStiffness
from tfstiff.stiffness.class_matrix import class_estimates
from tfstiff.stiffness.critical_length import SCALES, binned_length, line_lengths
from tfstiff.stiffness.crossings import first_crossing, isotonic_length
from tfstiff.stiffness.diagnostics import gradient_diagnostics
from tfstiff.stiffness.distance import distance_profile
from tfstiff.stiffness.resampling import PairValues
from tfstiff.stiffness.strata import strata_of
from tfstiff.stiffness.sums import DistanceSums, PairSetSums

CRITICAL_LENGTH_METHODS = ("linear", "linear_binned", "first_crossing", "isotonic")


def pair_set_stiffness(
    sums: PairSetSums,
    *,
    has_classes: bool,
    critical_length_method: str = "linear",
    critical_length_metric: str = "cosine",
    distance: str = "cosine",
    pairs: Mapping[str, PairValues] | None = None,
) -> PairSetStiffness:
    """Estimates the stiffness of one pair set, with standard errors over the draw of the probe's examples.

    Args:
        sums: Over the pairs of the pair set.
        has_classes: Whether the classes of `sums` are classes, and not those of regression targets.
        critical_length_method: `linear`, through pairs; `linear_binned`, through the means of bins; `first_crossing`,
            of the curve of bins; or `isotonic`, of the decreasing curve that fits pairs best.
        critical_length_metric: Of which stiffness: `sign` or `cosine`.
        distance: Kind of the distances: `cosine`, `cosine_similarity`, `l1` or `l2`.
        pairs: Every compared pair, with values of that metric, by name of the space. Without them `first_crossing` has
            no interval, and `isotonic` is unavailable.

    Raises:
        InvalidInput: A method, metric or distance is unknown.
    """
    check_critical_length(critical_length_method, critical_length_metric, distance)
    num_rows = None if sums.is_symmetric else len(sums.classes_rows)
    how = (critical_length_method, critical_length_metric, distance)
    estimates = class_estimates(sums)
    sign, cosine = estimates["sign"], estimates["cosine"]
    return PairSetStiffness(
        sign=sign.by_class if has_classes else None,
        cosine=cosine.by_class if has_classes else None,
        pair_counts=sums.pair_counts() if has_classes else None,
        mean_sign=sign.mean,
        mean_sign_se=sign.mean_se,
        mean_cosine=cosine.mean,
        mean_cosine_se=cosine.mean_se,
        spaces={
            name: _against_distance(space, num_rows, *how, (pairs or {}).get(name))
            for name, space in sums.distance.items()
        },
        num_zero=sums.num_zero,
        num_uncertain_signs=sums.num_uncertain_signs,
        diagnostics=gradient_diagnostics(sums) if sums.is_symmetric else None,
    )


def check_critical_length(method: str, metric: str, distance: str) -> None:
    """Sees that all are known.

    Raises:
        InvalidInput: One is not.
    """
    choices = (
        ("method for critical lengths", method, CRITICAL_LENGTH_METHODS),
        ("metric", metric, METRICS),
        ("distance", distance, tuple(SCALES)),
    )
    for name, value, known in choices:
        if value not in known:
            raise InvalidInput(f"Unknown {name}.", expected=" | ".join(known), received=value)


def _against_distance(
    sums: DistanceSums, num_rows: int | None, method: str, metric: str, distance: str, pairs: PairValues | None
) -> DistanceStiffness:
    strata, scale = strata_of(sums, num_rows), SCALES[distance]
    profile = distance_profile(sums, strata)
    length, fixed_effects, by_class = line_lengths(sums, strata, metric, scale)
    if method == "linear_binned":
        length = binned_length(sums, strata, profile, metric, scale)
    elif method == "first_crossing":
        length = first_crossing(profile, metric, pairs, direction=scale.direction)
    elif method == "isotonic":
        length = isotonic_length(pairs, metric, direction=scale.direction)
    return DistanceStiffness(profile, length, fixed_effects, by_class)
