"""How hard single examples are: their losses, and GraNd and EL2N, by which data sets are pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfstiff.records.scores import ExampleScores, ExampleStiffness


def example_scores(
    losses: np.ndarray,
    gradient_norms: np.ndarray,
    predictions: Any,
    outputs: Any,
    *,
    scores: str | None,
    classes: np.ndarray | None = None,
    outputs_of_classes: np.ndarray | None = None,
    stiffness: Mapping[str, ExampleStiffness] | None = None,
) -> ExampleScores:
    """Losses, and the scores of Paul, Ganguli and Dziugaite 2021 ("Deep learning on a data diet", arXiv 2107.07075).

    GraNd, the gradient normed, is the expectation of |g| over random initialisations: average `gradient_norm` over
    several trainings. What it is said to find at initialisation did not reproduce (Kirsch 2023, arXiv 2303.14753); EL2N
    after some epochs did.

    Args:
        losses: (n,) loss of each example.
        gradient_norms: (n,) lengths of the gradients, NaN or infinite where they are not finite.
        predictions: The model's output.
        outputs: (n,) the output that stands for each example's class; None for regression targets.
        scores: What the predictions are: `logits`, `probabilities`, or something else.
        classes: (n,) class of each example; None for regression targets.
        outputs_of_classes: (C,) the output that stands for each class; None means 0 to C − 1.
        stiffness: With the examples of each half.
    """
    norms = np.asarray(gradient_norms, np.float64)
    probabilities = _probabilities(predictions, outputs, scores)
    margin = predicted = None
    if probabilities is not None:
        margin, chosen = _margin(probabilities, np.asarray(outputs))
        predicted = chosen if outputs_of_classes is None else _class_of(chosen, outputs_of_classes)
    return ExampleScores(
        loss=np.asarray(losses, np.float64),
        gradient_norm=np.where(np.isfinite(norms), norms, np.nan),
        el2n=el2n(predictions, outputs, scores),
        margin=margin,
        predicted=predicted,
        classes=None if classes is None else np.asarray(classes, np.int32),
        stiffness=stiffness or {},
    )


def el2n(predictions: Any, outputs: Any, scores: str | None) -> np.ndarray | None:
    """The length of the error of the predicted probabilities, `|p − e_y|₂`, (n,), from 0 to √2.

    Args:
        predictions: (n, C) scores of the classes, or (n, 1) or (n,) of the second of two classes.
        outputs: (n,) the output that stands for each example's class; None for regression targets.
        scores: What the predictions are: `logits`, `probabilities`, or something else.

    Returns:
        None where there are no classes, or predictions are not one logit or probability a class. NaN for examples whose
        scores are not finite.
    """
    error = _probabilities(predictions, outputs, scores)
    if error is None:
        return None
    error[np.arange(len(error)), np.asarray(outputs)] -= 1
    return np.sqrt((error**2).sum(1))


def _probabilities(predictions: Any, outputs: Any, scores: str | None) -> np.ndarray | None:
    """(n, C) float64 predicted probabilities, (n, 2) of one score; None, or NaN, as `el2n` says."""
    is_one_each = isinstance(predictions, np.ndarray) and predictions.ndim in (1, 2)
    if outputs is None or not is_one_each or scores not in ("logits", "probabilities"):
        return None
    largest = np.max(outputs, initial=0)
    values = predictions.reshape(len(outputs), -1).astype(np.float64)
    values = np.where(np.isfinite(values).all(1, keepdims=True), values, np.nan)
    if values.shape[1] == 1:
        if scores == "logits":
            values = np.hstack([_sigmoid(-values), _sigmoid(values)])
        else:
            values = np.hstack([1 - values, values])
    elif scores == "logits":
        values = _softmax(values)
    return values if largest < values.shape[1] else None


def _margin(probabilities: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Margins (n,) float32, NaN where not finite, and the output (n,) int32 with the largest score, −1 there."""
    is_finite = np.isfinite(probabilities).all(1)
    places = np.arange(len(outputs))
    others = probabilities.copy()
    others[places, outputs] = -np.inf
    margin = probabilities[places, outputs] - others.max(1)
    chosen = np.where(is_finite, np.where(is_finite[:, None], probabilities, 0).argmax(1), -1)
    return np.where(is_finite, margin, np.nan).astype(np.float32), chosen.astype(np.int32)


def _class_of(chosen: np.ndarray, outputs_of_classes: np.ndarray) -> np.ndarray:
    """(n,) int32: the class that each output stands for; −1 for those that stand for none."""
    size = max(int(outputs_of_classes.max(initial=0)), int(chosen.max(initial=0))) + 2
    classes = np.full(size, -1, np.int32)  # the last for −1
    classes[outputs_of_classes] = np.arange(len(outputs_of_classes))
    return classes[chosen]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))
