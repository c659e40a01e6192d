"""What is computed for each weight, and what it costs: the plan behind `tfstiff bench --explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from tfstiff._options import takes
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.reference import Reference


@dataclass(frozen=True)
class WeightPlan:
    """How the gradients of one weight, or of several computed together, enter the Gram matrix of n examples.

    Attributes:
        weight: Paths of the weights, joined by " + ".
        operation: The operations at which they meet examples, with how often where more than once.
        form: `formed`: each example's gradient is computed, (n, size). `factors`: only its two factors are, for some
            number of positions. `lookup`: the same for rows of a table. Else the generic method.
        multiply_adds: Of forming and of the products of all n (n + 1) / 2 pairs.
        bytes: Held for all n examples.
    """

    weight: str
    operation: str
    form: str
    multiply_adds: int
    bytes: int


@takes(GradientOptions)
def explain(
    model: keras.Model, x: Any, y: Any, *, loss: Any = None, objective: ObjectiveFunction | None = None, **options: Any
) -> list[WeightPlan]:
    """Explains how the Gram matrix of the examples `x`, `y` would be computed. Computes no gradient.

    Args:
        model: A Keras model.
        x: Inputs, first axis the n examples.
        y: Targets.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, as for `gradient_gram`.
        **options: Those of `GradientOptions`.

    Raises:
        InvalidInput: An option is unknown, or the numbers of inputs and targets differ.
        UnsupportedModel: The model cannot be measured.
    """
    plan = plan_for(model, x, y, GradientOptions(**options), loss=loss, objective=objective)
    count = len(keras.tree.flatten(x)[0])
    return [step for part in plan.parts for step in _steps(plan, part, count)]


def _steps(plan: GradientPlan, part: Any, count: int) -> list[WeightPlan]:
    pairs = count * (count + 1) // 2
    if isinstance(part, Reference):
        form = type(part).__name__.lower()
        sizes = {index: part.layout.sizes[index] for (index,) in part.layout.formed}
        return [
            WeightPlan(plan.weights[index].path, "one-example tape", form, size * pairs, 4 * size * count)
            for index, size in sizes.items()
        ]
    return [
        WeightPlan(
            " + ".join(plan.weights[index].path for index in cost.weights),
            ", ".join(f"{count_} {name}" if count_ > 1 else name for name, count_ in cost.operations.items()),
            cost.form,
            cost.for_each_pair * pairs + cost.for_each_example * count,
            cost.bytes_for_each_example * count,
        )
        for cost in part.costs
    ]
