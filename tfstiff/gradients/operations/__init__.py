"""Rules: for one TensorFlow operation, the per-example gradient of a weight among its inputs. One family a file.

A rule is a function `rule(use) -> Outer | Tensor` registered for the operation's type:

    @register("MyScale")                                  # y = scale * x, with x (n, d) and scale (d,)
    def my_scale(use):
        return use.output_gradient * use.data           # (n, d)

It may return the gradients formed, (n, *weight.shape), or an `Outer` pair of factors. What it returns is proved against
one-example gradients when the model is first measured; a rule need only raise `NoRule` where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfstiff.errors import InvalidInput
from tfstiff.gradients.factors import Outer


class NoRule(Exception):
    """This use is of a kind for which there is no rule; its message is the reason."""


@dataclass(frozen=True)
class Use:
    """An operation at which a weight (or a tensor computed from weights alone) meets example data.

    Attributes:
        operation: The operation in the traced graph.
        operand: Which of its inputs the weight is.
        output_gradient: Gradient of the summed losses with respect to the operation's output.
        num_examples: Scalar int32 tensor: n.
        rows_per_example: Rows of the output's first axis that belong to one example, where known while tracing.
    """

    operation: tf.Operation
    operand: int
    output_gradient: tf.Tensor
    num_examples: tf.Tensor
    rows_per_example: int | None

    @property
    def weight(self) -> tf.Tensor:
        """The batch-free operand."""
        return self.operation.inputs[self.operand]

    def by_example(self, tensor: tf.Tensor) -> tf.Tensor:
        """(n·T, ...) to (n, T, ...): the T rows of each example, which stand one behind the other."""
        if tensor.shape.rank is None or None in tensor.shape[1:]:
            raise NoRule(f"{self.operation.type} of a shape that is not known while tracing")
        rows = -1 if self.rows_per_example is None else self.rows_per_example
        return tf.reshape(tensor, [self.num_examples, rows, *tensor.shape[1:]])

    @property
    def data(self) -> tf.Tensor:
        """The other operand of an operation of two."""
        if len(self.operation.inputs) != 2:
            raise NoRule(f"{self.operation.type} has {len(self.operation.inputs)} operands")
        return self.operation.inputs[1 - self.operand]


Rule = Callable[[Use], Outer | tf.Tensor]

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


def apply_rule(use: Use) -> Outer | tf.Tensor:
    """The per-example gradients of `use.weight` by the rule for its operation.

    Raises:
        NoRule: There is none, or it does not apply here.
    """
    rule = _RULES.get(use.operation.type)
    if rule is None:
        raise NoRule(f"no rule for the operation {use.operation.type}")
    return rule(use)


# At the end, since they import `register` from here.
from tfstiff.gradients.operations import convolution, elementwise, matrix_product  # noqa: E402, F401
