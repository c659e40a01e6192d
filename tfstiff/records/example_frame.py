"""One row for each example of a half of the probe, as a pandas data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.errors import Unavailable
from tfstiff.records.pair_set import METRICS
from tfstiff.records.scores import ExampleScores, ExampleStiffness

if TYPE_CHECKING:
    import pandas as pd


def example_frame(scores: ExampleScores | None, class_names: Sequence[str], *, by_class: bool = False) -> pd.DataFrame:
    """A row an example; `Measurement.examples` says which columns there are.

    Args:
        scores: Of one half of the probe.
        class_names: Names of the C classes; empty for regression targets.
        by_class: A row an example, half and class that it is compared with.

    Raises:
        Unavailable: There are no scores.
    """
    import pandas as pd

    if scores is None:
        raise Unavailable(
            "The measurement holds no scores of single examples.",
            remedy="Measure again: records of older versions of tfstiff lack them.",
        )
    if by_class:
        parts = [_by_class(half, found, scores, class_names) for half, found in scores.stiffness.items()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    columns: dict[str, Any] = {"example": np.arange(len(scores.loss))}
    if scores.classes is not None:
        columns["class"] = _named(scores.classes, class_names)
    if scores.predicted is not None:
        columns["predicted"] = _named(scores.predicted, class_names)
    for name in ("loss", "gradient_norm", "el2n", "margin"):
        if getattr(scores, name) is not None:
            columns[name] = getattr(scores, name)
    for half, found in scores.stiffness.items():
        columns |= _summary(half, found, scores.classes, class_names)
    return pd.DataFrame(columns)


def own_and_others(found: ExampleStiffness, classes: np.ndarray, metric: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Mean stiffness of examples with their own class and with others.

    Args:
        found: With the examples of one half.
        classes: (n,) class of each example.
        metric: `sign` or `cosine`.

    Returns:
        By name, mean (n,) and standard error (n,) float64: `own`; `others`, the mean of the means of all other classes;
        `closest`, the other class with the largest mean; `opposed`, the one with the smallest. Of the latter two also
        which class it is, (n,), −1 where there is none.
    """
    values = getattr(found, metric).astype(np.float64)
    errors = getattr(found, f"{metric}_se").astype(np.float64)
    places = np.arange(len(values))
    own = values[places, classes], errors[places, classes]
    values[places, classes] = np.nan
    known = np.isfinite(values)
    count = known.sum(1)
    exists = count > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values, 0).sum(1) / count
        error = np.sqrt(np.where(known, errors**2, 0).sum(1)) / count
    result: dict[str, tuple[np.ndarray, ...]] = {"own": own, "others": (mean, error)}
    for name, chosen in (
        ("closest", np.where(known, values, -np.inf).argmax(1)),
        ("opposed", np.where(known, values, np.inf).argmin(1)),
    ):
        result[name] = (
            np.where(exists, values[places, chosen], np.nan),
            np.where(exists, errors[places, chosen], np.nan),
            np.where(exists, chosen, -1),
        )
    return result


def _summary(
    half: str, found: ExampleStiffness, classes: np.ndarray | None, class_names: Sequence[str]
) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for metric in METRICS:
        if classes is None:
            columns[f"{metric}_all_{half}"] = getattr(found, metric)[:, 0]
            columns[f"{metric}_all_{half}_se"] = getattr(found, f"{metric}_se")[:, 0]
            continue
        parts = own_and_others(found, classes, metric)
        for name in ("own", "others", "closest", "opposed"):
            if len(parts[name]) > 2 and metric == "cosine":
                columns[f"{name}_class_{half}"] = _named(parts[name][2], class_names)
            if len(parts[name]) == 2 or metric == "cosine":
                columns[f"{metric}_{name}_{half}"], columns[f"{metric}_{name}_{half}_se"] = parts[name][:2]
    return columns


def _by_class(half: str, found: ExampleStiffness, scores: ExampleScores, class_names: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    size, num_classes = found.counts.shape
    columns: dict[str, Any] = {"example": np.repeat(np.arange(size), num_classes)}
    if scores.classes is not None:
        columns["class"] = np.repeat(_named(scores.classes, class_names), num_classes)
    columns["with_half"] = half
    if scores.classes is not None:
        columns["with_class"] = np.tile(_named(np.arange(num_classes), class_names), size)
    columns["num_others"] = found.counts.ravel()
    for name in (f"{metric}{end}" for metric in METRICS for end in ("", "_se")):
        columns[name] = getattr(found, name).ravel()
    return pd.DataFrame(columns)


def _named(classes: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """(n,) object: names of classes; None for those that have none, such as −1."""
    names = np.array([*map(str, class_names), None], object)
    inside = (classes >= 0) & (classes < len(class_names))
    return names[np.where(inside, classes, -1)]
