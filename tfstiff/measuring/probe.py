"""The probe: the fixed training and validation examples on which every measurement of a run is made."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np

from tfstiff.errors import InvalidInput

Arrays = Any  # an array, or arrays in a list, tuple or dict, as a model takes them


@dataclass(frozen=True, eq=False)
class ProbeHalf:
    """The probe's examples of one split.

    Attributes:
        x: Inputs as the model takes them; first axis the n examples.
        y: Targets as the loss takes them, (n, ...); several of them for a model of several outputs.
        classes: (n,) int64 class of each example; None for regression targets.
        ids: (n,) text, the identity of each example.
    """

    x: Arrays
    y: Arrays
    classes: np.ndarray | None
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


class Probe:
    """A fixed subset of each split, stratified by class.

    Make one with `from_arrays` or `from_dataset`.

    Attributes:
        train: Examples of the training split.
        validation: Examples of the validation split.
        class_names: Names of the C classes; empty for regression targets.
    """

    def __init__(self, train: ProbeHalf, validation: ProbeHalf, class_names: Sequence[str] = ()) -> None:
        self.train = train
        self.validation = validation
        self.class_names = tuple(class_names)

    @classmethod
    def from_arrays(
        cls,
        train: tuple[Arrays, Any],
        validation: tuple[Arrays, Any],
        *,
        size: int | tuple[int, int] | None = 500,
        seed: int = 0,
        class_names: Sequence[str] = (),
        classes: tuple[Any, Any] | None = None,
        ids: tuple[Any, Any] | None = None,
    ) -> Probe:
        """Draws a probe from arrays.

        Classes are read from the labels: integers or booleans of shape (n,) or (n, 1), or one-hot rows (n, C). Floating
        labels that are not one-hot are regression targets, for which there are no class statistics, unless `classes`
        says what the classes are. A class with fewer examples than its share is taken whole.

        Args:
            train: (inputs, labels) of the training split.
            validation: (inputs, labels) of the validation split.
            size: Examples of each split, or (training, validation); None means everything.
            seed: Of the draw. The same arrays, size and seed give the same probe.
            class_names: Names of the classes, in label order; numbers where not given.
            classes: Integer classes (n,) of each split, where they cannot be read from the labels.
            ids: Identity of each example of each split; their positions where not given.

        Raises:
            InvalidInput: Lengths differ, a label is negative or has no name, or the size exceeds a split.
        """
        sizes = size if isinstance(size, tuple) else (size, size)
        splits = []
        for position, (name, (x, y)) in enumerate((("train", train), ("validation", validation))):
            x, y = keras.tree.map_structure(np.asarray, x), _targets(y)
            given = _classes_of(y) if classes is None else np.asarray(classes[position]).astype(np.int64)
            first = keras.tree.flatten(y)[0]
            numbered = [f"{name}_{i:05d}" for i in range(len(first) if first.ndim else 0)]
            names = np.asarray(numbered if ids is None else ids[position], np.str_)
            _check_lengths(name, x, y, given, names)
            splits.append((name, ProbeHalf(x, y, given, names), sizes[position]))
        num_classes = _num_classes([half for _, half, _ in splits], class_names, classes is None)
        streams = np.random.SeedSequence(seed).spawn(2)
        halves = []
        for (name, half, wanted), stream in zip(splits, streams, strict=True):
            halves.append(_draw(half, name, wanted, num_classes, np.random.default_rng(stream)))
        if num_classes is not None and not class_names:
            class_names = [str(label) for label in range(num_classes)]
        return cls(halves[0], halves[1], class_names if num_classes is not None else ())

    @classmethod
    def from_dataset(cls, train: Any, validation: Any, *, max_examples: int | None = None, **options: Any) -> Probe:
        """Draws a probe from `tf.data.Dataset`s or `keras.utils.PyDataset`s of (inputs, labels), batched or not.

        Each is read once, into memory.

        Args:
            train: The training split.
            validation: The validation split.
            max_examples: Examples to read of each, from the start; None means all.
            **options: As for `from_arrays`.

        Raises:
            InvalidInput: A data set has no end and `max_examples` is None, is empty, or its elements are no pairs.
        """
        return cls.from_arrays(_read(train, max_examples), _read(validation, max_examples), **options)

    @property
    def num_classes(self) -> int | None:
        """C, or None for regression targets."""
        return len(self.class_names) or None

    def members(self) -> dict[str, np.ndarray]:
        """What is saved with a run: ids and classes of both halves."""
        halves = {"train": self.train, "validation": self.validation}
        found = {f"{name}_ids": half.ids for name, half in halves.items()}
        return found | {f"{name}_classes": half.classes for name, half in halves.items() if half.classes is not None}

    def sha256(self) -> str:
        """Digest of the probe's inputs and targets."""
        digest = hashlib.sha256()
        for half in (self.train, self.validation):
            for array in keras.tree.flatten((half.x, half.y)):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _targets(y: Any) -> Arrays:
    """Targets as arrays: one, or, for a model of several outputs, several in a dict or list."""
    nested = isinstance(y, dict) or (
        isinstance(y, list | tuple) and any(hasattr(part, "shape") and np.ndim(part) for part in y)
    )
    return keras.tree.map_structure(np.asarray, y) if nested else np.asarray(y)


def _classes_of(y: Arrays) -> np.ndarray | None:
    """Integer classes (n,) from labels; None for regression targets, and for targets of several outputs."""
    if not isinstance(y, np.ndarray):
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 1 and y.dtype.kind in "iub":
        return y.astype(np.int64)
    if y.ndim == 2 and len(y) and np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all():
        return y.argmax(1).astype(np.int64)
    return None


