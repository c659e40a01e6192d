"""What every data set is here: NumPy arrays of examples, labels and stable ids, and where they came from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfstiff.datasets.text import TextEncoding
from tfstiff.errors import InvalidInput
from tfstiff.records.shown import Brief


@dataclass(frozen=True, eq=False, repr=False)
class Examples(Brief):
    """The examples of one split.

    Attributes:
        x: Inputs, (n, ...), any numeric dtype; or texts, (n,) or (n, t) for t texts an example, `str` objects.
        y: Labels, (n,) int64, or regression targets, (n,) float32.
        ids: Identity of each example, (n,) NumPy `U` strings, stable across subsets, orders and machines.
        coarse: Superclass label of each example, (n,) int64, where the data set has superclasses, else None.

    Raises:
        InvalidInput: The members differ in length.
    """

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    coarse: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays().items()}
        if len(set(lengths.values())) > 1:
            raise InvalidInput(
                "The arrays of a split differ in length.",
                expected="one row, one label and one id for each example",
                received=lengths,
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def are_texts(self) -> bool:
        """Whether the inputs are texts."""
        return self.x.dtype.kind == "O"

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays that are there, by name."""
        named = {"x": self.x, "y": self.y, "ids": self.ids, "coarse": self.coarse}
        return {name: array for name, array in named.items() if array is not None}

    def take(self, indices: np.ndarray) -> Examples:
        """Returns the examples at `indices`, (k,) integers, in that order."""
        return Examples(**{name: array[indices] for name, array in self.arrays().items()})

    def sha256(self) -> str:
        """Returns the SHA-256 of the raw arrays: name, dtype, shape and bytes of each, in a fixed order."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            if array.dtype.kind == "O":
                digest.update(f"{name} text {array.shape}\n{json.dumps(array.tolist())}".encode())
                continue
            # A fixed byte order, so that equal data has an equal digest on every machine.
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data if array.dtype.kind != "U" else array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Brief):
    """A data set with a training and a validation split.

    Attributes:
        name: The name it was asked for by, e.g. "cifar10" or "npz:mine.npz".
        train: Training examples.
        validation: Validation examples.
        class_names: Name of each class, in label order; empty for regression.
        superclass_names: Name of each superclass, in coarse-label order; empty where there are none.
        num_token_ids: Where inputs are token ids, (n, length) whole numbers: how many there are, 0 being padding; else
            None.
        encoding: How texts were made into token ids; None where they were not, or where inputs are no texts.
        provenance: JSON-able: source, version, and per split the number of examples and the SHA-256 of the raw arrays.
    """

    name: str
    train: Examples
    validation: Examples
    class_names: tuple[str, ...] = ()
    superclass_names: tuple[str, ...] = ()
    num_token_ids: int | None = None
    encoding: TextEncoding | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int | None:
        """The number of classes, or None for regression."""
        return len(self.class_names) or None

    @property
    def num_outputs(self) -> int:
        """Outputs of a network for it: one a class, or one for targets that are numbers."""
        return self.num_classes or 1

    def with_provenance(self, source: str, **details: Any) -> Dataset:
        """Returns the data set with a provenance of `source`, `details` and a description of the splits as they are."""
        splits = {
            name: {
                "examples": len(examples),
                "shape": list(examples.x.shape[1:]),
                "dtype": "text" if examples.are_texts else str(examples.x.dtype),
                "sha256": examples.sha256(),
            }
            for name, examples in (("train", self.train), ("validation", self.validation))
        }
        return replace(self, provenance={"name": self.name, "source": source, **details, "splits": splits})


def numbered_ids(split: str, count: int) -> np.ndarray:
    """Returns ids `split_00000`, `split_00001`, … for a source that has none: (count,) strings."""
    return np.array([f"{split}_{index:05d}" for index in range(count)], dtype=np.str_)
