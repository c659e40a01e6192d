"""The settings of the two versions of the paper, by name. Imports no TensorFlow.

`iclr` is the ICLR 2020 submission and the default of everything; `v1` is the first version (arXiv, January 2019). Where
the text that is left of a version does not say something, or lost it, the choice is ours and a comment says so. Both
have Adam (named by the second version only), batches of 32, a constant learning rate, no normalisation layers, and
inputs of zero mean, unit variance and unit length (of which the first version's methods name the first two, its theory
the first and the last).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfstiff.errors import InvalidInput


@dataclass(frozen=True)
class Preset:
    """Settings that belong together.

    Attributes:
        settings: Values of `RunSpec`'s attributes.
        learning_rates: What the version compares; a single run takes that of `settings`, in their middle.
    """

    settings: Mapping[str, Any]
    learning_rates: tuple[float, ...]


PRESETS = {
    "iclr": Preset(
        {
            "arch": "fc",  # or cnn
            # Panels are titled 8, 16 and 32 times a power of ten that is lost: five rates, each twice the one before.
            "learning_rate": 8e-4,
            "epochs": 10,  # ours; its figures reach from initialisation to epoch 10 or 20
            "stop_at_loss": (),
            "pair_sets": ("train_train", "train_val", "val_val"),
            "metrics": ("sign", "cosine"),
            "distance": "cosine",
            "space": "auto",
            "distance_pairs": "within",
            "critical_length_method": "linear",
            "critical_length_metric": "cosine",
        },
        (2e-4, 4e-4, 8e-4, 16e-4, 32e-4),
    ),
    "v1": Preset(
        {
            "arch": "fc-v1",  # or cnn-v1
            "learning_rate": 1e-4,
            "epochs": 100,  # ours: where to give up; training is to end at the last loss
            "stop_at_loss": (1.0, 0.3, 0.1),  # "three stopping training losses"; only 0.1 is left, in a figure
            "pair_sets": ("val_val",),
            "metrics": ("sign",),
            "distance": "cosine_similarity",
            "space": "all",
            "distance_pairs": "all",  # it does not speak of classes there
            "critical_length_method": "first_crossing",
            "critical_length_metric": "sign",
        },
        (1e-5, 3e-5, 1e-4, 3e-4, 1e-3),
    ),
}


def preset(name: str) -> Preset:
    """Returns the preset of that name.

    Raises:
        InvalidInput: There is none.
    """
    if name not in PRESETS:
        raise InvalidInput("There is no preset of that name.", expected=" or ".join(PRESETS), received=name)
    return PRESETS[name]
