"""Per-example gradients and their Gram matrix.

`gradient_gram` and `per_example_gradients` are the public functions; `operations.register` adds a rule. They are
imported when first used, so that `gradients.options` does not import TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfstiff.gradients.options import METHODS

if TYPE_CHECKING:
    from tfstiff.gradients.explanation import WeightPlan, explain
    from tfstiff.gradients.gram import gradient_gram, per_example_gradients

__all__ = [
    "METHODS",
    "WeightPlan",
    "explain",
    "gradient_gram",
    "per_example_gradients",
]
_HOMES = {  # a name and its module must differ: an imported module takes the place of its name in the package
    "gradient_gram": "gram",
    "per_example_gradients": "gram",
    "explain": "explanation",
    "WeightPlan": "explanation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tfstiff.gradients' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tfstiff.gradients.{_HOMES[name]}"), name)
