"""How gradients are computed: the options of everything that computes them. Imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from tfstiff._options import check_fields, option, option_class

METHODS = ("auto", "structured", "vectorized", "jacobian", "loop")
PRECISIONS = ("float32", "float64", "policy")


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

    def __post_init__(self) -> None:
        check_fields(self)