def _num_classes(halves: Sequence[ProbeHalf], class_names: Sequence[str], from_labels: bool) -> int | None:
    classes = [half.classes for half in halves if half.classes is not None]
    if len(classes) < len(halves):
        return None
    labels = np.concatenate(classes)
    if len(labels) and (labels.min() < 0 or (class_names and labels.max() >= len(class_names))):
        raise InvalidInput(
            "Labels are out of range.",
            expected=f"0 to {len(class_names) - 1}" if class_names else "0 or more",
            received=sorted({int(labels.min()), int(labels.max())}),
        )
    from_one_hot = [half.y.shape[1] for half in halves if from_labels and half.y.ndim == 2 and half.y.shape[1] > 1]
    return len(class_names) or max([int(labels.max()) + 1, *from_one_hot]) if len(labels) else None


def _draw(
    half: ProbeHalf, name: str, wanted: int | None, num_classes: int | None, random: np.random.Generator
) -> ProbeHalf:
    available = len(half)
    if wanted is None:
        return half
    if not 1 <= wanted <= available:
        raise InvalidInput(
            f"The probe cannot take {wanted} examples of the {name} split.",
            expected=f"1 to {available}, or None for all",
            received=wanted,
            remedy="Choose a smaller probe." if wanted > available else None,
        )
    if half.classes is None or num_classes is None:
        chosen = random.choice(available, wanted, replace=False)
    else:
        chosen = _stratified(half.classes, name, wanted, random)
    chosen = np.sort(chosen)
    x, y = keras.tree.map_structure(lambda array: array[chosen], (half.x, half.y))
    return ProbeHalf(x, y, None if half.classes is None else half.classes[chosen], half.ids[chosen])


def _stratified(classes: np.ndarray, name: str, wanted: int, random: np.random.Generator) -> np.ndarray:
    present = np.unique(classes)
    share, extra = divmod(wanted, len(present))
    favoured = set(random.permutation(present)[:extra].tolist())
    chosen, short = [], []
    for label in present.tolist():
        members = random.permutation(np.flatnonzero(classes == label))
        target = share + (label in favoured)
        if len(members) < target:
            short.append(f"class {label} has {len(members)} of {target}")
        chosen.append(members[:target])
    if short:
        warnings.warn(
            f"The {name} split is short of examples for an even probe, so these classes are taken whole: "
            f"{', '.join(short)}.",
            stacklevel=4,
        )
    return np.concatenate(chosen)


def _check_lengths(name: str, x: Arrays, y: Arrays, classes: np.ndarray | None, ids: np.ndarray) -> None:
    arrays = [*keras.tree.flatten((x, y)), ids] + ([] if classes is None else [classes])
    lengths = [len(array) if array.ndim else None for array in arrays]
    if len(set(lengths)) != 1 or lengths[0] in (None, 0):
        raise InvalidInput(
            f"The inputs, labels, classes and ids of the {name} split must have one row for each example.",
            expected="the same number everywhere, at least 1",
            received=lengths,
        )


def flattened(x: Arrays) -> np.ndarray:
    """(n, d): all inputs of an example side by side."""
    parts = [array.reshape(len(array), -1) for array in keras.tree.flatten(x)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _read(dataset: Any, max_examples: int | None) -> tuple[Arrays, np.ndarray]:
    if isinstance(dataset, keras.utils.PyDataset):
        count = dataset.num_batches if max_examples is None else None
        if count is None and max_examples is None:
            raise _endless()
        batches = (dataset[index] for index in range(dataset.num_batches or 2**62))
        is_batched = True
    else:
        import tensorflow as tf

        if not isinstance(dataset, tf.data.Dataset):
            raise InvalidInput(
                "A probe is drawn from arrays, a tf.data.Dataset or a keras.utils.PyDataset.", received=type(dataset)
            )
        if max_examples is None and dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise _endless()
        is_batched = _is_batched(dataset)
        batches = iter(dataset.as_numpy_iterator())
    collected: list[Any] = []
    read = 0
    for element in batches:
        if not isinstance(element, tuple | list) or len(element) < 2:
            raise InvalidInput("The elements of the data set are not (inputs, labels).", received=type(element))
        pair = keras.tree.map_structure(np.asarray, (element[0], element[1]))
        collected.append(pair if is_batched else keras.tree.map_structure(lambda array: array[None], pair))
        read += len(collected[-1][1])
        if max_examples is not None and read >= max_examples:
            break
    if not collected:
        raise InvalidInput("The data set is empty.", expected="at least one example of (inputs, labels)")
    x, y = keras.tree.map_structure(lambda *parts: np.concatenate(parts)[:max_examples], *collected)
    return x, y


def _is_batched(dataset: Any) -> bool:
    """Whether the elements of a `tf.data.Dataset` are batches: then inputs and labels have as many rows.

    So may a single example, where it has as many rows as there are classes: then its label is one-hot.
    """
    first = list(islice(dataset.as_numpy_iterator(), 16))
    if not first or any(not isinstance(element, tuple) or len(element) < 2 for element in first):
        return True  # told to the user where the elements are read
    shapes = [np.shape(array) for array in keras.tree.flatten(first[0][:2])]
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        return False
    labels = [np.asarray(element[1]) for element in first]
    has_fixed_size = dataset.element_spec[1].shape[:1].is_fully_defined()
    is_one_hot = all(y.ndim == 1 and len(y) > 1 and np.isin(y, (0, 1)).all() and y.sum() == 1 for y in labels)
    return not (has_fixed_size and is_one_hot)


def _endless() -> InvalidInput:
    return InvalidInput("The data set has no end.", remedy="Pass max_examples=, or take() a part of it.")
