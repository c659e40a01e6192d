"""Rules: for one TensorFlow operation, the per-example gradient of a weight among its inputs. One family a file.

A rule is a function `rule(use) -> Outer | Lookup | Tensor` registered for the operation's type:

    @register("MyScale")                                  # y = scale * x, with x (n, d) and scale (d,)
    def my_scale(use):
        return use.output_gradient * use.data           # (n, d)

It may return the gradients formed, (n, *weight.shape), or factors of them. What it returns is proved against
one-example gradients when the model is first measured; a rule need only raise `NoRule` where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.factors import Factor
from tfstiff.gradients.owners import Place


class NoRule(Exception):
    """This use is of a kind for which there is no rule; its message is the reason."""


@dataclass(frozen=True)
class Use:
    """An operation at which a weight (or a tensor computed from weights alone) meets example data.

    Attributes:
        operation: The operation in the traced graph, with one output.
        operand: Which of its inputs the weight is.
        output_gradient: Gradient of the summed losses with respect to the operation's output.
        num_examples: Scalar int32 tensor: n.
        weight_shape: Shape of the weight; of the variable itself where the operand is its handle.
        place: Where the examples are in the output.
    """

    operation: tf.Operation
    operand: int
    output_gradient: tf.Tensor
    num_examples: tf.Tensor
    weight_shape: tuple[int, ...]
    place: Place

    @property
    def weight(self) -> tf.Tensor:
        """The batch-free operand."""
        return self.operation.inputs[self.operand]

    @property
    def data(self) -> tf.Tensor:
        """The other operand of an operation of two."""
        if len(self.operation.inputs) != 2:
            raise NoRule(f"{self.operation.type} has {len(self.operation.inputs)} operands")
        return self.operation.inputs[1 - self.operand]

    @property
    def output(self) -> tf.Tensor:
        """The operation's output."""
        return self.operation.outputs[0]

    def count_beside(self, *sizes: int) -> int | tf.Tensor:
        """The size of the examples' axis in a shape beside `sizes`: -1, which traces faster, unless one is 0."""
        return -1 if all(sizes) else self.num_examples

    def by_example(self, values: tf.Tensor, axis: int | None = None) -> tf.Tensor:
        """Brings the example axis to the front: (n, *before, T, *behind), T the entries that share it with them.

        Args:
            values: Has the examples as the output has them.
            axis: On which axis; None means that of the output.

        Raises:
            NoRule: A size is not known while tracing.
        """
        axis = self.place.axis if axis is None else axis
        sizes = values.shape.as_list()
        before, behind = sizes[:axis], sizes[axis + 1 :]
        if None in before or None in behind:
            raise NoRule(f"{self.operation.type} of a shape that is not known while tracing")
        slower, faster = self.place.before, self.place.after
        count = self.count_beside(*before, slower, faster, *behind)
        if axis > 0 or slower > 1:
            values = tf.reshape(values, [*before, slower, count, faster, *behind])
            order = [axis + 1, *range(axis + 1), *range(axis + 2, len(sizes) + 2)]
            values = tf.transpose(values, order)
        return tf.reshape(values, [count, *before, slower * faster, *behind])

    def sum_over_rows(self, gradients: tf.Tensor) -> tf.Tensor:
        """From gradients of single rows of the first axis, (rows, ...), to (n, ...).

        Raises:
            NoRule: The examples are on another axis.
        """
        place = self.place
        if place.axis != 0:
            raise NoRule(f"{self.operation.type} with the examples on another axis than the first")
        if place.before == place.after == 1:
            return gradients
        behind = gradients.shape[1:]
        shape = [place.before, self.count_beside(place.before, place.after, *behind), place.after, *behind]
        return tf.reduce_sum(tf.reshape(gradients, shape), [0, 2])


Rule = Callable[[Use], Factor]

_RULES: dict[str, Rule] = {}


def register(*operation_types: str, overwrite: bool = False) -> Callable[[Rule], Rule]:
    """Decorator: registers a rule for TensorFlow operations by their type names (`MatMul`, `Conv2D`, …).

    Args:
        *operation_types: As `tf.Operation.type` names them.
        overwrite: Whether a rule may be replaced.

    Raises:
        InvalidInput: There is a rule already and `overwrite` is False.
    """

    def add(rule: Rule) -> Rule:
        for operation_type in operation_types:
            if operation_type in _RULES and not overwrite:
                raise InvalidInput(
                    f"There is a rule for {operation_type} already.", remedy="Pass overwrite=True to replace it."
                )
            _RULES[operation_type] = rule
        return rule

    return add


def apply_rule(use: Use) -> Factor:
    """The per-example gradients of `use.weight` by the rule for its operation.

    Raises:
        NoRule: There is none, or it does not apply here.
    """
    rule = _RULES.get(use.operation.type)
    if rule is None:
        raise NoRule(f"no rule for the operation {use.operation.type}")
    if use.output.dtype.is_complex:
        raise NoRule(f"{use.operation.type} of complex numbers")
    return rule(use)


# At the end, since they import `register` from here.
from tfstiff.gradients.operations import convolution, elementwise, gather, products, repeat  # noqa: E402, F401
