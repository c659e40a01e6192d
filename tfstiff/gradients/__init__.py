"""Per-example gradients and their Gram matrix.

`gradient_gram` and `per_example_gradients` are the public functions; `operations.register` adds a rule.
"""

from tfstiff.gradients.explain import WeightPlan, explain
from tfstiff.gradients.gram import gradient_gram, per_example_gradients
from tfstiff.gradients.plan import METHODS

__all__ = [
    "METHODS",
    "WeightPlan",
    "explain",
    "gradient_gram",
    "per_example_gradients",
]
