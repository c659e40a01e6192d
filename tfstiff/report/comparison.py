"""Several runs side by side: what differs between their settings, and their stiffness at equal epoch and training loss.

Runs that differ in nothing but their seed are one group.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfstiff.analysis.loss_level import AtLossLevel, at_training_loss
from tfstiff.analysis.source import Source
from tfstiff.records import Measurement
from tfstiff.records.words import setting_in_words, status_of_length
from tfstiff.stiffness.intervals import interval, quantile

# Settings that do not bear on what was trained and measured, or follow from others.
_HOUSEKEEPING = {"data_dir", "offline", "memory_limit", "measured_steps", "steps_per_execution"}
_SEED = "seed"
_MAX_LEVELS = 3


@dataclass(frozen=True)
class Value:
    """One quantity of one run, at the point of a comparison.

    Attributes:
        value: NaN where there is none.
        low: Lower end of its 95 % interval over the draw of the probe's examples; NaN where there is none.
        high: Upper end.
        note: A status that the value must be read with; empty where there is nothing to say.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Point:
    """Where runs are compared: at one epoch, or at one training loss.

    Attributes:
        title: `At epoch 5`, `At a training loss of 0.3`.
        values: For each quantity, for each run, its value.
    """

    title: str
    values: Mapping[str, Sequence[Value]]


def differing_settings(sources: Sequence[Source]) -> list[str]:
    """The settings in which runs differ, in the order of the first; those without a bearing are left out."""
    names = dict.fromkeys(name for source in sources for name in source.spec)
    return [
        name
        for name in names
        if name not in _HOUSEKEEPING and len({repr(_plain(source.spec.get(name))) for source in sources}) > 1
    ]


def group_names(sources: Sequence[Source]) -> list[str]:
    """For each run the settings that tell its group from the others, such as `learning_rate 0.0008`."""
    settings = [name for name in differing_settings(sources) if name != _SEED]
    return [
        ", ".join(f"{name} {setting_in_words(_plain(source.spec.get(name)))}" for name in settings) or "all runs"
        for source in sources
    ]


def quantities(sources: Sequence[Source], pair_set: str) -> dict[str, str]:
    """What is compared: names of scalars, and what they are called."""
    has_classes = all(source.has_classes for source in sources if source.measurements)
    kinds = {"between": "{} between classes", "within": "{} within classes"} if has_classes else {"mean": "mean {}"}
    found = {f"stiffness_{m}_{k}_{pair_set}": t.format(m) for m in ("cosine", "sign") for k, t in kinds.items()}
    return {**found, f"stiffness_critical_length_{pair_set}": "critical length ξ"}


def comparison_points(sources: Sequence[Source], pair_set: str) -> list[Point]:
    """The last epoch that all runs measured, then training losses that runs came down to.

    The losses are those that runs were asked to stop at, or else the lowest that all of them reached.

    Args:
        sources: Runs with at least one measurement each.
        pair_set: `train_train`, `train_val` or `val_val`.
    """
    names = quantities(sources, pair_set)
    points = []
    epoch = common_epoch(sources)
    if epoch is not None:
        measured = [at_epoch(source, epoch) for source in sources]
        points.append(
            Point(f"At epoch {epoch:.3g}", {name: [_read(m, name, pair_set) for m in measured] for name in names})
        )
    for level in _levels(sources):
        found = [at_training_loss(list(source.measurements), level) for source in sources]
        points.append(
            Point(
                f"At a training loss of {level:g}",
                {
                    name: [
                        _at_loss(one, source, level, name, pair_set) for one, source in zip(found, sources, strict=True)
                    ]
                    for name in names
                },
            )
        )
    return points


def group_rows(groups: Sequence[str], values: Sequence[Value]) -> list[tuple[str, np.ndarray, Value]]:
    """For each group its name, the values of its runs, and their mean with the t interval over them."""
    rows = []
    for name in dict.fromkeys(groups):
        found = np.array([v.value for g, v in zip(groups, values, strict=True) if g == name and math.isfinite(v.value)])
        if len(found) < 2:
            rows.append((name, found, Value(float(found[0]) if len(found) else math.nan)))
            continue
        mean, half = found.mean(), quantile(len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found))
        rows.append((name, found, Value(float(mean), float(mean - half), float(mean + half))))
    return rows


def common_epoch(sources: Sequence[Source]) -> float | None:
    """The last epoch at which all runs were measured; None where there is none."""
    epochs = [{round(m.epoch, 6) for m in source.measurements if m.epoch > 0} for source in sources]
    return max(set.intersection(*epochs), default=None)


def at_epoch(source: Source, epoch: float) -> Measurement:
    """The measurement of an epoch that `common_epoch` found."""
    return next(m for m in source.measurements if round(m.epoch, 6) == epoch)


def _levels(sources: Sequence[Source]) -> list[float]:
    losses = [[m.train.loss for m in source.measurements if math.isfinite(m.train.loss)] for source in sources]
    if not all(losses):
        return []
    asked = {float(level) for source in sources for level in source.spec.get("stop_at_loss") or ()}
    reached = [a for a in asked if sum(min(found) <= a < found[0] for found in losses) > 1]
    if reached:
        return sorted(reached, reverse=True)[:_MAX_LEVELS]
    lowest = max(min(found) for found in losses)
    if lowest <= 0:
        return []
    step = 10 ** (math.floor(math.log10(lowest)) - 1)
    level = math.ceil(round(lowest / step, 6)) * step  # two digits, upwards: all reach it
    return [float(f"{level:.2g}")] if level < min(found[0] for found in losses) else []


def _read(measurement: Measurement, name: str, pair_set: str) -> Value:
    if pair_set not in measurement.pair_sets:
        return Value(math.nan, note="not measured")
    found = measurement[pair_set]
    if "critical_length" in name:
        length = found.critical_length
        bounded = length.interval == "bounded"
        low, high = (length.low, length.high) if bounded else (math.nan, math.nan)
        note = "" if length.status == "ok" else length.status.replace("_", " ")
        return Value(length.value if status_of_length(length.status).has_length else math.nan, low, high, note)
    value, se = measurement.scalars()[name], measurement.standard_errors()[name]
    metric, kind = name.split("_")[1:3]
    degrees = math.inf if kind == "mean" else getattr(getattr(found, metric), f"{kind}_df")
    low, high = interval(value, se, degrees)
    return Value(value, float(low), float(high))


def _at_loss(found: Mapping[str, AtLossLevel], source: Source, level: float, name: str, pair_set: str) -> Value:
    if name not in found or found[name].status != "ok":
        return Value(math.nan, note=found[name].status.replace("_", " ") if name in found else "not measured")
    if "critical_length" in name:  # interpolated between two: read with the statuses of both
        losses = [m.train.loss for m in source.measurements]
        after = next(k for k, loss in enumerate(losses) if loss <= level)
        beside = [m for m in source.measurements[max(after - 1, 0) : after + 1] if pair_set in m.pair_sets]
        statuses = dict.fromkeys(m[pair_set].critical_length.status for m in beside)
        notes = [status.replace("_", " ") for status in statuses if status != "ok"]
        value = found[name].value if all(status_of_length(one).has_length for one in statuses) else math.nan
        return Value(value, note=", ".join(notes))
    low, high = interval(found[name].value, found[name].se)
    return Value(found[name].value, float(low), float(high))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
