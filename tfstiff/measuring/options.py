"""`MeasureOptions`: what `measure` can be told. Imports no TensorFlow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfstiff._options import option, option_class
from tfstiff.datasets.groupings import BUILT_IN, chosen_grouping
from tfstiff.errors import InvalidInput
from tfstiff.gradients.options import ProductOptions
from tfstiff.records import METRICS, PAIR_SETS
from tfstiff.records.directions import DIRECTIONS
from tfstiff.stiffness.critical_length import RULES, CriticalLengthRule
from tfstiff.stiffness.pairs import BINNINGS, COMPARED, DISTANCES


def _num_bytes(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(k|M|G|T)?i?B?\s*", text)
    if found is None:
        raise ValueError(f"{text!r} is not a size such as 4GB or 500MB.")
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))


def _auto_or_bool(text: str) -> str | bool:
    known: dict[str, str | bool] = {"auto": "auto", "true": True, "false": False}
    if text.strip().lower() not in known:
        raise ValueError(f"{text!r} is not auto, true or false.")
    return known[text.strip().lower()]


@option_class
@dataclass(frozen=True, kw_only=True)
class MeasureOptions(ProductOptions):
    """What `measure` can be told, beside model, probe and loss.

    `measure`, `StiffnessCallback`, `RunSpec`, the command line and sweeps take all of it: a new option is one field
    here.

    Attributes:
        **options: The fields.

    Raises:
        InvalidInput: A name or value is unknown, or values do not suit one another.
    """

    pair_sets: tuple[str, ...] = option(PAIR_SETS, "Pairs to measure.", choices=PAIR_SETS, several=True)
    distance: str = option(
        "cosine", "Between two examples; cosine is 1 − cos, cosine_similarity is cos.", choices=DISTANCES
    )
    space: str = option(
        "auto",
        "Where distances are measured: auto (the input; of texts and token ids, which have no distances, the layer "
        "`pooled` if there is one), input, the name of a layer (its output), or all (input and every layer).",
        metavar="NAME",
    )
    distance_pairs: str = option(
        "within",
        "Pairs that are compared by distance: of the same class (within), of different ones (between), or all.",
        choices=COMPARED,
    )
    distance_bins: str = option(
        "equal_width", "Bins of distances: of equal width, or quantile, of equally many pairs.", choices=BINNINGS
    )
    critical_length_method: str = option(
        "linear",
        "How the critical length ξ is found: linear (a straight line through pairs), fixed_effects (with an intercept "
        "for each class), linear_binned (through the means of bins), or first_crossing (of the curve of bins).",
        choices=tuple(RULES),
    )
    critical_length_metric: str = option("cosine", "The stiffness of which ξ is the zero.", choices=METRICS)
    groups: str | Mapping[str, Sequence[str]] | None = option(
        "auto",
        "Groups of classes to compare blocks of the class matrix by: auto (CIFAR-100's superclasses, CIFAR-10's "
        "vehicles and animals, else none), none, cifar10, cifar100, a .json or .toml file, or "
        "group=class,class;group=class,class. In Python also a list of class names for each group's name.",
        unset="none",
        metavar="GROUPS",
        has_commas=True,
    )
    from_logits: str | bool = option(
        "auto",
        "Whether predictions are logits, for accuracy and EL2N: auto (as the loss, or else their values, say), true, "
        "or false where they are probabilities.",
        metavar="auto|true|false",
        parse=_auto_or_bool,
    )
    per_layer: bool = option(False, "Measure each layer's gradients by themselves too.")
    directions: tuple[str, ...] = option(
        (),
        "Directions in weight space of which is told whether a step along them helps each class: weights (they grow), "
        "since_initialisation (as training went so far), update (since the last measurement), next_update (what the "
        "optimizer would do with up to 256 of the probe's training examples as the next batch), class_means (down the "
        "mean gradient of each class of the training half); or none.",
        choices=DIRECTIONS,
        several=True,
    )
    keep_gram: bool = option(False, "Keep the (n, n) products of all gradients in the measurement.")
    pairs: int | None = option(
        None,
        "At most so many pairs to multiply, over all pair sets together: a random sample in which each example meets "
        "as many others of each class. Standard errors count that it is one; what needs all pairs is NaN.",
        unset="all",
        metavar="N",
    )
    memory_limit: int | None = option(
        None,
        "Memory that a measurement may take beside the model and the probe, for gradients, inputs, pairs and sums: a "
        "number of bytes, on the command line such as 4GB. How they are divided changes results by rounding.",
        unset="half of what is free, on the host or the GPU",
        metavar="SIZE",
        parse=_num_bytes,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.space, str) or not self.space:
            raise InvalidInput(
                "Unknown space.", expected="auto, input, all, or the name of a layer", received=self.space
            )
        if not (isinstance(self.from_logits, bool) or self.from_logits == "auto"):
            raise InvalidInput(
                "from_logits says what the predictions are.",
                expected='"auto", True or False',
                received=self.from_logits,
            )
        limit = self.memory_limit
        if limit is not None and not (isinstance(limit, int) and limit > 0):
            raise InvalidInput("The memory limit must be a number of bytes above 0.", received=limit)
        if self.pairs is not None and not (isinstance(self.pairs, int) and self.pairs > 0):
            raise InvalidInput("There must be at least one pair.", expected="pairs above 0", received=self.pairs)
        if self.pairs is not None and self.keep_gram:
            raise InvalidInput(
                "keep_gram keeps the products of all pairs.", remedy="Leave out one of keep_gram, pairs."
            )
        self.critical_length_rule().check(self.distance_pairs)
        grouping = chosen_grouping(self.groups)
        groups: str | dict[str, list[str]] = "none" if self.groups is None else self.groups  # type: ignore[assignment]
        if grouping is not None and not (isinstance(self.groups, str) and self.groups in BUILT_IN):
            groups = {name: list(classes) for name, classes in grouping.items()}  # a file may be gone later
        object.__setattr__(self, "groups", groups)

    def critical_length_rule(self) -> CriticalLengthRule:
        """How critical lengths are found."""
        return CriticalLengthRule(self.critical_length_method, self.critical_length_metric, self.distance)
