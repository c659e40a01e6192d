"""How the report writes numbers, intervals and names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tfstiff.records import CriticalLength, Measurement
from tfstiff.stiffness.intervals import interval

PAIR_SET_NAMES = {
    "train_train": "train–train",
    "train_val": "train–validation",
    "val_val": "validation–validation",
}
PAIRS_IN_WORDS = {
    "train_train": "two training examples",
    "train_val": "a training and a validation example",
    "val_val": "two validation examples",
}
METRICS_IN_WORDS = {"sign": "sign of the product of the gradients", "cosine": "cosine of the gradients"}
STATUS_WORDS = {
    "ok": "within the distances observed",
    "extrapolated": "extrapolated beyond the largest distance observed",
    "beyond": "far beyond the distances observed",
    "all_nonpositive": "below the smallest distance observed",
    "no_decay": "no ξ: stiffness does not fall significantly with distance",
    "too_few_pairs": "no ξ: too few pairs",
    "unavailable": "no ξ: its method needs every pair, which the record does not hold",
}
NO_LENGTH = ("no_decay", "too_few_pairs", "unavailable")
ABSENT = "–"
_NO_VARIATION = 1e-9  # a standard error below it is rounding


def number(value: float, digits: int = 3) -> str:
    """`−0.741`; a dash where there is no number."""
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.4g}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def short(value: Any) -> str:
    """A setting or a learning rate as it is usually written: `0.0008`, `a, b`, `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−") if abs(value) >= 1e-3 or not value else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(short(item) for item in value) or "none"
    return str(value)


def has_interval(low: float, high: float) -> bool:
    """Whether the two ends are those of an interval with an extent."""
    return math.isfinite(low) and math.isfinite(high) and high - low > _NO_VARIATION


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """`0.741 (95\u00a0% interval 0.717 to 0.765)`; the reason where there is no interval."""
    if math.isnan(value):
        return "not measurable"
    if has_interval(low, high):
        return f"{number(value, digits)} (95\u00a0% interval {number(low, digits)} to {number(high, digits)})"
    why = "too few examples" if math.isnan(low) or math.isnan(high) else "nothing varies among the pairs"
    return f"{number(value, digits)} (no interval: {why})"


def estimate(value: float, se: float, degrees: float = math.inf) -> str:
    """`with_interval` of an estimate with a standard error."""
    low, high = interval(value, se, degrees)
    return with_interval(value, float(low), float(high))


def cell(value: float, se: float, degrees: float = math.inf, digits: int = 3) -> str:
    """A table's cell: the value and half the width of its 95\u00a0% interval, `0.741 ± 0.024`."""
    half = float(interval(0.0, se, degrees)[1])
    return f"{number(value, digits)} ± {number(half, digits)}" if half > _NO_VARIATION else number(value, digits)


def length_in_words(length: CriticalLength) -> str:
    """A critical length with its interval and status, as a clause."""
    if length.status in NO_LENGTH:
        return STATUS_WORDS[length.status]
    where = STATUS_WORDS.get(length.status, length.status)
    if math.isnan(length.value):
        return f"ξ has no value: it lies {where}"
    return f"ξ = {number(length.value)} ({length_limits(length)}), {where}"


def length_limits(length: CriticalLength) -> str:
    """What the 95\u00a0% interval of a critical length holds."""
    low, high = number(length.low), number(length.high)
    return {
        "bounded": f"95\u00a0% interval {low} to {high}",
        "complement": f"95\u00a0% interval: all up to {high}, and all from {low} on",
        "unbounded": "95\u00a0% interval without limits",
    }.get(length.interval, "no interval")


def moment(measurement: Measurement) -> str:
    """When a measurement was taken: `initialisation`, `epoch 2 (step 3750)`."""
    if measurement.step == 0:
        return "initialisation"
    step = f"step {measurement.step}" if measurement.step > 0 else ""
    if not math.isfinite(measurement.epoch):
        return step or "an unknown step"
    return f"epoch {measurement.epoch:.3g}" + (f" ({step})" if step else "")


def joined(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
