"""Rules: for one TensorFlow operation, the per-example gradient of a weight among its inputs. One family a file.

A rule is a function `rule(use) -> Outer | Lookup | Tensor` registered for the operation's type:

    @register("MyScale")                                  # y = scale * x, with x (n, d) and scale (d,)
    def my_scale(use):
        return use.output_gradient * use.data           # (n, d)

It may return the gradients formed, (n, *weight.shape), or factors of them. What it returns is proved against
one-example gradients when the model is first measured; a rule need only raise `NoRule` where it does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.factors import Factor
from tfstiff.gradients.uses import Place


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
        places: By tensor name, where the examples are in the operation's inputs and output.
    """

    operation: tf.Operation
    operand: int
    output_gradient: tf.Tensor
    num_examples: tf.Tensor
    weight_shape: tuple[int, ...]
    places: dict[str, Place]

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

    def place(self, tensor: tf.Tensor) -> Place:
        """Where the examples are in one of the operation's tensors.

        Raises:
            NoRule: That is not known.
        """
        place = self.places.get(tensor.name)
        if place is None:
            raise NoRule(f"{self.operation.type} with examples on an axis that cannot be told")
        return place

    def by_example(self, values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Brings the example axis to the front: (n, T, ...), T the entries that shared an axis with the examples or
        stood before it, and behind them the axes that stood after it.

        Args:
            values: Laid out as `like` is.
            like: One of the operation's tensors.

        Raises:
            NoRule: A size is not known while tracing.
        """
        place = self.place(like)
        sizes = like.shape.as_list()
        slower, faster = sizes[: place.axis], sizes[place.axis + 1 :]
        if None in slower or None in faster or place.after is None:
            raise NoRule(f"{self.operation.type} of a shape that is not known while tracing")
        outer = math.prod(slower) * place.before
        if outer > 1:
            values = tf.reshape(values, [outer, self.num_examples, place.after, *faster])
            values = tf.transpose(values, [1, 0, *range(2, 3 + len(faster))])
        return tf.reshape(values, [self.num_examples, outer * place.after, *faster])

    def sum_over_rows(self, gradients: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """From gradients of single rows, (rows, ...), the examples being among the rows of `like`, to (n, ...).

        Raises:
            NoRule: The examples are on another axis.
        """
        place = self.place(like)
        if place.axis != 0 or place.after is None:
            raise NoRule(f"{self.operation.type} with the examples on another axis than the first")
        if place.before == place.after == 1:
            return gradients
        shape = [place.before, self.num_examples, place.after, *gradients.shape[1:]]
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
