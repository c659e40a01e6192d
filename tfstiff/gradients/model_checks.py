"""What a model does that its gradients cannot be told of, found while it is traced."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import lost_its_threads, variable_of
from tfstiff.errors import TfstiffError, UnsupportedModel


def refuse_forked() -> None:
    """Checks that TensorFlow can compute in this process.

    Raises:
        TfstiffError: It was forked from one in which TensorFlow ran.
    """
    if lost_its_threads():
        raise TfstiffError(
            "This process was forked from one in which TensorFlow ran, so that TensorFlow would wait for ever here.",
            expected="a process that starts TensorFlow itself",
            remedy='Start it anew: multiprocessing.get_context("spawn").',
        )


def refuse_assigned(scope: keras.StatelessScope, weights: Iterable[keras.Variable]) -> None:
    """Checks that the call within `scope` assigned to no trainable weight.

    What is assigned becomes part of the traced computation, so that it would be differentiated; in training it is not.

    Raises:
        UnsupportedModel: It did.
    """
    for weight in weights:
        if id(weight) in scope.state_mapping:
            raise UnsupportedModel(
                f"The model assigns to its trainable weight {weight.path} when it is called.",
                expected="a call that leaves trainable weights as they are",
                remedy="Compute with the changed value in place of assigning it, or assign after each step, with a "
                "constraint of the weight.",
            )


def warn_of_untracked(graph: tf.Graph, model: keras.Model) -> str | None:
    """Warns of TensorFlow variables that the losses may depend on and Keras does not know as weights.

    Returns:
        The sentence; None where there are none.
    """
    known = {id(weight.value) for weight in model.variables} | {id(variable_of(weight)) for weight in model.variables}
    others = {variable.name for variable in graph.trainable_variables if id(variable) not in known}
    if not others:
        return None
    text = (
        f"The losses depend on tf.Variables that Keras does not track: {', '.join(sorted(others))}. Neither does "
        "`fit` train them, nor are their gradients measured. Make them with `add_weight` to have them among the "
        "model's weights."
    )
    warnings.warn(text, stacklevel=2)
    return text


def refuse_outputs_by_batch(predict: Callable[[Any], Any], signature: Any) -> None:
    """Checks that an example's output has the same shape in batches of any size.

    Args:
        predict: The model as it is called.
        signature: Structure of `tf.TensorSpec` of its inputs.

    Raises:
        UnsupportedModel: It has not, as where the other examples of a batch are the negatives of each.
    """
    shapes = []
    for count in (2, 3):
        x = tf.nest.map_structure(lambda spec, n=count: tf.zeros([n, *spec.shape[1:]], spec.dtype), signature)
        try:
            outputs = tf.nest.flatten(predict(x))
        except Exception:  # what is wrong is not this
            return
        shapes.append([tuple(output.shape[1:]) for output in outputs if tf.is_tensor(output)])
    for two, three in zip(*shapes, strict=True):
        if two != three:
            raise UnsupportedModel(
                "The examples of a batch interact: the model's output for one example has an entry for each example of "
                "the batch, as with in-batch negatives.",
                expected="outputs of one shape, whatever the number of examples",
                received=f"outputs of shape {two} in a batch of 2 and {three} in a batch of 3",
                remedy="Measure with a loss that sets an example against fixed negatives of its own.",
            )
