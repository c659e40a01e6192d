"""Labels beside the outputs of a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss import predict
from tfstiff.measuring.probe import Probe


def check_labels(model: keras.Model, probe: Probe) -> None:
    """Sees that every integer label has an output.

    Args:
        model: A built Keras model.
        probe: The examples.

    Raises:
        InvalidInput: A label is as large as the number of outputs, or larger.
    """
    labels = [half.y for half in (probe.train, probe.validation)]
    if any(not isinstance(y, np.ndarray) or y.dtype.kind not in "iu" or y.size != len(y) for y in labels):
        return
    outputs = _num_outputs(model, probe.train.x)
    largest = max(int(y.max()) for y in labels)
    if outputs > 1 and largest >= outputs:
        raise InvalidInput("Labels are out of range for the model.", expected=f"0 to {outputs - 1}", received=largest)


def _num_outputs(model: keras.Model, x: Any) -> int:
    """Length of the last axis of the model's output; 0 where there is none, or several outputs."""
    shape: Any = getattr(model, "output_shape", None)  # subclassed models have none
    if shape is None:
        one = keras.tree.map_structure(lambda array: tf.convert_to_tensor(array[:1]), x)
        shape = getattr(predict(model, one), "shape", ())
    last = shape[-1] if len(shape) else None
    return last if isinstance(last, int) else 0


def accuracy(classes: np.ndarray | None, predictions: Any, from_logits: bool) -> float:
    """Share of examples classified rightly; NaN where predictions are not one vector of scores per example."""
    if classes is None or not isinstance(predictions, np.ndarray) or predictions.ndim > 2:
        return float("nan")
    scores = predictions.reshape(len(classes), -1)
    threshold = 0.0 if from_logits else 0.5
    chosen = scores[:, 0] > threshold if scores.shape[1] == 1 else scores.argmax(1)
    return float((chosen == classes).mean())
