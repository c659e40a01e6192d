"""The probe: the fixed training and validation examples on which every measurement of a run is made."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfstiff._options import check_names, strict
from tfstiff.datasets.classes import Classes, check_class_names, check_readable, given_classes, read_classes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss_kind import CLASSES, NUMBERS
from tfstiff.measuring.arrays import Arrays, dense_inputs, kept_inputs, targets
from tfstiff.measuring.collecting import collect
from tfstiff.measuring.given import as_wide, is_data_set, pair_of, without_validation
from tfstiff.measuring.probe_half import ProbeHalf, check_lengths, class_sizes, drawn, shapes
from tfstiff.records.shown import Showing, Shown

_PROOF_EXAMPLES = 64  # of each half, from which the proof draws


class Probe(Shown):
    """A fixed subset of each split, stratified by class. Printed, and at the end of a notebook's cell, it is a table.

    Make one with `from_arrays` or `from_dataset`.

    Args:
        train: Examples of the training split.
        validation: Examples of the validation split.
        class_names: Names of the C classes; empty for regression targets.
        outputs: (C,) the output of a classifier that stands for each class; None means 0 to C − 1.
        labels_are: What the labels were read as, in words.
        may_be_numbers: Whether the labels could be regression targets too: the loss decides, where they are measured.

    Raises:
        InvalidInput: Two classes have one name.

    Attributes:
        train: Examples of the training split.
        validation: Examples of the validation split.
        class_names: Names of the C classes; empty for regression targets.
        labels_are: What the labels were read as, in words.
    """

    def __init__(
        self,
        train: ProbeHalf,
        validation: ProbeHalf,
        class_names: Sequence[str] = (),
        *,
        outputs: Any = None,
        labels_are: str = "",
        may_be_numbers: bool = False,
    ) -> None:
        check_class_names(class_names)
        self.train = train
        self.validation = validation
        self.class_names = tuple(class_names)
        self.outputs = np.arange(len(self.class_names)) if outputs is None else np.asarray(outputs, np.int64)
        self.labels_are = labels_are
        self.may_be_numbers = may_be_numbers
        self._as_numbers: Probe | None = None

    @classmethod
    @strict
    def from_arrays(
        cls,
        train: tuple[Arrays, Any],
        validation: tuple[Arrays, Any] | None = None,
        *,
        size: int | tuple[int | None, int | None] | str | None = "auto",
        seed: int = 0,
        class_names: Sequence[str] = (),
        classes: Any = "auto",
        ids: tuple[Any, Any] | None = None,
    ) -> Probe:
        """Draws a probe from arrays.

        Labels are classes or numbers by one rule for both splits. Text, booleans and one-hot rows (n, C) are classes;
        whole numbers, (n,) or (n, 1), are classes unless there are hundreds of one example each, and unless the loss
        that is measured is one of numbers, such as the squared error; −1 and 1 are two classes; all else are numbers,
        for which there are no class statistics. A class with fewer examples than its share is taken whole.

        Args:
            train: (inputs, labels) of the training split.
            validation: (inputs, labels) of the validation split; None where there is none, and pairs of two training
                examples alone can be measured.
            size: Examples of each split, or (training, validation); None means everything, `"auto"` 500, or all where
                there are fewer.
            seed: Of the draw. The same arrays, size and seed give the same probe.
            class_names: Names of the classes, in label order; the labels themselves where not given.
            classes: `"auto"` reads them from the labels; None says that the labels are numbers; (training, validation)
                gives one whole number or text an example of each split, or None for one that is not there.
            ids: Identity of each example of each split; their positions where not given.

        Raises:
            InvalidInput: Lengths differ, a label has no name, or the size exceeds a split.
        """
        sizes = size if isinstance(size, tuple) else (size, size)
        named = (("train", train), ("validation", validation))
        inputs: list[Arrays] = []
        labels: list[Arrays] = []
        for name, pair in named:
            if name == "validation" and pair is None:  # no example like those of the training split
                x, y = keras.tree.map_structure(lambda array: array[:0], (inputs[0], labels[0]))
            else:
                x, y = pair_of(name, pair)
            inputs.append(dense_inputs(x))
            labels.append(targets(y))
        if validation is None:
            classes, ids = (without_validation(given) for given in (classes, ids))
        found = _classes(labels, classes, class_names)
        whole = []
        for place, (name, _) in enumerate(named):
            x, y = inputs[place], labels[place]
            of = None if found is None else found.of[place]
            if isinstance(y, np.ndarray) and y.dtype.kind in "USO" and of is not None:
                y = of  # text, which no loss takes
            first = keras.tree.flatten(y)[0]
            numbered = [f"{name}_{i:05d}" for i in range(len(first) if first.ndim else 0)]
            names = np.asarray(numbered if ids is None else ids[place], np.str_)
            check_lengths(name, x, y, of, names, may_be_empty=place == 1 and validation is None)
            whole.append(ProbeHalf(x, y, of, names))
        halves = []
        for place, x in enumerate(as_wide(*inputs)):
            random = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[place])
            halves.append(drawn(replace(whole[place], x=x), named[place][0], sizes[place], random))
        if found is None:
            return cls(
                halves[0], halves[1], labels_are="numbers" if classes is not None else "numbers, as they are given"
            )
        return cls(
            halves[0],
            halves[1],
            found.names,
            outputs=found.outputs,
            labels_are=f"{len(found.names)} classes, from {found.how}",
            may_be_numbers=found.may_be_numbers,
        )

    @classmethod
    def from_dataset(
        cls, train: Any, validation: Any = None, *, max_examples: int | None = None, **options: Any
    ) -> Probe:
        """Draws a probe from data sets of (inputs, labels), batched or not.

        Each is read once, into memory. Batches of unequal widths are padded with zeros to the widest, ragged rows too.

        Args:
            train: The training split: a `tf.data.Dataset`, a `keras.utils.PyDataset`, or batches in any iterable.
            validation: The validation split; None where there is none.
            max_examples: Examples to read of each, from the start; None means all.
            **options: As for `from_arrays`.

        Raises:
            InvalidInput: A data set has no end and `max_examples` is None, is empty, or its elements are no pairs.
        """
        known = inspect.signature(cls.from_arrays).parameters
        check_names("from_dataset has no such option.", options, ["max_examples", *list(known)[2:]])
        second = None if validation is None else collect(validation, max_examples)
        return cls.from_arrays(collect(train, max_examples), second, **options)

    @property
    def num_classes(self) -> int | None:
        """C, or None for regression targets."""
        return len(self.class_names) or None

    def pair_sets_of(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of some pair sets that the probe has examples for.

        Raises:
            InvalidInput: There are none.
        """
        found = tuple(name for name in wanted if len(self.validation) or "val" not in name)
        if not found:
            raise InvalidInput(
                "The probe has no validation examples, which these pairs are of.",
                expected="train_train among the pair sets, or a probe with validation examples",
                received=tuple(wanted),
            )
        return found

    def reading(self) -> dict[str, Any]:
        """What the labels were read as: the keyword arguments of a probe like this one, JSON-able."""
        return {
            "outputs": self.outputs.tolist(),
            "labels_are": self.labels_are,
            "may_be_numbers": self.may_be_numbers,
        }

    def outputs_of(self, half: ProbeHalf) -> np.ndarray | None:
        """(n,) the output that stands for the class of each example; None for regression targets."""
        return None if half.classes is None else self.outputs[half.classes]

    def read_for(self, targets: str | None) -> Probe:
        """The same examples, their labels read as the loss takes them.

        Args:
            targets: `classes`, `numbers`, or None where the loss does not say.

        Raises:
            InvalidInput: The loss takes classes, and the labels were not read as such.
        """
        if targets == NUMBERS and self.may_be_numbers:
            if self._as_numbers is None:  # one object, to which what is prepared of it belongs
                train, validation = (replace(half, classes=None) for half in (self.train, self.validation))
                self._as_numbers = Probe(train, validation, labels_are="numbers, as the loss takes them")
            return self._as_numbers
        if targets == CLASSES and self.labels_are == "numbers":
            labels = [half.y for half in (self.train, self.validation)]
            check_readable(labels, None)
        return self

    def _line(self) -> str:
        read = self.labels_are or (f"{len(self.class_names)} classes" if self.class_names else "numbers")
        return f"{len(self.train)} training and {len(self.validation)} validation examples; {read}"

    def _showing(self) -> Showing:
        rows = [
            [name, str(len(half)), shapes(half.x), shapes(half.y), class_sizes(half.classes)]
            for name, half in (("training", self.train), ("validation", self.validation))
        ]
        names = [f"classes: {', '.join(self.class_names)}"] * bool(self.class_names)
        return Showing(self._line(), ("half", "examples", "inputs", "targets", "of a class"), rows, names)

    def members(self) -> dict[str, np.ndarray]:
        """What is saved with a run: of both halves ids, classes, and inputs to look at, as `kept_inputs` keeps them."""
        halves = {"train": self.train, "validation": self.validation}
        found = {f"{name}_ids": half.ids for name, half in halves.items()}
        found |= {f"{name}_classes": half.classes for name, half in halves.items() if half.classes is not None}
        return found | kept_inputs({f"{name}_x": half.x for name, half in halves.items()})

    def sha256(self) -> str:
        """Digest of the probe's inputs and targets."""
        digest = hashlib.sha256()
        for half in (self.train, self.validation):
            for array in keras.tree.flatten((half.x, half.y)):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _classes(labels: Sequence[Arrays], classes: Any, class_names: Sequence[str]) -> Classes | None:
    if classes is None:
        return None
    if not isinstance(classes, str):
        return given_classes(classes, class_names)
    if classes != "auto":
        raise InvalidInput("Unknown classes.", expected='"auto", None, or (training, validation)', received=classes)
    if not all(isinstance(one, np.ndarray) for one in labels):  # of several outputs
        return None
    return read_classes(labels, class_names)


def check_probe(probe: Any) -> None:
    """Checks that something is a probe.

    Raises:
        InvalidInput: It is examples, say, of which a probe is to be made first.
    """
    if isinstance(probe, Probe):
        return
    is_read = is_data_set(probe)
    make = "Probe.from_dataset(train, validation)" if is_read else "Probe.from_arrays((x, y), (x_val, y_val))"
    raise InvalidInput(
        "A probe is expected here.",
        expected="a tfstiff.Probe",
        received=type(probe).__name__,
        remedy=f"Make one: {make}",
    )


def proof_sample(probe: Probe) -> tuple[Arrays, Arrays]:
    """A few examples of both halves, from which the proof draws."""
    halves = ((half.x, half.y) for half in (probe.train, probe.validation))
    return keras.tree.map_structure(lambda *parts: np.concatenate([part[:_PROOF_EXAMPLES] for part in parts]), *halves)
