"""Do results depend on the precision they are computed in?"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients.tracing import coarsest_dtype
from tfstiff.measuring.audit.checks import Found, check, failed, not_applicable, passed
from tfstiff.measuring.audit.subject import Subject

_BOUND = 5e-2  # of a gradient's length; rounding makes units fall on either side of their kinks
_SMALLEST_COSINE = 0.9  # of a gradient in half precision with itself
_LARGEST_SCALE = 2.0**15  # where Keras' scaling of losses begins
_TINY = 1e-30  # of the longest gradient: what is that short is zero


@check("precision", "Do gradients depend on float32 or float64?")
def precision(subject: Subject) -> Found:
    """Compares what is measured, in float32, with plain tapes in float64."""
    if subject.precision != "float64":
        return not_applicable("The model, or its loss, cannot be computed in float64.")
    single = _measured(subject)
    lost = _lost(single, subject.own_gradients)
    if lost:
        return failed(
            f"Of {subject.count} gradients {lost} are not finite, or zero, in float32, and not in float64.",
            'Measure with precision="float64", or compute in a way that neither overflows nor cancels.',
        )
    difference = subject.differences(single, subject.own_gradients).max()
    if difference > _BOUND:
        return failed(
            f"Gradients in float32 are off by {difference:.2g} of their lengths (bound {_BOUND:g}) from those in "
            f"float64, most at {subject.worst_weight(single, subject.own_gradients)}.",
            'Measure with precision="float64".',
        )
    return passed(f"float32 is within {difference:.1g} of float64.")


@check("half precision", "Do gradients survive the layers' half precision?")
def half_precision(subject: Subject) -> Found:
    """Compares tapes in the precision of the layers' policies, in which `fit` computes, with what is measured."""
    dtype = coarsest_dtype(subject.model)
    if dtype.size > tf.float16.size:
        return not_applicable("No layer computes in half precision.")
    scale = _scale_of_fit(subject.model)
    while True:
        found = subject.gradients_apart("policy", scale) / scale
        if np.isfinite(found).all() or scale <= 1:
            break
        scale /= 2  # as Keras does, after a step that it leaves out
    lost = _lost(found, subject.own_gradients)
    if lost:
        return failed(
            f"In {dtype.name}, in which fit computes, {lost} of {subject.count} gradients are zero or not finite; in "
            f"{subject.precision} they are not. What is measured is not what is trained.",
            "Scale the loss (keras.optimizers.LossScaleOptimizer), or train in mixed_bfloat16 or float32.",
        )
    cosines = _cosines(found, subject.own_gradients)
    if cosines.min() < _SMALLEST_COSINE:
        return failed(
            f"In {dtype.name}, in which fit computes, a gradient has a cosine of {cosines.min():.2g} with itself in "
            f"{subject.precision} (bound {_SMALLEST_COSINE:g}). What is measured is not what is trained.",
            "Scale the loss, or train in float32.",
        )
    return passed(f"In {dtype.name} gradients have cosines of at least {cosines.min():.3g} with what is measured.")


def _measured(subject: Subject) -> np.ndarray:
    """(n, P): gradients in float32, as they are measured; by tapes where rounding alone has the model refused."""
    try:
        return subject.measured.plan.gradients(*subject.tensors()).numpy().astype(np.float64)
    except UnsupportedModel:
        return subject.gradients_apart("float32")


def _scale_of_fit(model: keras.Model) -> float:
    """What `fit` multiplies the loss by before it is differentiated."""
    optimizer = getattr(model, "optimizer", None)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return min(_LARGEST_SCALE, float(optimizer.scale_loss(1.0)))
    return float(getattr(optimizer, "loss_scale_factor", None) or 1)


def _lost(found: np.ndarray, expected: np.ndarray) -> int:
    """How many gradients are zero or not finite, and should not be."""
    lengths = np.linalg.norm(expected, axis=1)
    is_there = np.isfinite(expected).all(1) & (lengths > _TINY * np.nan_to_num(lengths).max(initial=0))
    return int((is_there & ~(np.isfinite(found).all(1) & found.any(1))).sum())


def _cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    scale = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return np.divide((found * expected).sum(1), scale, out=np.ones_like(scale), where=np.isfinite(scale) & (scale > 0))
