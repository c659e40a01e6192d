"""From measurements to tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfstiff.export.blocks import Label, Table
from tfstiff.export.schema import ALL_LAYERS, BLOCK_QUANTITIES, QUANTITIES, empty_tables
from tfstiff.records import (
    METRICS,
    ClassCriticalLengths,
    ClassStiffness,
    CriticalLength,
    DistanceStiffness,
    HalfSummary,
    Measurement,
    PairSetStiffness,
)

_Place = tuple[Sequence[Label], ...]  # measurement, layer, pair set
_HALVES = {"train": "train", "val": "validation"}


def read_tables(measurements: Sequence[Measurement], probe: Mapping[str, np.ndarray] | None = None) -> dict[str, Table]:
    """All that was measured, as tables by name; those that would have no row are left out.

    What follows from the rest is not there: the number of empty cells is that of the class matrix without pairs.

    Args:
        measurements: In order of time. They are numbered from 0 in the key `measurement`.
        probe: Ids and classes of the probe's examples, as in a run's `probe.npz`.
    """
    tables = empty_tables()
    for index, measurement in enumerate(measurements):
        _read_measurement(tables, index, measurement)
        for layer, pair_sets in ((ALL_LAYERS, measurement.pair_sets), *measurement.layers.items()):
            for name, stiffness in pair_sets.items():
                _read_pair_set(tables, ([index], [layer], [name]), stiffness, measurement)
    for half in _HALVES.values():
        if probe and f"{half}_ids" in probe:
            ids = probe[f"{half}_ids"].astype(str)
            tables["probe"].add(([half], range(len(ids))), {"id": ids, "class": probe.get(f"{half}_classes")})
    return {name: table for name, table in tables.items() if table.blocks}


def class_labels(names: Sequence[str], count: int) -> list[str]:
    """The classes' names; their numbers where there are no names, or two are the same."""
    return list(names) if len(set(names)) == count == len(names) else [str(index) for index in range(count)]


def _read_measurement(tables: dict[str, Table], index: int, measurement: Measurement) -> None:
    halves = {"train": measurement.train, "validation": measurement.validation}
    summary = ("num_examples", "loss", "accuracy", "num_zero_gradients", "num_nonfinite")
    values = {f"{half}_{name}": getattr(found, name) for half, found in halves.items() for name in summary}
    own = {name: getattr(measurement, name) for name in ("updates", "learning_rate", "method")}
    tables["measurements"].add(([index],), own | values)
    for half, found in halves.items():
        if found.scores is not None:
            scores = {name: getattr(found.scores, name) for name in ("loss", "gradient_norm", "el2n")}
            tables["scores"].add(([index], [half], range(len(found.scores.loss))), scores)
    if measurement.groups:
        groups = {name: group for group, members in measurement.groups.items() for name in members}
        tables["class_groups"].add(([index], list(groups)), {"group": list(groups.values())})
    if measurement.gram is not None:
        places = range(len(measurement.gram))
        tables["gram"].add(([index], places, places), {"value": measurement.gram})


def _read_pair_set(
    tables: dict[str, Table], place: _Place, stiffness: PairSetStiffness, measurement: Measurement
) -> None:
    counts = {name: getattr(stiffness, name) for name in ("num_zero", "num_uncertain_signs")}
    tables["pair_sets"].add(place, counts)
    for metric in METRICS:
        mean, se = getattr(stiffness, f"mean_{metric}"), getattr(stiffness, f"mean_{metric}_se")
        tables["stiffness"].add((*place, [metric], ["mean"]), {"value": mean, "se": se})
        by_class = getattr(stiffness, metric)
        if by_class is not None:
            _read_classes(tables, (*place, [metric]), by_class, stiffness.pair_counts, measurement)
    for space, found in stiffness.spaces.items():
        _read_space(tables, (*place, [space]), found, measurement.class_names)
    if stiffness.statistics:
        tables["statistics"].add(place, dict(stiffness.statistics))
    if stiffness.class_mean_gram is not None:
        classes = class_labels(measurement.class_names, len(stiffness.class_mean_gram))
        tables["class_mean_gram"].add((*place, classes, classes), {"value": stiffness.class_mean_gram})


