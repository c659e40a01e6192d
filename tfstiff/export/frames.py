"""From measurements to data frames, a row an observation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.export.schema import ALL_LAYERS, ONE_STEP, PLAIN, TABLES, class_labels
from tfstiff.records import (
    METRICS,
    ClassCriticalLengths,
    ClassStiffness,
    CriticalLength,
    DistanceStiffness,
    Measurement,
    PairSetStiffness,
    scalar_row,
)
from tfstiff.records.directions import StepEffects
from tfstiff.records.pair_set import HALVES_BY_NAME
from tfstiff.records.scores import ExampleScores

if TYPE_CHECKING:
    import pandas as pd

_Labels = tuple[Sequence[Any], ...]  # along each key of a table
_Part = tuple[str, _Labels, Mapping[str, Any]]  # a table, labels, and by column an array over them, the last axes first
_QUANTITIES = ("within", "between", "contrast", "within_pairs", "between_pairs")  # with classes; `mean` always
_BLOCKS = {"same_group": "same_group", "different_group": "different_group", "contrast": "block_contrast"}
_LINE = ("value", "status", "low", "high", "interval", "intercept", "slope", "num_pairs")
_EFFECTS = ("num_examples", "change", "change_se", "cosine", "cosine_se", "helped", "helped_se")
_OF_ALL = ("distance_min", "distance_max", "method", "metric", "lack_of_fit")  # not of single classes


def measurement_frame(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """A row a measurement and pair set: when, losses, stiffness with standard errors, ξ, and the half's statistics."""
    import pandas as pd

    rows = []
    for m in measurements:
        of_pairs = tuple(f"_{pair_set}" for pair_set in m.pair_sets)
        shared = {
            name.removeprefix("stiffness_"): value
            for name, value in scalar_row(m).items()
            if not name.endswith(of_pairs)
        }
        for pair_set, found in m.pair_sets.items():
            scalars = ((m.scalars(), ""), (m.standard_errors(), "_se"))
            own = {
                f"{name.removeprefix('stiffness_').removesuffix(f'_{pair_set}')}{end}": value
                for values, end in scalars
                for name, value in values.items()
                if name.endswith(f"_{pair_set}") and not (end and "critical_length" in name)
            }
            length = {
                f"critical_length_{end}": getattr(found.critical_length, end) for end in ("low", "high", "status")
            }
            rows.append({**shared, "pair_set": pair_set, **own, **length, **found.statistics})
    return pd.DataFrame(rows)


def read_frames(
    measurements: Sequence[Measurement], probe: Mapping[str, np.ndarray] | None = None
) -> dict[str, pd.DataFrame]:
    """All that was measured, as data frames by the name of their table; those that would have no row are left out.

    A quantity that does not exist anywhere has no column. What follows from the rest is not there either: the number of
    empty cells is that of the class matrix without pairs.

    Args:
        measurements: In order of time. They are numbered from 0 in the column `measurement`.
        probe: Ids and classes of the probe's examples, as in a run's `probe.npz`.
    """
    import pandas as pd

    flat: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in TABLES}
    for name, labels, values in _parts(measurements, probe or {}):
        flat[name].append(_flat(TABLES[name].keys, labels, values))
    frames = {}
    for name, parts in flat.items():
        if parts:
            table = TABLES[name]
            columns = [*table.keys, *(column.name for column in table.columns)]
            exist = [column for column in columns if any(column in part for part in parts)]
            frames[name] = pd.DataFrame({column: _joined(parts, column) for column in exist})
    return frames


