"""The words for what records hold: pair sets, halves, metrics, distances, critical lengths, moments, values.

Whatever shows them (tables, figures, reports and their charts, logs) takes them from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tfstiff.records.measurement import Measurement
from tfstiff.records.pair_set import HALVES_BY_NAME, METRICS, CriticalLength

PAIR_SET_NAMES = {"train_train": "train–train", "train_val": "train–validation", "val_val": "validation–validation"}
PAIRS_IN_WORDS = {
    "train_train": "two training examples",
    "train_val": "a training and a validation example",
    "val_val": "two validation examples",
}
HALVES_IN_WORDS = {"train": "training", "validation": "validation"}
HALF_NAMES = {name: HALVES_IN_WORDS[half] for name, half in HALVES_BY_NAME.items()}  # as pair sets call them
METRICS_IN_WORDS = {"sign": "sign of the product of the gradients", "cosine": "cosine of the gradients"}
DISTANCE_NAMES = {
    "cosine": "distance, 1 − cos",
    "cosine_similarity": "similarity, cos",
    "l1": "distance, L1",
    "l2": "distance, L2",
}
TURNS_IN_WORDS = {  # by the rule that finds them
    "stiffness_drop": "stiffness turns down",
    "validation_minimum": "validation loss is lowest",
    "gap_growth": "the gap between the losses grows",
    "generalization_loss": "validation loss is 5 % above its lowest",
}
_TURNED = {  # the same as what happened, of a curve's name
    "stiffness_drop": "stiffness ({}) turned down",
    "validation_minimum": "the validation loss turned",
    "gap_growth": "the gap between the losses began to grow",
    "generalization_loss": "the validation loss was first 5 % above its lowest",
}
DIRECTION_NAMES = {  # as steps
    "weights": "a growth of the weights",
    "since_initialisation": "the way since initialisation",
    "update": "the update since the last measurement",
    "next_update": "the optimizer's next update",
    "class_means": "a step on the own class",
}
DIRECTION_STATUSES = {
    "not_known": "the weights that it leads from are not known: there was no measurement before, or they were not kept",
    "zero": "the weights have not moved",
    "not_finite": "it holds NaN or infinite numbers",
    "no_classes": "there are no classes to take means of",
    "no_pairs": "pairs of two training examples were not measured, or not all",
}
_PARTS = {
    "within": "within classes",
    "between": "between classes",
    "mean": "over all pairs",
    "block_contrast": "of one group of classes less that of two",
}
_QUANTITIES = {f"{metric}_{part}": f"{metric} {words}" for metric in METRICS for part, words in _PARTS.items()} | {
    "critical_length": "critical length ξ",
    "train_loss": "training loss",
    "train_accuracy": "training accuracy",
}
_QUANTITIES |= {
    f"{part}_{name}_{half}": text.format(half=words, name=step)
    for name, step in DIRECTION_NAMES.items()
    for half, words in HALVES_IN_WORDS.items()
    for part, text in (
        ("helped_by", "share of {half} examples that {name} helps"),
        ("cosine_with", "cosine of {half} gradients with {name}"),
    )
}
ABSENT = "–"
_NO_VARIATION = 1e-9  # an interval below it is rounding


class LengthStatus(NamedTuple):
    """How a critical length is to be read.

    Attributes:
        mark: In a table.
        words: What the mark means.
        has_length: Whether there is a critical length, if only as a bound.
    """

    mark: str
    words: str
    has_length: bool = True


LENGTH_STATUSES = {
    "ok": LengthStatus("", "within the distances observed"),
    "extrapolated": LengthStatus(">", "ξ lies beyond the largest distance observed"),
    "beyond": LengthStatus(">>", "ξ lies beyond 2, the largest cosine distance, or twice the largest observed"),
    "all_nonpositive": LengthStatus("<", "ξ lies below the smallest distance observed"),
    "no_decay": LengthStatus("=", "no ξ: stiffness does not fall significantly with distance", False),
    "too_few_pairs": LengthStatus("?", "no ξ: too few pairs", False),
    "unavailable": LengthStatus("?", "no ξ: inputs that are no numbers have no distances, or none were kept", False),
}
LACK_OF_FIT = 0.01  # the p-value below which pairs are said to lie on no straight line
BENT = LengthStatus("~", f"pairs lie on no line (p < {LACK_OF_FIT}): where one reaches 0, stiffness need not")


def turn_in_words(rule: str, monitor: str, at: float, sure: float, unit: str = "epoch") -> str:
    """A turning point in a line: `the validation loss turned at epoch 6, sure at epoch 8`.

    Args:
        rule: That found it, of `TURNS_IN_WORDS`.
        monitor: The scalar that the stiffness is.
        at: Its time.
        sure: The time at which that was known.
        unit: Of time.
    """
    when = f" at {unit} {at:.3g}" + ("" if sure == at else f", sure at {unit} {sure:.3g}")
    return _TURNED[rule].format(quantity_in_words(monitor)) + when


def quantity_in_words(name: str, *, with_pairs: bool = True) -> str:
    """A scalar, named as in scalars.jsonl: `cosine within classes, train–validation pairs`.

    Args:
        name: The scalar. Behind @ stands the space that distances are of.
        with_pairs: Whether the pair set is named.
    """
    name, _, space = name.removeprefix("stiffness_").partition("@")
    pair_set = next((one for one in PAIR_SET_NAMES if name.endswith(f"_{one}")), "")
    kind = name.removesuffix(f"_{pair_set}")
    text = _QUANTITIES.get(kind, kind.replace("_", " "))
    text += f" in the space of “{space}”" * bool(space)
    return text + (f", {PAIR_SET_NAMES[pair_set]} pairs" if pair_set and with_pairs else "")


def bounds_in_words(low: float, high: float, *, minus: str = "−") -> str:
    """What is known to lie between two bounds: `0.512`, `>0.900`, `<0.050`, `0.100…0.200`; a dash for nothing."""
    first, last = number(low, minus=minus), number(high, minus=minus)
    if low == high or math.isnan(low):
        return first
    if math.isinf(high):
        return ABSENT if math.isinf(low) else f">{first}"
    return f"<{last}" if math.isinf(low) else f"{first}…{last}"


def default_pair_set(pair_sets: Iterable[str]) -> str:
    """The pair set that stands for all where there is room for one: across the halves, if that was measured."""
    measured = list(pair_sets)
    return "train_val" if "train_val" in measured or not measured else measured[0]


def status_of_length(status: str) -> LengthStatus:
    """How a critical length of this status is to be read; of one that another version knows, the name itself."""
    return LENGTH_STATUSES.get(status, LengthStatus(status, status.replace("_", " "), False))


def readings_of_length(length: CriticalLength) -> list[LengthStatus]:
    """How a critical length is to be read: where it lies and, if it is so, that its pairs lie on no line."""
    status = status_of_length(length.status)
    return [status, BENT] if status.has_length and length.lack_of_fit < LACK_OF_FIT else [status]


def mark_of_length(length: CriticalLength) -> str:
    """How it is to be read, in a table that has a legend."""
    return "".join(reading.mark for reading in readings_of_length(length))


def shown_length(length: CriticalLength) -> float:
    """ξ; NaN where there is none, and what a line gives all the same means nothing."""
    return length.value if status_of_length(length.status).has_length else math.nan


def length_in_words(
    length: CriticalLength, distance: str = "cosine", *, digits: int = 3, is_brief: bool = False
) -> str:
    """A critical length with its interval and where it lies, as a clause.

    Args:
        length: The critical length.
        distance: Of which distance it is.
        digits: Behind the point.
        is_brief: Whether the usual is left out: that limits are of 95 %, and ξ within the distances observed.
    """
    status = status_of_length(length.status)
    if not status.has_length:
        return status.words
    place = _place_of_length(length, distance)
    bent = ("; pairs lie on no line" if is_brief else f"; {BENT.words}") * (BENT in readings_of_length(length))
    if math.isnan(length.value):
        return f"ξ lies {place}"
    limits = length_limits(length, digits)
    if is_brief:
        limits = limits.removeprefix("95\u00a0% interval ") if length.interval == "bounded" else ""
    where = "" if is_brief and length.status == "ok" else f", {place}"
    return f"ξ = {number(length.value, digits)}" + f" ({limits})" * bool(limits) + where + bent


def _place_of_length(length: CriticalLength, distance: str) -> str:
    nearest, furthest = number(length.distance_min, 2), number(length.distance_max, 2)
    first, last = f"smallest distance observed ({nearest})", f"largest distance observed ({furthest})"
    below, possible = "below", f"beyond twice the {last}"
    if distance == "cosine":
        possible = "beyond 2, the largest distance there is"
    if distance == "cosine_similarity":
        first, last = f"largest similarity observed ({furthest})", f"smallest similarity observed ({nearest})"
        below, possible = "above", "beyond −1, the smallest similarity there is"
    if length.status == "all_nonpositive":
        return f"{below} the {first}"
    if length.status == "ok":
        return LENGTH_STATUSES["ok"].words
    return possible if length.status == "beyond" and not math.isnan(length.value) else f"beyond the {last}"


def length_limits(length: CriticalLength, digits: int = 3) -> str:
    """What the 95\u00a0% interval of a critical length holds."""
    low, high = number(length.low, digits), number(length.high, digits)
    return {
        "bounded": f"95\u00a0% interval {low} to {high}",
        "complement": f"95\u00a0% interval: all up to {high}, and all from {low} on",
        "unbounded": "95\u00a0% interval without limits",
    }.get(length.interval, "no interval")


def number(value: float, digits: int = 3, *, minus: str = "−") -> str:
    """`−0.741`; a dash where there is no number."""
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else f"{minus}∞"
    text = f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.4g}"
    return text.replace("-", minus) if float(text) else text.removeprefix("-")


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


def in_brackets(value: float, low: float, high: float, *, minus: str = "−") -> str:
    """`0.741 [0.717, 0.765]`, a value with its 95\u00a0% interval in a table; the value alone where it has none."""
    limits = f" [{number(low, minus=minus)}, {number(high, minus=minus)}]" if has_interval(low, high) else ""
    return number(value, minus=minus) + limits


def setting_in_words(value: Any) -> str:
    """A setting's value as it is usually written: `0.0008`, `500, 60,000`, `none`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−") if abs(value) >= 1e-3 or not value else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return joined([setting_in_words(item) for item in value], last=", ") or "none"
    return str(value)


def settings_in_words(settings: Iterable[tuple[str, Any]]) -> str:
    """Settings with their values: `arch fc, learning rate 0.0004`."""
    return ", ".join(f"{name.replace('_', ' ')} {setting_in_words(value)}" for name, value in settings)


def moment(measurement: Measurement) -> str:
    """When a measurement was taken: `initialisation`, `epoch 2 (step 3750)`."""
    if measurement.step == 0:
        return "initialisation"
    step = f"step {measurement.step}" if measurement.step > 0 else ""
    if not math.isfinite(measurement.epoch):
        return step or "an unknown step"
    return f"epoch {measurement.epoch:.3g}" + (f" ({step})" if step else "")


def joined(parts: Sequence[str], last: str = " and ") -> str:
    """`a, b and c`."""
    return last.join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
