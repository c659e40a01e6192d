"""The losses that runs train by, by name. Imports Keras when one is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfstiff.errors import InvalidInput

if TYPE_CHECKING:
    import keras

AUTO = "auto"
_OF_CLASSES = "sparse_categorical_crossentropy"
OF_NUMBERS = ("mean_squared_error", "mean_absolute_error", "huber", "log_cosh")  # as Keras names them
LOSSES = (AUTO, _OF_CLASSES, *OF_NUMBERS)


def chosen_loss(name: str, num_classes: int | None, data_set: str) -> str:
    """The loss that is meant: by itself cross-entropy of classes, and the squared error of numbers.

    Args:
        name: One of `LOSSES`.
        num_classes: Of the data set; None where its targets are numbers.
        data_set: Its name.

    Raises:
        InvalidInput: It is one of other targets than these.
    """
    if name == AUTO:
        return OF_NUMBERS[0] if num_classes is None else _OF_CLASSES
    if (name in OF_NUMBERS) == (num_classes is None):
        return name
    of, are = ("classes", "numbers") if num_classes is None else ("numbers", "classes")
    raise InvalidInput(
        f"The loss {name} is one of {of}, and the targets of {data_set} are {are}.",
        expected=" or ".join((AUTO, *(OF_NUMBERS if num_classes is None else (_OF_CLASSES,)))),
        received=name,
    )


def loss_in(config: Mapping[str, Any]) -> str:
    """The loss that a run was trained by, out of its settings, which may come from anybody."""
    found = config.get("loss")
    return found if found in OF_NUMBERS else _OF_CLASSES


def outputs_in(config: Mapping[str, Any]) -> Any:
    """The outputs of a run's network, out of its settings; not checked. Older versions had one for each class."""
    return config.get("num_outputs", config.get("num_classes"))


def make_loss(name: str) -> keras.losses.Loss:
    """A loss; that of classes takes logits."""
    import keras

    if name not in OF_NUMBERS:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.losses.get({"class_name": "".join(part.title() for part in name.split("_")), "config": {}})
