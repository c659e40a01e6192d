"""The numbers behind the interactive charts, made small.

Series and profiles are JSON of five significant digits. Class matrices, by far the most, are whole numbers of two
bytes, in steps of 1/10000, or of one byte, in steps of 1/100, where there are more than a million cells; past twenty
million, some of the measurements (evenly left out) have no matrix, and layers have none. All of it is compressed.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfstiff.analysis.comparison import Comparison, Milestone, Observation, settings_of
from tfstiff.analysis.comparison.words import HOLLOW_IN_WORDS, observation_in_words, summary_in_words
from tfstiff.analysis.readings import Reading, reading_of_pairs, times_of
from tfstiff.analysis.source import Source
from tfstiff.records import METRICS, DistanceStiffness, Measurement, PairSetStiffness
from tfstiff.records.pair_set import HALVES_BY_NAME
from tfstiff.records.words import (
    DISTANCE_NAMES,
    HALF_NAMES,
    PAIR_SET_NAMES,
    length_limits,
    moment,
    quantity_in_words,
    readings_of_length,
    shown_length,
)
from tfstiff.report.turning_points import turns_in
from tfstiff.stiffness.intervals import quantile

_FINE_CELLS = 1_000_000
_MOST_CELLS = 20_000_000
_WIDTH_LIMIT = 1.27  # half widths of intervals from here on are shown as "or more"

_PairSets = Mapping[str, PairSetStiffness]


class ChartData(NamedTuple):
    """What goes into the page for the charts.

    Attributes:
        json: Compressed JSON, base64.
        cells: Compressed cells of the class matrices, base64.
        steps: How many steps of the cells make 1: 10000 or 100.
        left_out: What was left out to keep the file small, as a sentence; empty where nothing was.
    """

    json: str
    cells: str
    steps: int
    left_out: str


class _Cells:
    """Class matrices one after another, as whole numbers."""

    def __init__(self, steps: int) -> None:
        self.steps, self.parts, self.size = steps, [], 0  # type: ignore[var-annotated]

    def add(self, matrix: np.ndarray, limit: float = 1.0) -> int:
        """Keeps a matrix; returns where it begins. NaN is the smallest whole number there is."""
        kind: Any = np.int8 if self.steps == 100 else np.int16
        whole = np.rint(np.clip(matrix, -limit, limit) * self.steps)
        self.parts.append(np.where(np.isnan(matrix), np.iinfo(kind).min, whole).astype(kind))
        self.size += matrix.size
        return self.size - matrix.size

    def packed(self) -> str:
        little_endian = [part.astype(part.dtype.newbyteorder("<")).tobytes() for part in self.parts]
        return packed(b"".join(little_endian))


def chart_data(sources: Sequence[Source], found: Comparison | None = None) -> ChartData:
    """Collects the numbers behind all charts.

    Args:
        sources: Runs with at least one measurement each.
        found: They, compared; None for one run.
    """
    with_layers = sum(_num_cells(source, layers=True) for source in sources)
    whole = sum(_num_cells(source, layers=False) for source in sources)
    layers = with_layers <= _MOST_CELLS
    total = with_layers if layers else whole
    every = max(1, math.ceil(total / _MOST_CELLS))
    cells = _Cells(100 if total > _FINE_CELLS else 10_000)
    document = {
        "steps": cells.steps,
        "width_limit": _WIDTH_LIMIT,
        "runs": [{**_run(source, cells, every, layers), "group": _group_of(source, found)} for source in sources],
        "comparison": None if found is None or not found.milestones else _comparison(sources, found),
        "words": {"pairs": PAIR_SET_NAMES, "halves": HALF_NAMES, "distances": DISTANCE_NAMES},
    }
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    missing = ["class matrices of single layers"] * (not layers)
    missing += [f"the class matrices of all but one in {every} measurements"] * (every > 1)
    left_out = f"Left out to keep this page small: {' and '.join(missing)}." if missing else ""
    return ChartData(packed(text.encode()), cells.packed(), cells.steps, left_out)


def packed(data: bytes) -> str:
    """Bytes as base64 of their gzip, which browsers can undo; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _num_cells(source: Source, layers: bool) -> int:
    count = 0
    for measurement in source.measurements:
        scopes = [measurement.pair_sets, *(measurement.layers.values() if layers else ())]
        found = [one.cosine.matrix.size for scope in scopes for one in scope.values() if one.cosine is not None]
        count += 4 * sum(found)  # two metrics, values and half widths
    return count


