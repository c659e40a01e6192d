"""Labels beside the outputs of a model."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss import predict
from tfstiff.gradients.loss_kind import CLASSES, LOGITS, MARGINS, PROBABILITIES, LossKind, kind_of_scores
from tfstiff.gradients.objective import Objective
from tfstiff.measuring.probe import Probe

_SAID = {True: LOGITS, False: PROBABILITIES}  # by `from_logits`


def check_labels(model: keras.Model, probe: Probe, objective: Objective) -> None:
    """Checks that every label of a class has an output, where the loss is one of predictions.

    Args:
        model: A built Keras model.
        probe: The examples.
        objective: What is measured.

    Raises:
        InvalidInput: A label is as large as the number of outputs, or larger.
    """
    labels = [half.y for half in (probe.train, probe.validation)]
    if objective.loss is None or probe.num_classes is None:
        return
    kinds = "iuf" if objective.loss.kind.targets == CLASSES else "iu"  # whole numbers of whichever dtype
    if any(not isinstance(y, np.ndarray) or y.dtype.kind not in kinds or y.size != len(y) for y in labels):
        return
    outputs = _num_outputs(model, probe.train.x)
    largest = max(int(y.max(initial=0)) for y in labels)
    if outputs > 1 and largest >= outputs:
        raise InvalidInput("Labels are out of range for the model.", expected=f"0 to {outputs - 1}", received=largest)


def as_read(probe: Probe, objective: Objective) -> Probe:
    """The probe, its labels read as the loss takes them.

    Raises:
        InvalidInput: The loss takes classes, and the labels were not read as such.
    """
    return probe.read_for(None if objective.loss is None else objective.loss.kind.targets)


def _num_outputs(model: keras.Model, x: Any) -> int:
    """Length of the last axis of the model's output; 0 where there is none, or several outputs."""
    shape: Any = getattr(model, "output_shape", None)  # subclassed models have none
    if shape is None:
        one = keras.tree.map_structure(lambda array: tf.convert_to_tensor(array[:1]), x)
        shape = getattr(predict(model, one), "shape", ())
    last = shape[-1] if len(shape) else None
    return last if isinstance(last, int) else 0


def scores_of(
    model: keras.Model, objective: Objective, predictions: Any, from_logits: str | bool = "auto"
) -> str | None:
    """What the predictions are: `logits`, `probabilities`, `margins`, or None where it cannot be told.

    Args:
        model: The model.
        objective: What is measured.
        predictions: Of some examples.
        from_logits: True or False where the user says it; `"auto"` where the loss or the values are to.
    """
    if from_logits != "auto":
        return _SAID[bool(from_logits)]
    last = model.layers[-1] if model.layers else None
    has_sigmoid = getattr(last, "activation", None) is keras.activations.sigmoid
    kind = LossKind() if objective.loss is None else objective.loss.kind
    return kind_of_scores(kind, predictions, has_sigmoid=has_sigmoid)


def why_no_accuracy(outputs: np.ndarray | None, predictions: Any, scores: str | None) -> str | None:
    """The reason why there is no accuracy of classes; None where there is one, or neither classes nor predictions."""
    is_told = outputs is not None and len(keras.tree.flatten(predictions)) > 0
    if not is_told or not math.isnan(accuracy(outputs, predictions, scores)):
        return None
    if not isinstance(predictions, np.ndarray):
        return (
            "the model has several outputs. `accuracies` has those whose loss is one of classes; for EL2N measure an "
            "objective= that returns (losses, predictions of one of them)"
        )
    if predictions.ndim <= 2:
        return "whether the one output is a logit or a probability is not known; say from_logits=True or False"
    return f"the model's output for an example has the shape {predictions.shape[1:]}, which is no row of scores"


def accuracy(outputs: np.ndarray | None, predictions: Any, scores: str | None) -> float:
    """The share of examples classified rightly.

    Args:
        outputs: (n,) the output that stands for each example's class; None for regression targets.
        predictions: (n, C) scores, of which the largest is chosen; or (n, 1) or (n,), where the second class is chosen
            above 0 (logits and margins) or 1/2 (probabilities).
        scores: What the predictions are, as `scores_of` tells.

    Returns:
        NaN where predictions are not one vector of scores an example, or where the threshold of one score is not known.
    """
    if outputs is None or not isinstance(predictions, np.ndarray) or predictions.ndim > 2:
        return float("nan")
    values = predictions.reshape(len(outputs), -1)
    if values.shape[1] > 1:
        return float((values.argmax(1) == outputs).mean())
    threshold = {LOGITS: 0.0, MARGINS: 0.0, PROBABILITIES: 0.5}.get(str(scores))
    return float("nan") if threshold is None else float(((values[:, 0] > threshold) == outputs).mean())


def accuracies(objective: Objective, y: Any, predictions: Any, from_logits: str | bool = "auto") -> dict[str, float]:
    """Of a model of several outputs, the share classified rightly by each whose loss is one of classes, by its name.

    Args:
        objective: What is measured.
        y: Targets of all outputs, structured as `fit` takes them.
        predictions: Of all outputs; one array of a model of one.
        from_logits: As `scores_of` takes it.

    Returns:
        NaN where examples have not one class, or `accuracy` cannot be told.
    """
    if objective.loss is None or not keras.tree.is_nested(predictions):
        return {}
    found = {}
    for name, (kind, targets, output) in objective.loss.by_output(y, predictions).items():
        if kind.targets == CLASSES:
            output = np.asarray(output)
            scores = kind_of_scores(kind, output) if from_logits == "auto" else _SAID[bool(from_logits)]
            found[name] = accuracy(_single_classes(np.asarray(targets), output), output, scores)
    return found


def _single_classes(targets: np.ndarray, output: np.ndarray) -> np.ndarray | None:
    """(n,) the output that stands for the class of each example; None where one has not exactly one."""
    if targets.size == len(targets):  # with ±1, as of hinge, the class below is output 0
        return np.maximum(targets.reshape(-1), 0)
    if targets.ndim != 2 or targets.shape != output.shape:
        return None
    is_one_hot = ((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()
    return targets.argmax(1) if is_one_hot else None
