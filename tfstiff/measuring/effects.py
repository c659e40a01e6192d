"""Does a step help each class, of training and of validation examples?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.objective import ObjectiveFunction, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.measuring.directional import directional_stiffness
from tfstiff.measuring.labels import as_read
from tfstiff.measuring.probe import Probe
from tfstiff.stiffness.step_effects import step_effects

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("change", "change_se", "cosine", "cosine_se")


@takes(GradientOptions)
def step_effect(
    model: keras.Model,
    probe: Probe,
    direction: str | Sequence[Any] = "next_update",
    *,
    since: Sequence[Any] | None = None,
    batch: tuple[Any, Any] | None = None,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Tells by half of the probe and class whether a step along a direction helps, to first order.

    Papers define stiffness by a plain gradient step and train with others, such as Adam's. With `next_update` this is
    the step that the optimizer would really take after a batch; with `update` the one that it took since some weights.

    Args:
        model: A Keras model. Nothing of it, or of its optimizer, is changed.
        probe: The examples.
        direction: As for `directional_stiffness`; not `class_means`, which are many.
        since: See there.
        batch: See there.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss; see `gradient_gram`.
        **options: Those of `GradientOptions`.

    Returns:
        A row a half and class: `half`, `class` (None without classes), `num_examples`, `change`, the mean change of the
        examples' losses by the whole step, below 0 where it helps, `change_se`, its standard error over the draw of the
        examples, `cosine`, the mean cosine of gradient and direction, `cosine_se`, and `share_helped`, of the examples
        whose loss it lowers. Examples without a finite gradient are left out. Errors are NaN with fewer than two.

    Raises:
        InvalidInput: As for `directional_stiffness`.
        UnsupportedModel: As for `directional_stiffness`.
    """
    import pandas as pd

    if isinstance(direction, str) and direction == "class_means":
        raise InvalidInput(
            "A step has one direction, and class_means are several.", expected="another direction", received=direction
        )
    given: dict[str, Any] = {"since": since, "batch": batch, "loss": loss, "objective": objective, **options}
    read = as_read(probe, resolve_objective(model, loss, objective))
    rows = []
    for name, half in (("train", read.train), ("validation", read.validation)):
        if not len(half):
            continue
        found = directional_stiffness(model, half.x, half.y, direction, **given)
        classes = np.zeros(len(half), int) if half.classes is None else half.classes
        effects = step_effects(found.products, found.cosines, classes, read.num_classes or 1)
        for place in np.unique(classes):
            rows.append(
                {
                    "half": name,
                    "class": None if half.classes is None else read.class_names[place],
                    "num_examples": int(effects.num_examples[0, place]),
                    **{one: float(getattr(effects, one)[0, place]) for one in _COLUMNS},
                    "share_helped": float(effects.helped[0, place]),
                }
            )
    return pd.DataFrame(rows)
