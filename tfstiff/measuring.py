"""One measurement: the gradients of a model on a probe, and the stiffness between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss import check_model, predict, resolve_loss
from tfstiff.gradients.plan import check_choices, plan_for
from tfstiff.probe import Arrays, Probe, ProbeHalf
from tfstiff.records import PAIR_SETS, HalfSummary, Measurement
from tfstiff.stiffness import pair_set_stiffness
from tfstiff.stiffness.estimate import check_critical_length
from tfstiff.stiffness.example_scores import example_scores
from tfstiff.stiffness.pairs import DistanceOptions
from tfstiff.summation.prepared import prepared
from tfstiff.summation.probe_pass import ProbePass
from tfstiff.summation.probe_sums import WHOLE
from tfstiff.summation.representations import representations

_METHODS_OF_PAIRS = ("first_crossing", "isotonic")  # for critical lengths: they, or their intervals, need every pair
_PROOF_EXAMPLES = 64  # of each half, from which the proof draws


def measure(  # noqa: PLR0913 - what is measured is chosen here, by name, one choice an argument
    model: keras.Model,
    probe: Probe,
    *,
    loss: Any = None,
    method: str = "auto",
    precision: str = "float32",
    pair_sets: Sequence[str] = PAIR_SETS,
    distance: str = "cosine",
    space: str = "input",
    distance_pairs: str = "within",
    distance_bins: str = "equal_width",
    critical_length_method: str = "linear",
    critical_length_metric: str = "cosine",
    per_layer: bool = False,
    keep_gram: bool = False,
    memory_limit: int | None = None,
) -> Measurement:
    """Measures the stiffness of `model` on `probe`.

    One pass over both halves of the probe gives all pair sets. The products of the gradients are added up a tile at a
    time, so that nothing grows as the square of the probe. The model is used in inference mode, without sample weights
    and without regularisation losses; nothing of it is changed.

    Args:
        model: A Keras model.
        probe: The examples.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        method: How gradients are computed; see `gradient_gram`.
        precision: In which gradients are computed, `"float32"`, `"float64"` or `"policy"`; see `gradient_gram`.
        pair_sets: Which of `"train_train"`, `"train_val"` and `"val_val"` to measure.
        distance: Between two examples: `"cosine"` (1 − cos), `"cosine_similarity"`, `"l1"` or `"l2"`.
        space: Where distances are measured: `"input"`, the name of a layer (its output), or `"all"`.
        distance_pairs: Pairs compared by distance: of the same class (`"within"`), of different ones (`"between"`), or
            `"all"`.
        distance_bins: Bins of `"equal_width"`, or `"quantile"`: of equally many pairs.
        critical_length_method: How ξ is found: `"linear"`, `"linear_binned"`, `"first_crossing"` or `"isotonic"`.
        critical_length_metric: The stiffness of which ξ is the zero: `"cosine"` or `"sign"`.
        per_layer: Whether to measure the gradients of each layer's weights by themselves too.
        keep_gram: Whether the measurement keeps the (n, n) products of all gradients.
        memory_limit: Bytes that the gradients may take; None means half of what is free. Where the features of all
            examples do not fit, they are computed again for each part of the pairs.

    Raises:
        InvalidInput: A choice is unknown, a label has no output, or the memory limit is too small for this model.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    options = check_options(
        method=method,
        precision=precision,
        pair_sets=pair_sets,
        distance=distance,
        distance_pairs=distance_pairs,
        distance_bins=distance_bins,
        critical_length_method=critical_length_method,
        critical_length_metric=critical_length_metric,
    )
    check_model(model, probe.train.x)
    check_labels(model, probe)
    count = len(probe.train) + len(probe.validation)
    sample = _sample(probe)
    plan = plan_for(model, *sample, loss=loss, method=method, precision=precision, num_examples=count)
    plan.prove(*sample)
    memory = plan.memory_for(count, memory_limit)
    ready = prepared(probe, memory.block_size)
    spaces = representations(model, probe, space)
    compared = {
        name: {pair_set: ready.compared(pair_set, vectors, options) for pair_set in pair_sets}
        for name, vectors in spaces.items()
    }
    found = ProbePass(
        plan,
        ready,
        memory,
        pair_sets,
        compared,
        per_layer=per_layer,
        keep_gram=keep_gram,
        keep_pairs_of=critical_length_metric if critical_length_method in _METHODS_OF_PAIRS else None,
    ).run()
    from_logits = resolve_loss(model, loss).from_logits

    def summary(half: ProbeHalf, place: int) -> HalfSummary:
        norms, losses, predictions = found.norms[place], found.losses[place], found.predictions[place]
        return HalfSummary(
            num_examples=len(half),
            loss=float(losses.mean(dtype=np.float64)),
            accuracy=_accuracy(half.classes, predictions, from_logits),
            num_zero_gradients=int((norms == 0).sum()),
            num_nonfinite=int((~np.isfinite(norms)).sum()),
            scores=example_scores(losses, norms, predictions, half.classes, from_logits=from_logits),
        )

    stiffness = {
        layer: {
            name: pair_set_stiffness(
                sums,
                has_classes=probe.num_classes is not None,
                critical_length_method=critical_length_method,
                critical_length_metric=critical_length_metric,
                distance=distance,
                pairs=found.pairs[layer][name] if found.pairs else None,
            )
            for name, sums in sets.items()
        }
        for layer, sets in found.pair_sets.items()
    }
    return Measurement(
        train=summary(probe.train, 0),
        validation=summary(probe.validation, 1),
        pair_sets=stiffness.pop(WHOLE),
        class_names=probe.class_names,
        method=method,
        layers=stiffness,
        gram=found.gram,
    )


def check_options(
    *,
    method: str = "auto",
    precision: str = "float32",
    pair_sets: Sequence[str] = PAIR_SETS,
    distance: str = "cosine",
    distance_pairs: str = "within",
    distance_bins: str = "equal_width",
    critical_length_method: str = "linear",
    critical_length_metric: str = "cosine",
    **others: Any,
) -> DistanceOptions:
    """Sees, before anything is computed, that the choices that `measure` offers are known.

    Returns:
        Those about distances.

    Raises:
        InvalidInput: One is not.
    """
    check_choices(method, precision)
    if isinstance(pair_sets, str) or not pair_sets or not set(pair_sets) <= set(PAIR_SETS):
        raise InvalidInput("Unknown pair sets.", expected=f"some of {', '.join(PAIR_SETS)}", received=pair_sets)
    check_critical_length(critical_length_method, critical_length_metric, distance)
    return DistanceOptions(distance, distance_pairs, distance_bins)


def _sample(probe: Probe) -> tuple[Arrays, Arrays]:
    """A few examples of both halves."""
    halves = ((half.x, half.y) for half in (probe.train, probe.validation))
    return keras.tree.map_structure(lambda *parts: np.concatenate([part[:_PROOF_EXAMPLES] for part in parts]), *halves)


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


def _accuracy(classes: np.ndarray | None, predictions: Any, from_logits: bool) -> float:
    """Share of examples classified rightly; NaN where predictions are not one vector of scores per example."""
    if classes is None or not isinstance(predictions, np.ndarray) or predictions.ndim > 2:
        return float("nan")
    scores = predictions.reshape(len(classes), -1)
    threshold = 0.0 if from_logits else 0.5
    chosen = scores[:, 0] > threshold if scores.shape[1] == 1 else scores.argmax(1)
    return float((chosen == classes).mean())