def _run(source: Source, cells: _Cells, every: int, layers: bool) -> dict[str, Any]:
    measurements = source.measurements
    when, unit = times_of(measurements)
    last = len(measurements) - 1
    matrices = [index for index in range(len(measurements)) if (last - index) % every == 0]
    paths = dict.fromkeys(path for m in measurements for path in m.layers)
    scopes = {"": _scope([m.pair_sets for m in measurements], cells, matrices)}
    for path in paths:
        scopes[path] = _scope([m.layers.get(path, {}) for m in measurements], cells, matrices if layers else [])
    return {
        "name": source.name,
        "unit": unit,
        "times": _rounded(when),
        "moments": [moment(m) for m in measurements],
        "classes": list(measurements[-1].class_names),
        "metrics": list(source.metrics),
        "main": source.main_pair_set,
        "distance": str(source.spec.get("distance", "cosine")),
        "loss": _halves(measurements, "loss"),
        "accuracy": _halves(measurements, "accuracy"),
        "scopes": scopes,
        "turn": _turn(source, unit),
    }


def _scope(found: Sequence[_PairSets], cells: _Cells, matrices: Iterable[int]) -> dict[str, Any]:
    names = dict.fromkeys(name for sets in found for name in sets)
    return {name: _pair_set([sets.get(name) for sets in found], cells, set(matrices)) for name in names}


def _pair_set(found: Sequence[PairSetStiffness | None], cells: _Cells, matrices: set[int]) -> dict[str, Any]:
    series: dict[str, Any] = {}
    for metric in METRICS:
        has_classes = any(one is not None and getattr(one, metric) is not None for one in found)
        kinds = ("within", "between") if has_classes else ("mean",)
        series[metric] = {kind: _series(found, f"{metric}_{kind}") for kind in kinds}
        if has_classes:
            series[metric]["matrices"] = [
                _matrix(getattr(one, metric), cells) if one is not None and index in matrices else None
                for index, one in enumerate(found)
            ]
    spaces = dict.fromkeys(name for one in found if one is not None for name in one.spaces)
    profiles = {name: [None if one is None else _space(one.spaces.get(name)) for one in found] for name in spaces}
    return {**series, "spaces": profiles}


def _series(found: Sequence[PairSetStiffness | None], kind: str) -> dict[str, Any]:
    read = [reading_of_pairs(one, kind) or Reading(math.nan) for one in found]
    return {"value": _rounded(one.value for one in read), "half": _rounded(one.half_width for one in read)}


def _matrix(by_class: Any, cells: _Cells) -> dict[str, Any] | None:
    if by_class is None:
        return None
    half = _quantiles(by_class.matrix_df) * by_class.matrix_se
    return {"at": cells.add(by_class.matrix), "half": cells.add(half, _WIDTH_LIMIT), "size": len(by_class.matrix)}


