"""How hard single examples are: their losses, and GraNd and EL2N, by which data sets are pruned."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfstiff.records.scores import ExampleScores


def example_scores(
    losses: np.ndarray, gradient_norms: np.ndarray, predictions: Any, outputs: Any, *, scores: str | None
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
    """
    norms = np.asarray(gradient_norms, np.float64)
    return ExampleScores(
        loss=np.asarray(losses, np.float64),
        gradient_norm=np.where(np.isfinite(norms), norms, np.nan),
        el2n=el2n(predictions, outputs, scores),
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
    is_one_each = isinstance(predictions, np.ndarray) and predictions.ndim in (1, 2)
    if outputs is None or not is_one_each or scores not in ("logits", "probabilities"):
        return None
    outputs = np.asarray(outputs)
    values = predictions.reshape(len(outputs), -1).astype(np.float64)
    values = np.where(np.isfinite(values).all(1, keepdims=True), values, np.nan)
    if values.shape[1] == 1:  # both probabilities differ by as much
        probability = _sigmoid(values[:, 0]) if scores == "logits" else values[:, 0]
        return np.sqrt(2) * np.abs(probability - outputs) if outputs.max(initial=0) < 2 else None
    if outputs.max(initial=0) >= values.shape[1]:
        return None
    error = _softmax(values) if scores == "logits" else values
    error[np.arange(len(outputs)), outputs] -= 1
    return np.sqrt((error**2).sum(1))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))
