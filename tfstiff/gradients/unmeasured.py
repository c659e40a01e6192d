"""What `fit` minimises and a loss of predictions does not say."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfstiff.gradients.loss import predict

_OVERRIDABLE = ("compute_loss", "train_step")


def left_out(model: keras.Model, x: Any) -> list[str]:
    """Names what `fit` minimises beside the compiled loss, but for the regularisation of weights. Changes nothing.

    Args:
        model: A built Keras model.
        x: Inputs, first axis the examples, of which the first is tried.

    Returns:
        One phrase for each: an overridden `compute_loss` or `train_step`, terms of `add_loss`.
    """
    found = []
    for name in _OVERRIDABLE:
        method = getattr(type(model), name)
        if method is not getattr(keras.Model, name) and not str(method.__module__).startswith("keras"):
            found.append(f"the {name} that {method.__qualname__.rpartition('.')[0]} defines")
    try:
        with keras.StatelessScope(collect_losses=True) as scope:
            predict(model, tf.nest.map_structure(lambda array: tf.convert_to_tensor(array[:1]), x))
    except (ValueError, TypeError, tf.errors.OpError):  # not of one example; what is wrong is told where it is traced
        return found
    if scope.losses:
        count = len(scope.losses)
        found.append(f"{count} term{'s' if count > 1 else ''} of add_loss or of activity regularisers")
    return found