def _read_classes(
    tables: dict[str, Table], place: _Place, found: ClassStiffness, counts: np.ndarray | None, measurement: Measurement
) -> None:
    labels = class_labels(measurement.class_names, len(found.matrix))
    matrix = {"value": found.matrix, "se": found.matrix_se, "df": found.matrix_df, "num_pairs": counts}
    tables["class_matrix"].add((*place, labels, labels), matrix)
    tables["stiffness"].add((*place, QUANTITIES), _with_errors(found, QUANTITIES))
    influence = {name: getattr(found, f"{name}_influence") for name in ("within", "between")}
    blocks = found.blocks
    if blocks is not None:
        names = [name if name != "contrast" else "block_contrast" for name in BLOCK_QUANTITIES]
        tables["stiffness"].add((*place, names), _with_errors(blocks, BLOCK_QUANTITIES))
        test = {name: getattr(blocks, name) for name in ("p_value", "num_groupings")}
        tables["group_permutation"].add(place, test | {"is_exact": int(blocks.is_exact)})
        influence["block_contrast"] = blocks.contrast_influence
    for half, part in _by_half(str(place[2][0]), measurement, len(found.within_influence)):
        examples = range(part.stop - part.start)
        tables["influence"].add((*place, [half], examples), {name: of[part] for name, of in influence.items()})


def _with_errors(found: Any, quantities: Sequence[str]) -> dict[str, list[float]]:
    """Values, errors and degrees of freedom; the means over pairs have none of these."""
    suffixes = {"value": "", "se": "_se", "df": "_df"}
    return {
        name: [getattr(found, f"{quantity}{suffix}", np.nan) for quantity in quantities]
        for name, suffix in suffixes.items()
    }


def _by_half(pair_set: str, measurement: Measurement, count: int) -> Iterator[tuple[str, slice]]:
    """Which of a pair set's examples are of which half: the rows', then, where the halves differ, the columns'."""
    first, second = (_HALVES[name] for name in pair_set.split("_"))
    summaries: dict[str, HalfSummary] = {"train": measurement.train, "validation": measurement.validation}
    end = count if first == second else min(summaries[first].num_examples, count)
    yield first, slice(0, end)
    if first != second:
        yield second, slice(end, count)


def _read_space(tables: dict[str, Table], place: _Place, found: DistanceStiffness, names: Sequence[str]) -> None:
    profile = found.profile
    tables["distance"].add(
        (*place, METRICS, range(len(profile.count))),
        {
            "low": profile.edges[:-1],
            "high": profile.edges[1:],
            "num_pairs": profile.count,
            "num_examples": profile.num_examples,
            "value": np.stack([profile.mean_sign, profile.mean]),  # in the order of METRICS
            "se": np.stack([profile.mean_sign_se, profile.mean_se]),
            "num_duplicates": profile.num_duplicates,
        },
    )
    for fit, length in (("all", found.critical_length), ("fixed_effects", found.fixed_effects)):
        if length is not None:
            others = {name: getattr(length, name) for name in ("distance_min", "distance_max", "method", "metric")}
            tables["critical_length"].add((*place, [fit]), _line(length) | others)
    if found.by_class is not None:
        classes = class_labels(names, len(found.by_class.value))
        tables["class_critical_length"].add((*place, classes), _line(found.by_class))


def _line(found: CriticalLength | ClassCriticalLengths) -> dict[str, Any]:
    names = ("value", "status", "low", "high", "interval", "intercept", "slope", "num_pairs")
    return {name: getattr(found, name) for name in names} | {
        "intercept_variance": found.covariance[..., 0, 0],
        "covariance": found.covariance[..., 0, 1],
        "slope_variance": found.covariance[..., 1, 1],
    }
