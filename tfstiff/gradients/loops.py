"""What stands in the place of Keras' own loops over time while a model is traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfstiff._keras import loops_over_time
from tfstiff.gradients.recurrence import NotByRows, Tensors, held, kept, over_time, swapped


@contextmanager
def loops_by_rows() -> Iterator[None]:
    """Within it, Keras' loops are traced as plain operations, where that can be; not in eager execution."""
    replacements: dict[str, Callable[..., Any]] = {"rnn": rnn, "scan": scan}

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def loop(*arguments: Any, **options: Any) -> Any:
            if not tf.executing_eagerly():
                try:
                    return replacements[name](*arguments, **options)
                except NotByRows:
                    pass
            return original(*arguments, **options)

        return loop

    with loops_over_time(wrap):
        yield


def rnn(  # noqa: PLR0913 (the parameters are those of the function that it replaces)
    step_function: Callable[..., Any],
    inputs: Any,
    initial_states: Sequence[Any],
    go_backwards: bool = False,
    mask: tf.Tensor | None = None,
    constants: Sequence[tf.Tensor] | None = None,
    unroll: bool = False,
    input_length: Any = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, Any]:
    """As Keras' `rnn`, which every recurrent layer calls.

    Raises:
        NotByRows: The layer is to be unrolled, its number of steps is not known while tracing, or its cell is not one
            that `over_time` takes.
    """
    initial = tuple(initial_states)
    if unroll or tf.is_tensor(input_length) or not initial or (mask is not None and mask.shape.rank > 3):
        raise NotByRows
    sequences = keras.tree.flatten(inputs)
    length = sequences[0].shape[0 if time_major else 1]
    if not length:
        raise NotByRows
    if mask is not None:
        mask = tf.cast(mask if mask.shape.rank == 2 else mask[..., 0], tf.bool)
    if not time_major:
        sequences = [swapped(sequence) for sequence in sequences]
        mask = None if mask is None else swapped(mask)
    if go_backwards:
        sequences = [tf.reverse(sequence, [0]) for sequence in sequences]
        mask = None if mask is None else tf.reverse(mask, [0])
    structure: list[Any] = []

    def step(row_inputs: Tensors, row_states: Tensors, row_constants: Tensors) -> tuple[Tensors, Tensors]:
        states = keras.tree.pack_sequence_as(initial, list(row_states))
        output, new = step_function(keras.tree.pack_sequence_as(inputs, list(row_inputs)), (*states, *row_constants))
        structure[:] = [output]
        return keras.tree.flatten(output), keras.tree.flatten(new)

    states = keras.tree.flatten(initial)
    found, final = over_time(step, sequences, states, length, mask=mask, constants=constants or ())
    outputs = [swapped(values) for values in found]
    if mask is not None:
        outputs = [(kept if zero_output_for_mask else held)(values, swapped(mask)) for values in outputs]
    last = [values[:, -1] for values in outputs]
    if not return_all_outputs:
        outputs = [values[:, None] for values in last]
    if time_major:
        outputs = [swapped(values) for values in outputs]
    last, outputs = (keras.tree.pack_sequence_as(structure[0], values) for values in (last, outputs))
    return last, outputs, keras.tree.pack_sequence_as(initial, final)


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """As `keras.ops.scan`.

    Raises:
        NotByRows: There are many steps, of which the number is not known while tracing; or `f` takes more than a carry
            and inputs that have the examples on their first axis, or does not treat every example alone.
    """
    initial = [tf.convert_to_tensor(state) for state in keras.tree.flatten(init)]
    sequences = [tf.convert_to_tensor(sequence) for sequence in keras.tree.flatten(xs)] if xs is not None else []
    steps = length if length is not None else sequences[0].shape[0]
    if not steps or not initial:
        raise NotByRows
    order = [0] if reverse else []

    def step(row_inputs: Tensors, row_states: Tensors, _: Tensors) -> tuple[Tensors, Tensors]:
        inputs = None if xs is None else keras.tree.pack_sequence_as(xs, list(row_inputs))
        try:
            carry, output = f(keras.tree.pack_sequence_as(init, list(row_states)), inputs)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:  # of another shape than a step's
            raise NotByRows from error
        outputs = [tf.zeros_like(state) for state in row_states] if output is None else keras.tree.flatten(output)
        return outputs, keras.tree.flatten(carry)

    found, final = over_time(step, [tf.reverse(sequence, order) for sequence in sequences], initial, steps)
    outputs = [tf.reverse(values, order) for values in found]
    return keras.tree.pack_sequence_as(init, final), keras.tree.pack_sequence_as(init, outputs)
