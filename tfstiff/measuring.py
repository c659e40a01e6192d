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
from tfstiff.records import HalfSummary, Measurement, PairSetStiffness
from tfstiff.stiffness import pair_set_stiffness


def measure(
    model: keras.Model,
    probe: Probe,
    *,
    loss: Any = None,
    method: str = "auto",
    precision: str = "float32",
    per_layer: bool = False,
    keep_gram: bool = False,
) -> Measurement:
    """Measures the stiffness of `model` on `probe`.

    One pass over both halves of the probe gives all three pair sets. The model is used in inference mode, without
    sample weights and without regularisation losses; nothing of it is changed.

    Args:
        model: A Keras model.
        probe: The examples.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        method: How gradients are computed; see `gradient_gram`.
        precision: In which gradients are computed, `"float32"`, `"float64"` or `"policy"`; see `gradient_gram`.
        per_layer: Whether to measure the gradients of each layer's weights by themselves too.
        keep_gram: Whether the measurement keeps the (n, n) products of all gradients.

    Raises:
        InvalidInput: The method or precision is unknown, or a label has no output.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    halves = (probe.train, probe.validation)
    x, y = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *((half.x, half.y) for half in halves))
    check_model(model, x)
    check_labels(model, probe)
    products = gradient_products(model, x, y, loss=loss, method=method, precision=precision, per_layer=per_layer)
    norms = np.sqrt(np.diag(products.gram))
    from_logits = resolve_loss(model, loss).from_logits

    def summary(half: ProbeHalf, part: slice) -> HalfSummary:
        return HalfSummary(
            num_examples=len(half),
            loss=float(products.losses[part].mean(dtype=np.float64)),
            accuracy=_accuracy(half.classes, products.predictions, part, from_logits),
            num_zero_gradients=int((norms[part] == 0).sum()),
            num_nonfinite=int((~np.isfinite(norms[part])).sum()),
        )

    return Measurement(
        train=summary(probe.train, slice(0, len(probe.train))),
        validation=summary(probe.validation, slice(len(probe.train), None)),
        pair_sets=_pair_sets(products.gram, probe),
        class_names=probe.class_names,
        method=method,
        layers={layer: _pair_sets(gram, probe) for layer, gram in products.layers.items()},
        gram=products.unscaled() if keep_gram else None,
    )


def _pair_sets(gram: np.ndarray, probe: Probe) -> dict[str, PairSetStiffness]:
    """The stiffness of each pair set from the products of all gradients, the training half first."""
    norms = np.sqrt(np.diag(gram))
    first, second = slice(0, len(probe.train)), slice(len(probe.train), None)
    places = {"train_train": (first, first), "train_val": (first, second), "val_val": (second, second)}
    return {
        name: pair_set_stiffness(gram[rows, columns], norms[rows], norms[columns], probe.pairs[name])
        for name, (rows, columns) in places.items()
    }


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


def _accuracy(classes: np.ndarray | None, predictions: Any, part: slice, from_logits: bool) -> float:
    """Share of examples classified rightly; NaN where predictions are not one vector of scores per example."""
    if classes is None or not isinstance(predictions, np.ndarray) or predictions.ndim > 2:
        return float("nan")
    scores = predictions[part].reshape(len(classes), -1)
    threshold = 0.0 if from_logits else 0.5
    chosen = scores[:, 0] > threshold if scores.shape[1] == 1 else scores.argmax(1)
    return float((chosen == classes).mean())
