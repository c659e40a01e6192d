"""The state of a training that Keras, Python and NumPy hold: taken, and put back bit for bit."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfstiff._keras import global_random_state, made_global_random_state
from tfstiff.errors import CheckpointCorrupt

_NUMPY_KEY, _GLOBAL_SEED = "numpy_random_key", "keras_random_state"


def take(model: keras.Model) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What determines how the training of `model` goes on, besides its data and callbacks.

    These are weights, other variables of layers (moving averages, the states of seed generators), the optimizer's
    variables, the running metrics of the epoch, and the random states of Keras, NumPy and Python. TensorFlow's own
    stateful random operations (`tf.random.normal`) keep theirs where nobody can read it: a layer that uses them, not
    `keras.random`, goes on with other numbers.

    Args:
        model: Compiled and built, in training.

    Returns:
        What is plain, as JSON can hold it, and the arrays by name.
    """
    arrays = {f"variables/{index:05d}": _array(variable) for index, variable in enumerate(_variables(model))}
    random_state = global_random_state()
    if random_state is not None:
        arrays[_GLOBAL_SEED] = _array(random_state)
    numpy_state = np.random.get_state(legacy=False)
    arrays[_NUMPY_KEY] = numpy_state["state"].pop("key")
    plain = {"python": random.getstate(), "numpy": numpy_state, "stop_training": bool(model.stop_training)}
    return plain, arrays


def build(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    """Makes the variables that Keras makes in the first step of training: those of the optimizer and the metrics.

    Args:
        model: Compiled.
        x: A few inputs.
        y: Their targets.
    """
    outputs = model(x, training=False)
    model.compute_loss(x, y, outputs)
    model.compute_metrics(x, y, outputs)
    model.optimizer.build(model.trainable_variables)


def put_back(model: keras.Model, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Brings `model`, and the random states of the process, to where `take` found them.

    Args:
        model: Built and compiled the same way, with all variables.
        plain: As `take` returned it, or as JSON gives it back.
        arrays: As `take` returned them.

    Raises:
        CheckpointCorrupt: They are of another model.
    """
    variables = _variables(model)
    stored = [array for name, array in sorted(arrays.items()) if name.startswith("variables/")]
    shapes = [array.shape for array in stored]
    if shapes != [tuple(variable.shape) for variable in variables]:
        raise CheckpointCorrupt(
            "The checkpoint does not fit the model.",
            expected=f"{len(variables)} variables of the model's shapes",
            received=shapes,
            remedy="Has the code that builds the model changed? Begin again in another folder.",
        )
    for variable, array in zip(variables, stored, strict=True):
        _assign(variable, array)
    if _GLOBAL_SEED in arrays:
        _assign(made_global_random_state(), arrays[_GLOBAL_SEED])
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    inner = {**plain["numpy"]["state"], "key": arrays[_NUMPY_KEY]}
    np.random.set_state({**plain["numpy"], "state": inner})
    model.stop_training = plain["stop_training"]


def metric_values(model: keras.Model) -> list[np.ndarray]:
    """The running metrics of the epoch, as `put_back_metrics` takes them."""
    return [_array(variable) for variable in model.metrics_variables]


def put_back_metrics(model: keras.Model, values: Sequence[np.ndarray]) -> None:
    """Sets the running metrics to what they were when `metric_values` returned `values`."""
    for variable, array in zip(model.metrics_variables, values, strict=True):
        _assign(variable, array)


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.metrics_variables, *model.optimizer.variables]


def _array(variable: keras.Variable) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(variable))
    # A type of its own, such as bfloat16, is unknown to the file format: its bits are kept.
    return array if array.dtype.isbuiltin else array.view(f"u{array.dtype.itemsize}")


def _assign(variable: keras.Variable, array: np.ndarray) -> None:
    wanted = np.asarray(keras.ops.convert_to_numpy(variable)).dtype
    variable.assign(array if wanted.isbuiltin else array.view(wanted))
