"""What a loss says about targets and predictions: whether targets are classes, and what the predicted scores are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

CLASSES, NUMBERS = "classes", "numbers"
LOGITS, PROBABILITIES, MARGINS = "logits", "probabilities", "margins"

_OF_PROBABILITIES = (  # unless from_logits says otherwise
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "sparse_categorical_crossentropy",
    "kl_divergence",
)
_OF_MARGINS = ("hinge", "squared_hinge", "categorical_hinge")
_OF_NUMBERS = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
    "cosine_similarity",
)
_SUM_TO_ONE = 1e-3  # probabilities in bfloat16 add up to 1 within so much


@dataclass(frozen=True)
class LossKind:
    """What a loss says.

    Attributes:
        targets: `classes`, `numbers`, or None where the loss is not known.
        scores: What predictions are to it: `logits`, `probabilities`, `margins` (of hinge), or None.
    """

    targets: str | None = None
    scores: str | None = None


def loss_kind(loss: Any) -> LossKind:
    """What one loss says: a Keras loss or its function, `functools.partial` of one, or one of `tf.nn`."""
    from_logits = getattr(loss, "from_logits", None)
    function = getattr(loss, "fn", loss)
    while isinstance(function, functools.partial):
        from_logits = function.keywords.get("from_logits", from_logits)
        function = function.func
    name = getattr(function, "__name__", "")
    if "_with_logits" in name:
        return LossKind(CLASSES, LOGITS)
    if name in _OF_PROBABILITIES:
        return LossKind(CLASSES, LOGITS if from_logits else PROBABILITIES)
    if name in _OF_MARGINS:
        return LossKind(CLASSES, MARGINS)
    if name in _OF_NUMBERS:
        return LossKind(NUMBERS)
    return LossKind(None, LOGITS if from_logits else None)


def kind_of_scores(kind: LossKind, predictions: Any, *, has_sigmoid: bool = False) -> str | None:
    """What the predictions are, from the loss and, where that does not say, from their values.

    Rows that are not negative and add up to 1 are probabilities; values outside of 0 to 1 are logits. Of one score an
    example, values between 0 and 1 are probabilities where they come out of a sigmoid, and else not known.

    Args:
        kind: What the loss says.
        predictions: (n, C), (n, 1) or (n,).
        has_sigmoid: Whether the model ends in a sigmoid.

    Returns:
        `logits`, `probabilities`, `margins`, or None where it cannot be told.
    """
    if kind.scores is not None or not isinstance(predictions, np.ndarray):
        return kind.scores
    scores = predictions.reshape(len(predictions), -1)
    finite = scores[np.isfinite(scores).all(1)]
    if not len(finite):
        return None
    if finite.min() < 0 or finite.max() > 1:
        return LOGITS
    if scores.shape[1] > 1:
        return PROBABILITIES if np.abs(finite.sum(1) - 1).max() < _SUM_TO_ONE else None
    return PROBABILITIES if has_sigmoid else None
