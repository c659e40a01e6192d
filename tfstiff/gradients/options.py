"""How gradients are computed: the options of everything that computes them. Imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfstiff._options import check_fields, option, option_class
from tfstiff.errors import InvalidInput, unknown_name
from tfstiff.records.measurement import ALL_WEIGHTS

METHODS = ("auto", "structured", "vectorized", "jacobian", "loop")
PRECISIONS = ("float32", "float64", "policy")
PRECONDITIONERS = NONE, OPTIMIZER = ("none", "optimizer")
LORA, HEAD = "lora", "head"

WeightChoice = str | Callable[[Any], bool]


@option_class
@dataclass(frozen=True, kw_only=True)
class GradientOptions:
    """How gradients are computed.

    Attributes:
        **options: The fields.

    Raises:
        InvalidInput: A name or value is unknown.
    """

    method: str = option(
        "auto",
        "How gradients are computed: auto (structured, with a generic path for weights that it has no rule for), "
        "structured (refuses those), vectorized (tf.vectorized_map of a one-example tape), jacobian "
        "(GradientTape.jacobian of the vector of losses, in chunks), or loop (one tape per example). All agree to "
        "rounding.",
        choices=METHODS,
    )
    precision: str = option(
        "float32",
        "In which gradients are computed: float32 or float64, whatever the layers' policies are, or policy, that of "
        "the layers.",
        choices=PRECISIONS,
    )
    weights: str | Callable[[Any], bool] = option(  # noqa: RUF009  # which makes a field
        ALL_WEIGHTS,
        "With respect to which of the trainable weights gradients are taken: all, lora (the factors that enable_lora "
        "added), head (of the last layers before the outputs that have any), or those in whose path a regular "
        "expression is found. In Python also a function of a weight that says whether it is one.",
        metavar="CHOICE",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if callable(self.weights):
            return
        if not isinstance(self.weights, str) or not self.weights:
            raise InvalidInput(
                "The weights cannot be chosen so.",
                expected=f"{ALL_WEIGHTS}, {LORA}, {HEAD}, a regular expression, or a function of a weight",
                received=self.weights,
            )
        try:
            re.compile(self.weights)
        except re.error as error:
            raise InvalidInput(
                f"The regular expression that chooses weights is not valid: {error}.", received=self.weights
            ) from error


@option_class
@dataclass(frozen=True, kw_only=True)
class ProductOptions(GradientOptions):
    """How products of gradients are computed.

    Attributes:
        **options: The fields.

    Raises:
        InvalidInput: A name or value is unknown.
    """

    preconditioner: str | Callable[[Any], Any] = option(  # noqa: RUF009
        NONE,
        "What products of gradients are of: none, `g_i · g_j`, as of a plain gradient step; or optimizer, `g_iᵀ D g_j` "
        "with D the diagonal by which the compiled optimizer scales gradients from its first step on, such as Adam's "
        "1 / (√v̂ + ε). In Python also a function from a weight to an array of its shape, above 0.",
        metavar="none|optimizer",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.preconditioner) and self.preconditioner not in PRECONDITIONERS:
            raise unknown_name("Unknown preconditioner.", self.preconditioner, PRECONDITIONERS)
