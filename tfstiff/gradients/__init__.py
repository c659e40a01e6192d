"""Per-example gradients and their Gram matrix.

`gradient_gram` and `per_example_gradients` are the public functions; `gradient_chunks` and `gradients_by_variable` give
the latter in parts; `operations.register` adds a rule. They are imported when first used, so that `gradients.options`
does not import TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfstiff.gradients.options import METHODS

if TYPE_CHECKING:
    from tfstiff.gradients.example_gradients import gradient_chunks, gradients_by_variable, per_example_gradients
    from tfstiff.gradients.explanation import WeightPlan, explain
    from tfstiff.gradients.gram import gradient_gram

__all__ = [
    "METHODS",
    "WeightPlan",
    "explain",
    "gradient_chunks",
    "gradient_gram",
    "gradients_by_variable",
    "per_example_gradients",
]
_HOMES = {  # a name and its module must differ: an imported module takes the place of its name in the package
    "gradient_gram": "gram",
    "per_example_gradients": "example_gradients",
    "gradient_chunks": "example_gradients",
    "gradients_by_variable": "example_gradients",
    "explain": "explanation",
    "WeightPlan": "explanation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tfstiff.gradients' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tfstiff.gradients.{_HOMES[name]}"), name)