def _flat(keys: Sequence[str], labels: _Labels, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Labels and values of every combination of keys."""
    shape = tuple(map(len, labels))
    along = np.meshgrid(*(np.asarray(some) for some in labels), indexing="ij")
    found = {key: some.ravel() for key, some in zip(keys, along, strict=True)}
    return found | {
        name: np.broadcast_to(np.asarray(value), shape).ravel() for name, value in values.items() if value is not None
    }


def _joined(parts: Sequence[dict[str, np.ndarray]], name: str) -> np.ndarray:
    """A column of all parts; NaN, or an empty text, where a part lacks it."""
    dtypes = [part[name].dtype for part in parts if name in part]
    is_text = any(dtype.kind in "OU" for dtype in dtypes)
    absent = "" if is_text else np.nan
    found = np.concatenate([part.get(name, np.full(len(next(iter(part.values()))), absent)) for part in parts])
    return found.astype(object) if is_text else found


def _parts(measurements: Sequence[Measurement], probe: Mapping[str, np.ndarray]) -> Iterator[_Part]:
    for index, m in enumerate(measurements):
        yield from _of_measurement(index, m)
        for layer, pair_sets in ((ALL_LAYERS, m.pair_sets), (PLAIN, m.plain), *m.layers.items()):
            for name, stiffness in pair_sets.items():
                yield from _of_pair_set(([index], [layer], [name]), stiffness, m)
    for half in HALVES_BY_NAME.values():
        if f"{half}_ids" in probe:
            ids = probe[f"{half}_ids"].astype(str)
            yield "probe", ([half], range(len(ids))), {"id": ids, "class": probe.get(f"{half}_classes")}


def _of_measurement(index: int, m: Measurement) -> Iterator[_Part]:
    halves = {"train": m.train, "validation": m.validation}
    summary = ("num_examples", "loss", "accuracy", "num_zero_gradients", "num_nonfinite")
    values = {f"{half}_{name}": getattr(found, name) for half, found in halves.items() for name in summary}
    own = {name: getattr(m, name) for name in ("updates", "learning_rate", "method", "weights", "preconditioner")}
    own["sampled_pairs"] = np.nan if m.sampled_pairs is None else m.sampled_pairs
    yield "measurements", ([index],), own | values
    for half, found in halves.items():
        if found.scores is not None:
            yield from _of_examples(([index], [half]), found.scores, m.class_names)
    for name, of in m.directions.items():
        yield "directions", ([index], [name]), {"status": [of.status]}
        for half in HALVES_BY_NAME.values():
            effects = getattr(of, half)
            if effects is not None and effects.change is not None:
                yield from _of_step(([index], [name]), half, effects, of.lengths, m.class_names)
    if m.groups:
        groups = {name: group for group, members in m.groups.items() for name in members}
        yield "class_groups", ([index], list(groups)), {"group": list(groups.values())}


def _of_step(
    place: _Labels, half: str, found: StepEffects, lengths: np.ndarray | None, names: Sequence[str]
) -> Iterator[_Part]:
    steps, count = found.change.shape
    classes = class_labels(names, count)
    values = {name: getattr(found, name) for name in _EFFECTS}
    if lengths is not None:
        values["length"] = lengths[:, None, None]
    values = {name: of if name == "length" else of[:, None] for name, of in values.items()}
    yield "step_effects", (*place, classes if steps > 1 else [ONE_STEP], [half], classes), values


def _of_examples(place: _Labels, scores: ExampleScores, names: Sequence[str]) -> Iterator[_Part]:
    values = {name: getattr(scores, name) for name in ("loss", "gradient_norm", "el2n", "margin", "predicted")}
    values["label"] = scores.classes
    size = max((len(of) for of in values.values() if of is not None), default=0)
    yield "scores", (*place, range(size)), values
    for other, found in scores.stiffness.items():
        if found.counts is not None:
            classes = class_labels(names, found.counts.shape[1])
            by_metric = {
                column: np.stack([getattr(found, f"{metric}{end}") for metric in METRICS], -1)[:, None]
                for column, end in (("value", ""), ("se", "_se"))
            }
            others = {"num_others": found.counts[:, None, :, None]}
            yield "example_stiffness", (*place, range(size), [other], classes, METRICS), others | by_metric


def _of_pair_set(place: _Labels, found: PairSetStiffness, m: Measurement) -> Iterator[_Part]:
    yield "pair_sets", place, {name: getattr(found, name) for name in ("num_zero", "num_uncertain_signs")}
    metrics = METRICS if found.mean_sign_disagreement is None else (*METRICS, "sign_disagreement")
    for metric in metrics:
        mean = {"value": getattr(found, f"mean_{metric}"), "se": getattr(found, f"mean_{metric}_se")}
        yield "stiffness", (*place, [metric], ["mean"]), mean
        by_class = getattr(found, metric)
        if by_class is not None:
            yield from _of_classes((*place, [metric]), by_class, found.pair_counts, m)
    for space, against in found.spaces.items():
        yield from _of_space((*place, [space]), against, m.class_names)
    if found.statistics:
        yield "statistics", place, found.statistics
    if found.class_mean_gram is not None:
        classes = class_labels(m.class_names, len(found.class_mean_gram))
        yield "class_mean_gram", (*place, classes, classes), {"value": found.class_mean_gram}


def _of_classes(place: _Labels, found: ClassStiffness, counts: np.ndarray | None, m: Measurement) -> Iterator[_Part]:
    if found.matrix is not None:
        labels = class_labels(m.class_names, len(found.matrix))
        matrix = {"value": found.matrix, "se": found.matrix_se, "df": found.matrix_df, "num_pairs": counts}
        yield "class_matrix", (*place, labels, labels), matrix
    yield "stiffness", (*place, _QUANTITIES), _with_errors(found, _QUANTITIES)
    influence = {name: getattr(found, f"{name}_influence") for name in ("within", "between")}
    blocks = found.blocks
    if blocks is not None:
        yield "stiffness", (*place, list(_BLOCKS.values())), _with_errors(blocks, list(_BLOCKS))
        test = {name: getattr(blocks, name) for name in ("p_value", "num_groupings")}
        yield "group_permutation", place, test | {"is_exact": int(blocks.is_exact)}
        influence["block_contrast"] = blocks.contrast_influence
    known = {name: of for name, of in influence.items() if of is not None}
    for half, part in _by_half(str(place[2][0]), m, max(map(len, known.values()), default=0)):
        examples = range(part.stop - part.start)
        yield "influence", (*place, [half], examples), {name: of[part] for name, of in known.items()}


def _with_errors(found: Any, quantities: Sequence[str]) -> dict[str, list[float]]:
    """Values, errors and degrees of freedom; the means over pairs have none of these."""
    ends = {"value": "", "se": "_se", "df": "_df"}
    return {name: [getattr(found, f"{one}{end}", np.nan) for one in quantities] for name, end in ends.items()}


def _by_half(pair_set: str, m: Measurement, count: int) -> Iterator[tuple[str, slice]]:
    """Which of a pair set's examples are of which half: the rows', then, where the halves differ, the columns'."""
    first, second = (HALVES_BY_NAME[name] for name in pair_set.split("_"))
    end = count if first == second else min(getattr(m, first).num_examples, count)
    yield first, slice(0, end)
    if first != second:
        yield second, slice(end, count)


def _of_space(place: _Labels, found: DistanceStiffness, names: Sequence[str]) -> Iterator[_Part]:
    profile = found.profile
    yield (
        "distance",
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
            others = {name: getattr(length, name) for name in _OF_ALL}
            yield "critical_length", (*place, [fit]), _line(length) | others
    if found.by_class is not None:
        classes = class_labels(names, len(found.by_class.value))
        yield "class_critical_length", (*place, classes), _line(found.by_class)


def _line(found: CriticalLength | ClassCriticalLengths) -> dict[str, Any]:
    line = {name: getattr(found, name) for name in _LINE}
    if found.covariance is None:  # of a record that lacks it
        return line
    places = {"intercept_variance": (0, 0), "covariance": (0, 1), "slope_variance": (1, 1)}
    return line | {name: found.covariance[..., i, j] for name, (i, j) in places.items()}
