"""Differences between measurements of the same examples, with errors that know that they are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.records import METRICS, ClassStiffness, Measurement
from tfstiff.stiffness.intervals import interval

QUANTITIES = ("within", "between", "contrast")


@dataclass(frozen=True)
class Contrast:
    """A difference between two estimates.

    Attributes:
        value: The second less the first.
        se: Its standard error.
        z: `value / se`; NaN where nothing varies.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
    """

    value: float
    se: float
    z: float
    low: float
    high: float


def paired_contrast(
    first: Measurement,
    second: Measurement,
    quantity: str = "within",
    *,
    metric: str = "cosine",
    pair_set: str = "train_val",
    second_pair_set: str | None = None,
    layer: str | None = None,
) -> Contrast:
    """How much a mean has changed between two measurements of one probe, or differs between two pair sets.

    Both are means over the same examples, so that much of their errors is the same and cancels. Each example's
    influence on the difference is the difference of its influences; their squares sum to the variance, to first order.
    The noise of pairs that both have counts twice in it, so that the error is rather too large than too small. It is
    an error of the draw of the probe: what another training would give is another question, which takes other seeds.

    Args:
        first: A measurement.
        second: Another one, of the same probe; or the same again, to compare pair sets.
        quantity: `within`, `between`, or `contrast` (within less between).
        metric: `sign` or `cosine`.
        pair_set: `train_train`, `train_val` or `val_val`.
        second_pair_set: The pair set of the second one; None means the same.
        layer: The path of a layer that was measured by itself; None means the whole model.

    Raises:
        InvalidInput: A name is unknown, there are no classes, or the probes differ in size.
    """
    for name, value, known in (("quantity", quantity, QUANTITIES), ("metric", metric, METRICS)):
        if value not in known:
            raise InvalidInput(f"Unknown {name}.", expected=" | ".join(known), received=value)
    sizes = [(one.train.num_examples, one.validation.num_examples) for one in (first, second)]
    if sizes[0] != sizes[1]:
        raise InvalidInput("The measurements are not of the same probe.", expected=f"{sizes[0]}", received=sizes[1])
    names = (pair_set, second_pair_set or pair_set)
    found = [_by_class(one, name, metric, layer) for one, name in zip((first, second), names, strict=True)]
    influences = [_influence(one, name, quantity, sizes[0]) for one, name in zip(found, names, strict=True)]
    change = influences[1] - influences[0]
    value = getattr(found[1], quantity) - getattr(found[0], quantity)
    has_error = all(np.isfinite(getattr(one, f"{quantity}_se")) for one in found)
    se = float(np.sqrt(change @ change)) if has_error else float("nan")
    low, high = interval(value, se, min(getattr(one, f"{quantity}_df") for one in found))
    return Contrast(float(value), se, float(value / se) if se > 0 else float("nan"), float(low), float(high))


def _by_class(measurement: Measurement, pair_set: str, metric: str, layer: str | None) -> ClassStiffness:
    if layer is not None and layer not in measurement.layers:
        raise InvalidInput(
            "There is no such layer.",
            expected=" | ".join(measurement.layers) or "a measurement with per_layer=True",
            received=layer,
        )
    pair_sets = measurement.pair_sets if layer is None else measurement.layers[layer]
    if pair_set not in pair_sets:
        raise InvalidInput("There is no such pair set.", expected=" | ".join(pair_sets), received=pair_set)
    by_class = getattr(pair_sets[pair_set], metric)
    if by_class is None:
        raise InvalidInput("Regression targets have no classes to compare within and between.")
    return by_class


def _influence(by_class: ClassStiffness, pair_set: str, quantity: str, sizes: tuple[int, int]) -> np.ndarray:
    """(n + m,) float64 influences of all examples of the probe, the training half first."""
    within, between = (getattr(by_class, f"{kind}_influence").astype(np.float64) for kind in ("within", "between"))
    influence = {"within": within, "between": between, "contrast": within - between}[quantity]
    train, validation = sizes
    before, after = {"train_train": (0, validation), "train_val": (0, 0), "val_val": (train, 0)}[pair_set]
    return np.pad(influence, (before, after))
