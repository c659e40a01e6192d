"""One measurement: the gradients of a model on a probe, and the stiffness between them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients import gradient_products
from tfstiff.gradients.loss import check_model, predict, resolve_loss
from tfstiff.probe import Probe, ProbeHalf
from tfstiff.records import HalfSummary, Measurement
from tfstiff.stiffness import pair_set_stiffness


def measure(
    model: keras.Model, probe: Probe, *, loss: Any = None, method: str = "auto", keep_gram: bool = False
) -> Measurement:
    """Measures the stiffness of `model` on `probe`.

    One pass over both halves of the probe gives all three pair sets. The model is used in inference mode, without
    sample weights and without regularisation losses; nothing of it is changed.

    Args:
        model: A Keras model.
        probe: The examples.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        method: How gradients are computed; see `gradient_gram`.
        keep_gram: Whether the measurement keeps the (n, n) products of all gradients.

    Raises:
        InvalidInput: The method is unknown, or a label has no output.
        UnsupportedModel: No loss, no trainable weights, several outputs, or examples that interact.
    """
    halves = (probe.train, probe.validation)
    x = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *(half.x for half in halves))
    y = np.concatenate([half.y for half in halves])
    check_model(model, x)
    check_labels(model, probe)
    products = gradient_products(model, x, y, loss=loss, method=method)
    first, second = slice(0, len(probe.train)), slice(len(probe.train), None)
    norms = np.sqrt(np.diag(products.gram))
    places = {"train_train": (first, first), "train_val": (first, second), "val_val": (second, second)}
    from_logits = bool(getattr(resolve_loss(model, loss), "from_logits", False))

    def summary(half: ProbeHalf, part: slice) -> HalfSummary:
        return HalfSummary(
            num_examples=len(half),
            loss=float(products.losses[part].mean(dtype=np.float64)),
            accuracy=_accuracy(half.classes, products.predictions[part], from_logits),
            num_zero_gradients=int((norms[part] == 0).sum()),
            num_nonfinite=int((~np.isfinite(norms[part])).sum()),
        )

    return Measurement(
        train=summary(probe.train, first),
        validation=summary(probe.validation, second),
        pair_sets={
            name: pair_set_stiffness(products.gram[rows, columns], norms[rows], norms[columns], probe.pairs[name])
            for name, (rows, columns) in places.items()
        },
        class_names=probe.class_names,
        method=method,
        gram=products.gram if keep_gram else None,
    )


def check_labels(model: keras.Model, probe: Probe) -> None:
    """Sees that every integer label has an output.

    Args:
        model: A built Keras model.
        probe: The examples.

    Raises:
        InvalidInput: A label is as large as the number of outputs, or larger.
    """
    labels = [half.y for half in (probe.train, probe.validation)]
    if any(y.dtype.kind not in "iu" or y.size != len(y) for y in labels):
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


def _accuracy(classes: np.ndarray | None, predictions: np.ndarray, from_logits: bool) -> float:
    """Share of examples classified rightly; NaN where predictions are not one vector of scores per example."""
    if classes is None or predictions.ndim > 2:
        return float("nan")
    scores = predictions.reshape(len(predictions), -1)
    threshold = 0.0 if from_logits else 0.5
    chosen = scores[:, 0] > threshold if scores.shape[1] == 1 else scores.argmax(1)
    return float((chosen == classes).mean())
