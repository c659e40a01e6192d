"""Recurrence without unrolling: what a layer computes step by step, laid out so that the rules see plain operations.

A layer that steps through T times hides its weights in a loop. Here the same numbers come about in three parts:

1. a loop forwards, for the states before each step, without gradients;
2. one application of the step to all rows (example, time) at once, with these states taken as given: here the weights
   meet examples, in operations with T positions;
3. an identity behind it whose gradient is a loop backwards through time. Where o_t is the output of step t, s_t the
   state after it, and J the step's own vector-Jacobian product with respect to the state before it,
   `∂L/∂s_{t-1} = J(∂L/∂o_t, ∂L/∂s_t)`. So each row receives the whole gradient of its new state, as if the rows were
   not connected, and nothing but the rows grows with T.

A step under a mask leaves the state as it is: its row receives nothing, and `∂L/∂s_{t-1} = ∂L/∂s_t`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfstiff._keras import quietly_traced

Tensors = Sequence[tf.Tensor]
# (inputs, states, constants) -> outputs, new states
Step = Callable[[Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]

_FEW = 4  # steps that are traced no slower, and run faster, one after the other
_MANY = 64  # steps that are too many to be traced one after the other: the trace takes seconds for each ten


class NotByRows(Exception):
    """A step cannot be applied to the rows of all times at once, and there are too many steps to unroll."""


def over_time(
    step: Step,
    sequences: Tensors,
    initial: Tensors,
    length: int,
    *,
    mask: tf.Tensor | None = None,
    constants: Tensors = (),
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Applies `step` `length` times, each time to the states that it returned the time before.

    Args:
        step: What is done at one time, to every example alone: the first axis of what it takes and returns is theirs.
        sequences: Its inputs, (T, n, ...) each.
        initial: The states before the first step, (n, ...) each.
        length: T.
        mask: (T, n), boolean: False where the states stay as they are. The outputs there are those of the step.
        constants: What it is given at all times alike, (n, ...) each.

    Returns:
        The outputs, (T, n, ...) each, and the states after the last step.

    Raises:
        NotByRows: There are many steps, and not all outputs and states are floating-point numbers with the examples on
            their first axis, or the step takes more from the examples than it is given.
    """
    if length > _FEW:
        try:
            return _by_rows(step, sequences, initial, length, mask, constants)
        except NotByRows:
            if length > _MANY:
                raise
    found: list[Tensors] = []
    states = list(initial)
    for time in range(length):
        outputs, new = step([sequence[time] for sequence in sequences], states, constants)
        found.append(outputs)
        states = list(new) if mask is None else _where_stepped(mask[time], new, states)
    return [tf.stack(parts) for parts in zip(*found, strict=True)], states


def _by_rows(
    step: Step, sequences: Tensors, initial: Tensors, length: int, mask: tf.Tensor | None, constants: Tensors
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """As `over_time`, with one application of the step to all rows."""
    count = initial[0].shape[0] if initial[0].shape.rank else 0
    _check_rows(initial, count)
    if any(sequence.shape.rank < 2 or sequence.shape[1] != count for sequence in sequences):
        raise NotByRows
    single = _SingleStep(step, sequences, initial, constants)
    before, final = _forwards(single, sequences, initial, length, mask)
    outputs, new = step(
        [_rows(sequence) for sequence in sequences],
        [_rows(states) for states in before],
        [tf.repeat(constant, length, 0) for constant in constants],
    )
    _check_rows((*outputs, *new), None if count is None else count * length)
    outputs, new = ([tf.reshape(part, [-1, length, *part.shape[1:]]) for part in parts] for parts in (outputs, new))
    num_outputs = len(outputs)

    @tf.custom_gradient
    def through_time(*tensors: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., list[tf.Tensor | None]]]:
        def gradient(*received: tf.Tensor) -> list[tf.Tensor | None]:
            of_outputs, of_final = received[:num_outputs], received[num_outputs:]
            of_new, of_initial = _backwards(single, sequences, before, of_outputs, of_final, mask)
            return [*of_outputs, *of_new, *of_initial, *([None] * len(final))]

        return [tf.identity(tensor) for tensor in (*tensors[:num_outputs], *tensors[-len(final) :])], gradient

    found = through_time(*outputs, *new, *initial, *final)
    return [swapped(values) for values in found[:num_outputs]], found[num_outputs:]


