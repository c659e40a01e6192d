"""Do positions that a mask marks as padding, or that fill up a batch of sequences, matter?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import all_layers, mask_of
from tfstiff.gradients.loss_checks import Outcome
from tfstiff.measuring.audit.checks import Found, check, failed, first_line, not_applicable, passed
from tfstiff.measuring.audit.subject import LOSS_BOUND, Subject

_NOISE = 3.0  # put in place of what stands at masked positions
_MORE = 2  # positions that are added
_REMEDY = (
    "Find the layer that drops or ignores the mask (supports_masking, mask= in call), or the reduction over positions "
    "that counts masked ones."
)


@check("mask", "Do masked positions matter?")
def mask(subject: Subject) -> Found:
    """Adds noise to what the layers that make masks put out where they mask it."""
    layers = _masking_layers(subject.model)
    if not layers:
        return not_applicable("No layer makes a mask.")
    counted: list[int] = []
    with _noise_where_masked(layers, counted):
        found = subject.outcome(*subject.tensors())
    if not sum(counted):
        return not_applicable("No position of these examples is masked.")
    if difference := subject.loss_difference(_losses(found), _losses(subject.base)):
        return failed(
            f"What stands at the {sum(counted)} masked positions changes losses (by {difference:.2g}, bound "
            f"{LOSS_BOUND:g}).",
            _REMEDY,
        )
    return passed(f"Noise at {sum(counted)} masked positions changes no loss.")


@check("length", "Do positions that fill up sequences matter?")
def length(subject: Subject) -> Found:
    """Adds positions with the mask's value behind every sequence, where the model takes any length."""
    layers = _masking_layers(subject.model)
    x, y = subject.x, subject.y
    shape = getattr(subject.model, "input_shape", None)
    is_free = isinstance(shape, tuple) and len(shape) > 1 and shape[1] is None
    if not layers or not is_free or not isinstance(x, np.ndarray) or x.ndim < 2 or x.dtype.kind not in "iuf":
        return not_applicable("The model does not take sequences of any length that it masks.")
    filler = getattr(layers[0], "mask_value", 0)
    longer_y = tf.nest.map_structure(
        lambda array: _longer(array, 0) if array.ndim > 1 and array.shape[1] == x.shape[1] else array, y
    )
    try:
        found = subject.outcome(*subject.as_tensors(_longer(x, filler), longer_y))
    except Exception as error:  # of any kind: a model may be made for lengths up to these
        return not_applicable(f"The model does not take longer sequences: {first_line(error)}")
    if difference := subject.loss_difference(_losses(found), _losses(subject.base)):
        return failed(
            f"{_MORE} masked positions more behind each sequence change losses (by {difference:.2g}, bound "
            f"{LOSS_BOUND:g}).",
            _REMEDY,
        )
    return passed(f"{_MORE} masked positions more behind each sequence change no loss.")


def _masking_layers(model: keras.Model) -> list[keras.Layer]:
    return [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)
    ]


def _losses(outcome: Outcome) -> Outcome:
    """Without the outputs, which may differ where they are masked."""
    return Outcome(outcome.losses, ())


def _longer(array: np.ndarray, filler: float) -> np.ndarray:
    behind = np.full((len(array), _MORE, *array.shape[2:]), filler, array.dtype)
    return np.concatenate([array, behind], axis=1)


@contextmanager
def _noise_where_masked(layers: list[keras.Layer], counted: list[int]) -> Iterator[None]:
    """Within it these layers put out noise where they mask; `counted` is added the number of such positions."""

    def noisy(layer: keras.Layer) -> Any:
        call = layer.call

        def changed(inputs: Any, *rest: Any, **options: Any) -> Any:
            output = call(inputs, *rest, **options)
            kept = mask_of(output)
            kept = layer.compute_mask(inputs) if kept is None else kept
            if kept is None or kept.shape.rank is None or kept.shape.rank >= output.shape.rank:
                return output
            counted.append(int(tf.reduce_sum(tf.cast(~kept, tf.int32))))
            kept = tf.reshape(kept, [*tf.shape(kept), *[1] * (output.shape.rank - kept.shape.rank)])
            noise = tf.random.stateless_normal(tf.shape(output), [0, 1], stddev=_NOISE)
            return tf.where(kept, output, tf.cast(noise, output.dtype))

        return changed

    for layer in layers:
        object.__setattr__(layer, "call", noisy(layer))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
