"""Per-example gradients and their Gram matrix.

`gradient_gram` and `per_example_gradients` are the public functions; `operations.register` adds a rule.
"""

from tfstiff.gradients.explain import WeightPlan, explain
from tfstiff.gradients.gram import Products, gradient_gram, gradient_products, per_example_gradients
from tfstiff.gradients.plan import METHODS

__all__ = [
    "METHODS",
    "Products",
    "WeightPlan",
    "explain",
    "gradient_gram",
    "gradient_products",
    "per_example_gradients",
]