def _quantiles(degrees: np.ndarray) -> np.ndarray:
    """`quantile` to the precision of what is shown: of degrees to two digits, since millions of them take seconds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        coarse = 10 ** (np.round(np.log10(np.minimum(degrees, 1e12)) * 100) / 100)
    known, places = np.unique(coarse, return_inverse=True)
    return quantile(known)[places].reshape(degrees.shape)


def _space(space: DistanceStiffness | None) -> dict[str, Any] | None:
    """One profile with its line; half widths of 95 % intervals, by the normal quantile where bins have no other."""
    if space is None:
        return None
    profile, length = space.profile, space.critical_length
    readings = readings_of_length(length)
    q = quantile(math.inf)
    covariance = length.covariance
    return {
        "edges": _rounded(profile.edges),
        "count": profile.count.tolist(),
        "cosine": _rounded(profile.mean),
        "cosine_half": _rounded(q * profile.mean_se),
        "sign": _rounded(profile.mean_sign),
        "sign_half": _rounded(q * profile.mean_sign_se),
        "xi": _number(shown_length(length)),
        "low": _number(length.low),
        "high": _number(length.high),
        "bounded": length.interval == "bounded",
        "limits": length_limits(length),
        "status": length.status,
        "words": "; ".join(reading.words for reading in readings),
        "metric": length.metric,
        "intercept": _number(length.intercept),
        "slope": _number(length.slope),
        "variances": _rounded([q * q * v for v in (covariance[0, 0], covariance[0, 1], covariance[1, 1])]),
        "from": _number(length.distance_min),
        "to": _number(length.distance_max),
    }


def _group_of(source: Source, found: Comparison | None) -> str:
    """The label of a run's group; its name where it is in none."""
    for group in () if found is None else found.groups:
        if any(run.folder == source.folder for run in group.runs.values()):
            return group.label
    return source.name


def _comparison(sources: Sequence[Source], found: Comparison) -> dict[str, Any]:
    rates = [settings_of(source).get("learning_rate") for source in sources]
    numeric = all(isinstance(rate, int | float) and rate > 0 for rate in rates) and len(set(rates)) > 1
    return {
        "rates": rates if numeric else None,
        "shown": max((i for i, one in enumerate(found.milestones) if one.by == "epoch"), default=0),  # at first
        "names": {quantity: quantity_in_words(quantity, with_pairs=False) for quantity in found.quantities},
        "points": [
            {
                "title": milestone.label,
                "values": {quantity: _values(sources, found, quantity, milestone) for quantity in found.quantities},
                "means": {quantity: _means(found, quantity, milestone) for quantity in found.quantities},
            }
            for milestone in found.milestones
        ],
    }


def _values(sources: Sequence[Source], found: Comparison, quantity: str, milestone: Milestone) -> list[dict[str, Any]]:
    """What each run says: a value with its interval, or a bound with a note of how to read its mark."""
    by_folder = {
        run.folder: found.observations[quantity, milestone, index][seed]
        for index, group in enumerate(found.groups)
        for seed, run in group.runs.items()
    }
    rows = []
    for source in sources:
        one = by_folder.get(source.folder, Observation(math.nan, math.nan, status="left out"))
        shown = one.low if math.isfinite(one.low) else one.high
        note = HOLLOW_IN_WORDS.get(one.status, "") if math.isfinite(shown) else ""
        limits = {"low": _number(one.interval_low), "high": _number(one.interval_high)}
        rows.append({"value": _number(shown), **limits, "note": note, "words": observation_in_words(one)})
    return rows


def _means(found: Comparison, quantity: str, milestone: Milestone) -> list[dict[str, Any]]:
    """What stands for each group of several runs."""
    rows = []
    for index, group in enumerate(found.groups):
        summary = found.summary(quantity, milestone, index)
        shown = [end for end in summary.center if math.isfinite(end)]
        if summary.num_seeds > 1 and shown:
            words = f"{group.label}: {summary_in_words(summary)}, {summary.num_seeds} runs"
            rows.append({"group": group.label, "value": _number(shown[0]), "words": words})
    return rows


def _turn(source: Source, unit: str) -> float | None:
    """The time at which stiffness has turned down for certain; None where it has not."""
    turn = turns_in(source)
    if turn is None or turn.unit != unit or turn.stiffness_drop.status != "confirmed":
        return None
    return _number(turn.stiffness_drop.time)


def _halves(measurements: Sequence[Measurement], name: str) -> dict[str, list[float | None]]:
    columns = {half: [getattr(getattr(m, place), name) for m in measurements] for half, place in HALVES_BY_NAME.items()}
    return {half: _rounded(values) for half, values in columns.items()}


def _rounded(values: Iterable[float] | np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    """Five significant digits; None where it is not finite, which JSON lacks."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