def kept(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """`values`, (n, T, ...), where `mask`, (n, T), is True; else zeros."""
    return tf.where(_like(mask, values), values, tf.zeros_like(values))


def held(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """(n, T, ...): at each time the value of the last time, up to it, at which `mask`, (n, T), is True; else zeros."""
    length = values.shape[1]
    last = tf.where(mask, tf.range(length), -1)
    reach = 1
    while reach < length:
        last = tf.maximum(last, tf.pad(last[:, :-reach], [[0, 0], [reach, 0]], constant_values=-1))
        reach *= 2
    found = tf.gather(values, tf.maximum(last, 0), batch_dims=1)
    return kept(found, last >= 0)


class _SingleStep:
    """The step at one time, and its vector-Jacobian product with respect to the states, traced.

    Both are traced at once: by the time that gradients are taken, what the model is traced in is gone.

    Raises:
        NotByRows: The step takes more from the examples than it is given, or what it returns are not rows.
    """

    def __init__(self, step: Step, sequences: Tensors, initial: Tensors, constants: Tensors) -> None:
        def forwards(inputs: Tensors, states: Tensors) -> tuple[Tensors, Tensors]:
            return step(inputs, states, constants)

        def backwards(inputs: Tensors, states: Tensors, of_outputs: Tensors, of_new: Tensors) -> Tensors:
            outputs, new = step(inputs, states, constants)
            zero = tf.UnconnectedGradients.ZERO
            return tf.gradients([*outputs, *new], states, [*of_outputs, *of_new], unconnected_gradients=zero)

        inputs = [tf.TensorSpec(sequence.shape[1:], sequence.dtype) for sequence in sequences]
        states = [tf.TensorSpec(state.shape, state.dtype) for state in initial]
        self.forwards = quietly_traced(forwards).get_concrete_function(inputs, states)
        given = {id(constant) for constant in constants}
        captured = [tensor for tensor in self.forwards.captured_inputs if id(tensor) not in given]
        if any(tensor.dtype != tf.resource and not tensor.shape.is_fully_defined() for tensor in captured):
            raise NotByRows
        outputs, new = (
            [tf.TensorSpec(part.shape, part.dtype) for part in parts] for parts in self.forwards.structured_outputs
        )
        _check_rows((*outputs, *new), initial[0].shape[0])
        if new != states:
            raise NotByRows
        self.backwards = quietly_traced(backwards).get_concrete_function(inputs, states, outputs, new)


def _forwards(
    single: _SingleStep, sequences: Tensors, initial: Tensors, length: int, mask: tf.Tensor | None
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """The states before each step, (T, n, ...) each, and those after the last. No gradient passes through them."""
    reads = [_array(sequence) for sequence in sequences]
    read_mask = None if mask is None else _array(mask)
    written = [tf.TensorArray(state.dtype, length, element_shape=state.shape) for state in initial]

    def body(time: tf.Tensor, written: list[tf.TensorArray], states: list[tf.Tensor]) -> Any:
        written = [array.write(time, state) for array, state in zip(written, states, strict=True)]
        _, new = single.forwards([read.read(time) for read in reads], states)
        if read_mask is not None:
            new = _where_stepped(read_mask.read(time), new, states)
        return time + 1, written, list(new)

    _, written, final = tf.while_loop(
        lambda time, *_: time < length, body, (0, written, list(initial)), maximum_iterations=length
    )
    return [tf.stop_gradient(array.stack()) for array in written], [tf.stop_gradient(state) for state in final]


def _backwards(
    single: _SingleStep,
    sequences: Tensors,
    before: Tensors,
    of_outputs: Tensors,
    of_final: Tensors,
    mask: tf.Tensor | None,
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """The whole gradients of the new states of all steps, (n, T, ...) each, and those of the initial states.

    `of_outputs` are the gradients of the outputs, (n, T, ...) each, `of_final` those of the last states; inputs, states
    and mask come time first.
    """
    length = before[0].shape[0]
    read_inputs, read_states, read_outputs = (
        [_array(tensor) for tensor in tensors] for tensors in (sequences, before, map(swapped, of_outputs))
    )
    read_mask = None if mask is None else _array(mask)
    written = [tf.TensorArray(part.dtype, length, element_shape=part.shape) for part in of_final]

    def body(time: tf.Tensor, written: list[tf.TensorArray], later: list[tf.Tensor]) -> Any:
        inputs, states, outputs = (
            [read.read(time) for read in reads] for reads in (read_inputs, read_states, read_outputs)
        )
        if read_mask is None:
            of_new, earlier = later, list(single.backwards(inputs, states, outputs, later))
        else:
            steps = read_mask.read(time)
            of_new = [kept(part, steps) for part in later]
            earlier = [
                part + kept(old, ~steps)
                for part, old in zip(single.backwards(inputs, states, outputs, of_new), later, strict=True)
            ]
        written = [array.write(time, part) for array, part in zip(written, of_new, strict=True)]
        return time - 1, written, earlier

    _, written, of_initial = tf.while_loop(
        lambda time, *_: time >= 0, body, (length - 1, written, list(of_final)), maximum_iterations=length
    )
    return [swapped(array.stack()) for array in written], list(of_initial)


def _check_rows(tensors: Tensors, count: int | None) -> None:
    if not all(tensor.dtype.is_floating and tensor.shape.rank and tensor.shape[0] == count for tensor in tensors):
        raise NotByRows


def _where_stepped(mask: tf.Tensor, new: Tensors, old: Tensors) -> list[tf.Tensor]:
    return [tf.where(_like(mask, state), state, before) for state, before in zip(new, old, strict=True)]


def _array(tensor: tf.Tensor) -> tf.TensorArray:
    return tf.TensorArray(tensor.dtype, tensor.shape[0], element_shape=tensor.shape[1:]).unstack(tensor)


def _rows(by_time: tf.Tensor) -> tf.Tensor:
    """From (T, n, ...) to (n · T, ...): the times of an example lie side by side."""
    return tf.reshape(swapped(by_time), [-1, *by_time.shape[2:]])


def swapped(tensor: tf.Tensor) -> tf.Tensor:
    """The same with its first two axes, examples and time, in the other order."""
    return tf.transpose(tensor, [1, 0, *range(2, tensor.shape.rank)])


def _like(mask: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The mask with further axes, so that it spreads over those of `values`."""
    for _ in range(values.shape.rank - mask.shape.rank):
        mask = mask[..., None]
    return mask
